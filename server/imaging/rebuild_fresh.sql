-- What the FHIR resources of studies are made from, that were not made before; many studies at once.

-- name: fresh_studies
-- Locked in one order, so that two at once never wait for each other in a circle. Not those that need a closer look:
-- hidden or corrected ones, and those that were made before.
SELECT study.patient_id, study.study_uid, study.fhir_id, study.study_day, study.study_time, study.modalities,
       study.attributes, study.corrected, study.sop_classes, study.accession_number, study.created_at, study.author,
       study.organization_id
  FROM unnest(:patients::text[], :studies::text[]) AS asked (patient_id, study_uid)
  JOIN study ON study.patient_id = asked.patient_id AND study.study_uid = asked.study_uid
 WHERE study.fhir_stale AND study.deleted_at IS NULL AND study.standing <> 'not-mine' AND study.corrected = '{}'
   AND NOT EXISTS (SELECT FROM correction WHERE correction.patient_id = study.patient_id
                      AND correction.study_uid = study.study_uid)
   AND NOT EXISTS (SELECT FROM resource WHERE resource.patient_id = study.patient_id
                      AND resource.study_uid = study.study_uid AND resource.author = 'server')
 ORDER BY study.patient_id COLLATE "C", study.study_uid COLLATE "C" FOR UPDATE OF study

-- name: series_of_fresh
SELECT series.patient_id, series.study_uid, series_uid, modality, series_number, series_day, series_time, attributes,
       author
  FROM unnest(:patients::text[], :studies::text[]) AS asked (patient_id, study_uid)
  JOIN series ON series.patient_id = asked.patient_id AND series.study_uid = asked.study_uid
 WHERE series.deleted_at IS NULL
 ORDER BY series_number NULLS LAST, series_uid

-- name: instances_of_fresh
SELECT instance.patient_id, instance.study_uid, series_uid, sop_uid, sop_class, instance_number
  FROM unnest(:patients::text[], :studies::text[]) AS asked (patient_id, study_uid)
  JOIN instance ON instance.patient_id = asked.patient_id AND instance.study_uid = asked.study_uid
 WHERE instance.deleted_at IS NULL
 ORDER BY instance_number NULLS LAST, sop_uid

-- name: ordered_by
-- Patients' ServiceRequests with the accession numbers of their studies.
SELECT DISTINCT token.patient_id, token.code AS accession, resource.id
  FROM unnest(:patients::text[], :accessions::text[]) AS asked (patient_id, accession)
  JOIN index_token AS token ON token.param = 'ServiceRequest.identifier' AND token.code = asked.accession
       AND token.patient_id = asked.patient_id
  JOIN resource ON resource.key = token.key AND NOT resource.deleted
 ORDER BY resource.id

-- name: rebuilt_all
UPDATE study SET fhir_stale = false
  FROM unnest(:patients::text[], :studies::text[]) AS made (patient_id, study_uid)
 WHERE study.patient_id = made.patient_id AND study.study_uid = made.study_uid
