-- Resources that go from one patient to another. Run by who has locked both patients.

-- name: resources_of
-- Those that are named, or all of a patient's but the Endpoint, which is the address of that patient's images, and what
-- the server made of studies that stay.
SELECT key, patient_id, type, id, version, deleted, last_updated, study_uid, author, content_hash, json FROM resource
 WHERE patient_id = :giver AND NOT (type = 'Endpoint' AND id = :giver)
   AND CASE WHEN :types::text[] IS NULL
            THEN NOT (author = 'server' AND study_uid IS NOT NULL
                      AND EXISTS (SELECT FROM study WHERE study.patient_id = :giver
                                     AND study.study_uid = resource.study_uid))
            ELSE (type, id) IN (SELECT * FROM unnest(:types::text[], :ids::text[])) END
 ORDER BY key FOR UPDATE

-- name: move_resources
-- With their versions, and with what finds them.
WITH moved AS (
    UPDATE resource SET patient_id = :taker WHERE patient_id = :giver AND key = ANY (:keys) RETURNING type, id
), versions AS (
    UPDATE resource_version AS old SET patient_id = :taker FROM moved
     WHERE old.patient_id = :giver AND old.type = moved.type AND old.id = moved.id
), tokens AS (UPDATE index_token SET patient_id = :taker WHERE key = ANY (:keys)
), strings AS (UPDATE index_string SET patient_id = :taker WHERE key = ANY (:keys)
), dates AS (UPDATE index_date SET patient_id = :taker WHERE key = ANY (:keys)
), refs AS (UPDATE index_reference SET patient_id = :taker WHERE key = ANY (:keys)
), uris AS (UPDATE index_uri SET patient_id = :taker WHERE key = ANY (:keys)
), quantities AS (UPDATE index_quantity SET patient_id = :taker WHERE key = ANY (:keys)
), composites AS (UPDATE index_composite SET patient_id = :taker WHERE key = ANY (:keys)
), words AS (UPDATE index_text SET patient_id = :taker WHERE key = ANY (:keys)
)
SELECT count(*) FROM moved

-- name: content_keys
-- Of content that lies in the object store; it went along with its version.
SELECT content.type, content.id, content.version, content.wrapped_key
  FROM content JOIN resource USING (patient_id, type, id)
 WHERE resource.patient_id = :taker AND resource.key = ANY (:keys) AND content.wrapped_key IS NOT NULL

-- name: wrap_content_anew
UPDATE content SET wrapped_key = row.wrapped
  FROM unnest(:types::text[], :ids::text[], :versions::integer[], :wrapped::bytea[]) AS row (type, id, version, wrapped)
 WHERE content.patient_id = :taker AND content.type = row.type AND content.id = row.id AND content.version = row.version

-- name: about_gone_studies
-- Resources about a study that this patient has no more.
SELECT key, type, id, author FROM resource
 WHERE patient_id = :patient AND study_uid = ANY (:studies) AND NOT deleted
   AND NOT EXISTS (SELECT FROM study WHERE study.patient_id = :patient AND study.study_uid = resource.study_uid)

-- name: detach
-- What somebody wrote about it stays theirs, of its own.
UPDATE resource SET study_uid = NULL WHERE key = ANY (:keys)
