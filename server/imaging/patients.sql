-- Patients as DICOM knows them: a Patient ID with its issuer, on studies that are in reach.

-- name: find
-- What a patient is called comes from the newest of the studies; how many there are, from all in reach.
SELECT found.*, newest.attributes
  FROM (SELECT study.patient_id, study.dicom_patient_id, study.issuer, count(*) AS studies,
               sum(study.series_count)::bigint AS series, sum(study.instance_count)::bigint AS instances,
               (array_agg(study.study_uid ORDER BY study.study_day DESC, study.study_time DESC, study.study_uid))[1]
                   AS study_uid,
               min(study.name_folded) AS name
          FROM (SELECT DISTINCT study.patient_id, study.dicom_patient_id, study.issuer FROM study
                 WHERE {reach} AND {match}) AS matching
          JOIN study ON study.patient_id = matching.patient_id
               AND study.dicom_patient_id = matching.dicom_patient_id AND study.issuer = matching.issuer
         WHERE {reach}
         GROUP BY study.patient_id, study.dicom_patient_id, study.issuer
         ORDER BY name, study.patient_id, study.dicom_patient_id, study.issuer
         LIMIT :limit OFFSET :offset) AS found
  JOIN study AS newest ON newest.patient_id = found.patient_id AND newest.study_uid = found.study_uid
 ORDER BY found.name, found.patient_id, found.dicom_patient_id, found.issuer

-- name: count
SELECT count(*) FROM (
    SELECT DISTINCT study.patient_id, study.dicom_patient_id, study.issuer FROM study WHERE {reach} AND {match}
) AS matching
