-- name: stale
-- Studies whose resource is behind the catalogue; quiet ones only, or all of the given patients.
SELECT patient_id, study_uid FROM study
 WHERE fhir_stale AND (:patients::text[] IS NULL OR patient_id = ANY(:patients))
   AND (:before::timestamptz IS NULL OR updated_at <= :before)
 ORDER BY patient_id, study_uid LIMIT :limit

-- name: take
-- One stale study, locked: who comes second finds it fresh.
SELECT fhir_id, patient_id, study_uid, modalities, attributes FROM study
 WHERE patient_id = :patient AND study_uid = :study AND fhir_stale
   FOR UPDATE

-- name: series
SELECT series_uid, series_number, modality, attributes FROM series
 WHERE patient_id = :patient AND study_uid = :study AND deleted_at IS NULL
 ORDER BY series_number NULLS LAST, series_uid

-- name: instances
SELECT series_uid, sop_uid, sop_class, instance_number FROM instance
 WHERE patient_id = :patient AND study_uid = :study AND deleted_at IS NULL
 ORDER BY instance_number NULLS LAST, sop_uid

-- name: fresh
UPDATE study SET fhir_stale = false WHERE patient_id = :patient AND study_uid = :study

-- name: all_stale
UPDATE study SET fhir_stale = true

-- name: addressed_elsewhere
-- Patients whose Endpoint carries another public address than this server has now.
SELECT patient_id FROM resource
 WHERE type = 'Endpoint' AND NOT deleted
   AND position(convert_to('"' || :base || '/patients/', 'UTF8') IN json) = 0
