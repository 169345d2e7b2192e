-- Corrections of a study by who holds the record.

-- name: study_to_correct
-- Locked: two words at once are said one after the other.
SELECT study.patient_id, study.study_uid, study.study_day, study.modalities, study.attributes, study.corrected,
       (SELECT series.attributes FROM series
         WHERE series.patient_id = study.patient_id AND series.study_uid = study.study_uid
           AND series.deleted_at IS NULL
         ORDER BY series.series_number NULLS LAST, series.series_uid LIMIT 1) AS series_attributes
  FROM study
 WHERE study.patient_id = :patient_id AND study.study_uid = :study_uid AND study.deleted_at IS NULL
   AND study.standing <> 'not-mine'
   AND EXISTS (SELECT FROM patient WHERE patient.id = study.patient_id AND {reach})
   FOR UPDATE OF study

-- name: latest_two
-- What holds and what held before; what was taken back counts no more.
SELECT id, value FROM correction
 WHERE patient_id = :patient_id AND study_uid = :study_uid AND attribute = :attribute AND NOT undone
 ORDER BY superseded_at DESC NULLS FIRST, created_at DESC LIMIT 2

-- name: mark_undone
UPDATE correction SET undone = true WHERE id = ANY (:ids::uuid[])

-- name: supersede
UPDATE correction SET superseded_at = :now
 WHERE patient_id = :patient_id AND study_uid = :study_uid AND attribute = ANY (:attributes)
   AND superseded_at IS NULL

-- name: say_correction
INSERT INTO correction (id, patient_id, study_uid, attribute, value, original, by_account, by_name, created_at)
SELECT row.id, :patient_id, :study_uid, row.attribute, row.value, row.original, :account, :name, :now
  FROM unnest(:ids::uuid[], :attributes::text[], :values::text[], :originals::text[])
       AS row (id, attribute, value, original)

-- name: set_corrected
UPDATE study SET corrected = :corrected::jsonb, updated_at = :now, fhir_stale = true
 WHERE patient_id = :patient_id AND study_uid = :study_uid

-- name: corrections
SELECT correction.id, attribute, value, original, by_name, correction.created_at, superseded_at
  FROM correction JOIN study USING (patient_id, study_uid)
 WHERE patient_id = :patient_id AND study_uid = :study_uid AND {reach}
 ORDER BY correction.created_at DESC, attribute LIMIT 500
