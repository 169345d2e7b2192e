-- Content that lies beside the row of its Binary.

-- name: patient_key
SELECT wrapped FROM keys.patient_key WHERE patient_id = :patient_id

-- name: add_content
INSERT INTO content (patient_id, type, id, version, size, sha256, sop_uid, pack_id, object_id, pack_offset, wrapped_key)
VALUES (:patient_id, :type, :id, :version, :size, :sha256, :sop_uid, :pack_id, :object_id, :pack_offset, :wrapped_key)

-- name: pack_state
-- Ready already when another row of the same transaction uses it too.
SELECT state FROM pack WHERE id = :id

-- name: has_content
SELECT true FROM content
 WHERE patient_id = :patient_id AND type = :type AND id = :id AND version = :version
   AND encode(sha256, 'hex') = :sha256 AND size = :size

-- name: carry_content
-- The next version of a resource that keeps its content, which is not moved to another pack meanwhile.
INSERT INTO content (patient_id, type, id, version, size, sha256, sop_uid, pack_id, object_id, pack_offset, wrapped_key)
SELECT patient_id, type, id, :to, size, sha256, sop_uid, pack_id, object_id, pack_offset, wrapped_key FROM content
 WHERE patient_id = :patient_id AND type = :type AND id = :id AND version = :version
   FOR SHARE

-- name: content_of
-- Where the content of a version lies, for who may see that version.
SELECT content.patient_id, content.size, content.sha256, content.sop_uid, content.pack_id, content.object_id,
       content.pack_offset, content.wrapped_key, key.wrapped AS patient_key
  FROM content
  JOIN resource_version AS old USING (patient_id, type, id, version)
  JOIN resource USING (patient_id, type, id)
  JOIN keys.patient_key AS key ON key.patient_id = content.patient_id
 WHERE content.type = :type AND content.id = :id AND content.version = :version AND {reach}
