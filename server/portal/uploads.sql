-- Uploads on their way, one row a disc.

-- name: begin_upload
INSERT INTO upload (id, patient_id, account_id, uids, studies, listed, created_at, updated_at)
SELECT :id::uuid, patient.id, :account::uuid, :uids::text[], :studies::integer, :listed::integer,
       :now::timestamptz, :now::timestamptz
  FROM patient WHERE patient.id = :patient AND {reach}
RETURNING id

-- name: end_upload
UPDATE upload SET done_at = :now, updated_at = :now
  FROM patient WHERE upload.id = :id AND upload.done_at IS NULL AND patient.id = upload.patient_id AND {reach}
RETURNING upload.id

-- name: unfinished_uploads
-- What of each disc has not arrived yet; one that has is not listed.
SELECT * FROM (
    SELECT upload.id, upload.created_at, cardinality(upload.uids) AS total,
           (SELECT count(*) FROM unnest(upload.uids) AS wanted (uid)
             WHERE EXISTS (SELECT 1 FROM instance WHERE instance.patient_id = upload.patient_id
                              AND instance.sop_uid = wanted.uid)) AS arrived
      FROM upload JOIN patient ON patient.id = upload.patient_id
     WHERE upload.patient_id = :patient AND upload.done_at IS NULL AND upload.created_at > :since AND {reach}
     ORDER BY upload.created_at DESC LIMIT 5) AS open
 WHERE arrived < total

-- name: states_of_studies
SELECT study.study_uid, study.fhir_stale FROM study WHERE study.study_uid = ANY (:uids) AND {reach}

-- name: forget_uploads
DELETE FROM upload WHERE created_at < :before OR done_at < :done_before
