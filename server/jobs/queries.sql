-- name: enqueue
INSERT INTO job (id, kind, payload, created_at, due_at)
VALUES (:id, :kind, CAST(:payload AS jsonb), :now, :due_at)

-- name: wake
-- Delivered when the transaction commits, and not at all when it does not.
SELECT pg_notify('job', '')

-- name: claim
-- What is due, for this worker alone: others skip locked rows, and then see a later date. If the worker dies, the
-- date comes.
UPDATE job SET due_at = :lease_until, tries = tries + 1
 WHERE id IN (SELECT id FROM job WHERE dead_at IS NULL AND due_at <= :now AND kind = ANY (:kinds)
               ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING id, kind, payload, tries

-- name: next_due
SELECT least((SELECT min(due_at) FROM job WHERE dead_at IS NULL AND kind = ANY (:kinds)),
             (SELECT min(due_at) FROM periodic WHERE name = ANY (:names)))

-- name: done
DELETE FROM job WHERE id = :id

-- name: put_off
UPDATE job SET due_at = :due_at, problem = :problem WHERE id = :id

-- name: give_back
-- The worker stops before the work is done: as if it had not been tried.
UPDATE job SET due_at = :now, tries = tries - 1 WHERE id = :id

-- name: bury
UPDATE job SET dead_at = :now, problem = :problem WHERE id = :id

-- name: forget_dead
DELETE FROM job WHERE dead_at < :before

-- name: know_periodic
INSERT INTO periodic (name, due_at) VALUES (:name, :now) ON CONFLICT DO NOTHING

-- name: due_turns
SELECT name FROM periodic WHERE name = ANY (:names) AND due_at <= :now

-- name: take_turn
-- One of all processes gets a row back.
UPDATE periodic SET due_at = :next WHERE name = :name AND due_at <= :now RETURNING name

-- name: dead
SELECT id, kind, created_at, dead_at, tries, problem FROM job WHERE dead_at IS NOT NULL ORDER BY dead_at DESC
