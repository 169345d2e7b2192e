-- Every object that a row names, page by page in the order in which they lie.

-- name: held_instances
-- Also deleted ones: they can be taken back.
SELECT instance.patient_id, instance.sop_uid, instance.pack_id, instance.object_id, instance.pack_offset,
       instance.size, instance.sha256, instance.wrapped_key, patient_key.wrapped AS wrapped_patient_key,
       patient.state = 'erasing' AS erasing
  FROM instance
  JOIN patient ON patient.id = instance.patient_id
  LEFT JOIN keys.patient_key ON patient_key.patient_id = instance.patient_id
 WHERE (instance.pack_id, instance.object_id) > (:pack_id, :object_id)
 ORDER BY instance.pack_id, instance.object_id
 LIMIT :limit

-- name: held_contents
-- The same of the content of Binaries; several versions may name one object.
SELECT DISTINCT ON (content.pack_id, content.object_id) content.patient_id, content.id, content.pack_id,
       content.object_id, content.pack_offset, content.size, content.sha256, content.wrapped_key,
       patient_key.wrapped AS wrapped_patient_key, patient.state = 'erasing' AS erasing
  FROM content
  JOIN patient ON patient.id = content.patient_id
  LEFT JOIN keys.patient_key ON patient_key.patient_id = content.patient_id
 WHERE (content.pack_id, content.object_id) > (:pack_id, :object_id)
 ORDER BY content.pack_id, content.object_id
 LIMIT :limit

-- name: still_held_content
SELECT true FROM content WHERE patient_id = :patient_id AND object_id = :object_id LIMIT 1

-- name: still_held_instance
SELECT true FROM instance WHERE patient_id = :patient_id AND sop_uid = :sop_uid AND object_id = :object_id

-- name: held_packs
SELECT id, size FROM pack WHERE state = 'ready' AND id > :id ORDER BY id LIMIT :limit

-- name: still_held_pack
SELECT true FROM pack WHERE id = :id AND state = 'ready'

-- name: waiting_packs
-- Being written, or left by a dead writer and not yet swept.
SELECT count(*) FROM pack WHERE state = 'pending'
