-- Packs: which files count.

-- name: note_pack
-- Before the file: a file without a row is nobody's. It is only a note, so its commit does not wait for the disk:
-- when the note is lost with a crash, so is the store that it belonged to.
WITH quick AS (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO pack (id, state, created_at, alive_at) SELECT :id, 'pending', :now, :now FROM quick

-- name: keep_pack_alive
WITH quick AS (SELECT set_config('synchronous_commit', 'off', true))
UPDATE pack SET alive_at = :now FROM quick WHERE id = :id AND state = 'pending'

-- name: make_pack_ready
-- In the transaction of the rows that use it. Touches nothing when the pack was swept meanwhile.
UPDATE pack SET state = 'ready', size = :size WHERE id = :id AND state = 'pending'

-- name: lock_pack
SELECT state FROM pack WHERE id = :id FOR UPDATE

-- name: may_sweep
-- Until the end of the transaction no backup begins; false while one goes on.
SELECT pg_try_advisory_xact_lock_shared(:lock)

-- name: keep_used_packs
-- Rows become visible with a ready pack only: one that rows name was dropped by mistake, and its objects are whole.
UPDATE pack SET state = 'ready' WHERE state = 'pending' AND alive_at < :before
   AND (EXISTS (SELECT FROM instance WHERE instance.pack_id = pack.id)
        OR EXISTS (SELECT FROM content WHERE content.pack_id = pack.id))

-- name: lock_dead_packs
-- Whoever makes one of them ready at this moment holds its row: that one is passed over.
SELECT id FROM pack WHERE state = 'pending' AND alive_at < :before
 ORDER BY alive_at LIMIT 50 FOR UPDATE SKIP LOCKED

-- name: drop_packs
-- Back to 'pending', and dead since then: they are the sweep's.
UPDATE pack SET state = 'pending', alive_at = :since WHERE id = ANY(:ids)

-- name: check_at_once
-- References to packs may be checked at the end of a transaction; here, before files go.
SET CONSTRAINTS ALL IMMEDIATE

-- name: forget_packs
DELETE FROM pack WHERE id = ANY(:ids)

-- name: known_packs
SELECT id FROM pack WHERE id = ANY(:ids)

-- name: count_packs
SELECT count(*) FROM pack
