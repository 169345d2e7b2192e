-- Which packs are worth keeping as they are.

-- name: unused_packs
-- A pack and the rows that use it become visible together, so one without rows has lost them all.
SELECT id FROM pack
 WHERE state = 'ready' AND NOT EXISTS (SELECT FROM instance WHERE instance.pack_id = pack.id)
   AND NOT EXISTS (SELECT FROM content WHERE content.pack_id = pack.id)
 LIMIT 1000

-- name: sparse_packs
-- More is lying unused than is used.
SELECT pack.id
  FROM pack JOIN (SELECT pack_id, sum(size) AS used FROM held_object GROUP BY pack_id) AS held ON held.pack_id = pack.id
 WHERE pack.state = 'ready' AND pack.size > :at_least AND held.used < pack.size / 2
 ORDER BY pack.size - held.used DESC
 LIMIT 1000

-- name: objects_of_pack
SELECT DISTINCT object_id, pack_offset, size FROM held_object WHERE pack_id = :pack_id ORDER BY pack_offset

-- name: move_object
-- Where it lies now, if it is still the same: an image, or the content of a Binary (of several versions, perhaps);
-- whosever it is by now, for a merger may have taken it to another patient.
WITH content AS (
    UPDATE content SET pack_id = :new_pack, pack_offset = :new_offset
     WHERE object_id = :object_id AND pack_id = :old_pack)
UPDATE instance SET pack_id = :new_pack, pack_offset = :new_offset
 WHERE object_id = :object_id AND pack_id = :old_pack

-- name: is_used
-- By a row that came after its objects were counted: another version of a Binary, with the same content.
SELECT EXISTS (SELECT FROM instance WHERE pack_id = :pack_id) OR EXISTS (SELECT FROM content WHERE pack_id = :pack_id)
