-- Passes for viewers on a desktop.

-- name: add_pass
INSERT INTO viewer_pass (id, patient_id, account_id, study_uid, viewer, secret_hash, created_at, until)
SELECT :id::uuid, study.patient_id, :account::uuid, study.study_uid, :viewer::text, :secret_hash::bytea,
       :now::timestamptz, :until::timestamptz
  FROM study WHERE study.patient_id = :patient AND study.study_uid = :study AND {reach}
RETURNING id

-- name: passes_of_patient
SELECT viewer_pass.id, viewer_pass.patient_id, viewer_pass.study_uid, viewer_pass.viewer, account.name AS holder,
       viewer_pass.created_at, viewer_pass.until
  FROM viewer_pass JOIN account ON account.id = viewer_pass.account_id
  JOIN patient ON patient.id = viewer_pass.patient_id
 WHERE viewer_pass.patient_id = :patient AND viewer_pass.ended_at IS NULL AND viewer_pass.until > :now AND {reach}
 ORDER BY viewer_pass.created_at DESC LIMIT 200

-- name: passes_of_account
SELECT viewer_pass.id, viewer_pass.patient_id, viewer_pass.study_uid, viewer_pass.viewer, account.name AS holder,
       viewer_pass.created_at, viewer_pass.until
  FROM viewer_pass JOIN account ON account.id = viewer_pass.account_id
 WHERE viewer_pass.account_id = CAST(:account AS uuid) AND viewer_pass.patient_id = :patient
   AND viewer_pass.study_uid = :study AND viewer_pass.ended_at IS NULL AND viewer_pass.until > :now AND {alive}
 ORDER BY viewer_pass.created_at DESC LIMIT 200

-- name: end_pass
UPDATE viewer_pass SET ended_at = :now
  FROM patient
 WHERE viewer_pass.id = :id AND viewer_pass.ended_at IS NULL AND patient.id = viewer_pass.patient_id
   AND ((viewer_pass.account_id = CAST(:account AS uuid) AND {alive}) OR {reach})
RETURNING viewer_pass.patient_id, viewer_pass.study_uid, viewer_pass.viewer
