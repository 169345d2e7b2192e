-- name: permissions_of
-- Every word of an account on every permission, the latest first.
SELECT purpose, given, at FROM permission WHERE account_id = :account ORDER BY at DESC, purpose

-- name: add_permission
INSERT INTO permission (account_id, purpose, given, at, text_hash, text_version, language, channel)
VALUES (:account, :purpose, :given, :now, :text_hash, :text_version, 'en', :channel)

-- name: add_help
INSERT INTO help_message (id, account_id, subject, sealed, created_at, answer_by)
VALUES (:id, :account, :subject, :sealed, :now, :answer_by)

-- name: studies_page
-- What is in reach, the newest study date first; without a date last.
SELECT study.patient_id, study.study_uid, study.fhir_id, study.standing, study.study_day, study.shown_day, study.modalities, study.corrected, study.series_count,
       study.instance_count, study.attributes, study.created_at, study.size, study.deleted_at,
       organization.name AS organization,
       (SELECT series.attributes FROM series
         WHERE series.patient_id = study.patient_id AND series.study_uid = study.study_uid
           AND series.deleted_at IS NULL
         ORDER BY series.series_number NULLS LAST, series.series_uid LIMIT 1) AS series_attributes,
       (SELECT count(*) FROM resource
         WHERE resource.patient_id = study.patient_id AND resource.study_uid = study.study_uid
           AND resource.type = 'DiagnosticReport' AND NOT resource.deleted AND {reports}) AS reports
  FROM study LEFT JOIN organization ON organization.id = study.organization_id
 WHERE {reach} AND {match}
 ORDER BY study.shown_day DESC, study.study_time DESC, study.study_uid
 LIMIT :limit OFFSET :offset

-- name: removed_studies
-- What the patient deleted, or said not to be theirs, and may still take back.
SELECT study.patient_id, study.study_uid, study.fhir_id, study.standing, study.study_day, study.shown_day, study.modalities, study.corrected, study.series_count,
       study.instance_count, study.attributes, study.created_at, study.size, study.deleted_at,
       organization.name AS organization,
       (SELECT series.attributes FROM series
         WHERE series.patient_id = study.patient_id AND series.study_uid = study.study_uid
           AND series.deleted_at IS NULL
         ORDER BY series.series_number NULLS LAST, series.series_uid LIMIT 1) AS series_attributes,
       (SELECT count(*) FROM resource
         WHERE resource.patient_id = study.patient_id AND resource.study_uid = study.study_uid
           AND resource.type = 'DiagnosticReport' AND NOT resource.deleted AND {reports}) AS reports
  FROM study JOIN patient ON patient.id = study.patient_id
  LEFT JOIN organization ON organization.id = study.organization_id
 WHERE study.patient_id = :patient AND {reach}
   AND (study.deleted_at > :since OR (study.deleted_at IS NULL AND study.standing = 'not-mine'))
 ORDER BY study.updated_at DESC LIMIT 200

-- name: count_studies
SELECT count(*) AS total, count(*) FILTER (WHERE study.standing = 'differs') AS differing
  FROM study WHERE {reach} AND {match}

-- name: kinds_of_studies
-- The modalities there are to choose from, as they are shown.
SELECT DISTINCT unnest({kinds}) AS modality FROM study WHERE {reach} ORDER BY 1

-- name: series_of_study
SELECT series.patient_id, series.study_uid, series.series_uid, series.modality, series.series_number,
       series.attributes, picture.images, picture.frames, picture.cover, picture.cover_frame
  FROM series JOIN study USING (patient_id, study_uid),
       LATERAL (SELECT count(*) AS images, sum(frame_count) AS frames,
                       (array_agg(sop_uid ORDER BY instance_number NULLS LAST, sop_uid)
                            FILTER (WHERE frame_count > 0))[1 + count(*) FILTER (WHERE frame_count > 0) / 2] AS cover,
                       1 + max(frame_count) / 2 AS cover_frame
                  FROM instance
                 WHERE instance.patient_id = series.patient_id AND instance.study_uid = series.study_uid
                   AND instance.series_uid = series.series_uid AND instance.deleted_at IS NULL) AS picture
 WHERE {reach} AND study.patient_id = :patient AND study.study_uid = :study AND series.deleted_at IS NULL
   AND picture.images > 0
 ORDER BY series.series_number NULLS LAST, series.series_uid

-- name: frames_of_series
-- The images of a series in their order, with their number of frames.
SELECT instance.series_uid, instance.sop_uid, instance.frame_count
  FROM instance JOIN study USING (patient_id, study_uid)
 WHERE {reach} AND study.patient_id = :patient AND study.study_uid = :study AND instance.series_uid = :series
   AND instance.deleted_at IS NULL AND instance.frame_count > 0
 ORDER BY instance.instance_number NULLS LAST, instance.sop_uid

-- name: hashes_of_study
-- What the originals of a study are, byte for byte.
SELECT instance.series_uid, instance.sop_uid, instance.sha256 FROM instance JOIN study USING (patient_id, study_uid)
 WHERE {reach} AND study.study_uid = :study AND instance.deleted_at IS NULL
 ORDER BY instance.series_uid, instance.instance_number NULLS LAST, instance.sop_uid

-- name: uids_to_share
-- What a share of the whole record gives at this moment.
SELECT study.study_uid FROM study
 WHERE study.patient_id = :patient AND study.standing = 'mine' AND {reach} ORDER BY study.study_uid

-- name: held_instances
-- Which of these SOP Instance UIDs the record holds already.
SELECT instance.sop_uid FROM instance JOIN study USING (patient_id, study_uid)
 WHERE {reach} AND instance.sop_uid = ANY (:uids) AND instance.deleted_at IS NULL

-- name: practitioner
-- What patients are shown of a doctor.
SELECT id, name, specialty, organization_name, registration_number, authority, verification
  FROM practitioner WHERE id = :id

-- name: organizations_of
-- Where these doctors work, as they say; what these organizations are called.
SELECT id, organization_name AS name FROM practitioner WHERE id = ANY (:ids)
UNION ALL
SELECT id, name FROM organization WHERE id = ANY (:ids)

-- name: profiles
-- The Patient resources of these patients.
SELECT resource.patient_id, resource.json FROM resource
 WHERE resource.type = 'Patient' AND resource.id = ANY (:ids) AND NOT resource.deleted AND {reach}

-- name: study_counts
-- How many studies of each patient are in reach, and how many came since this doctor last looked.
SELECT study.patient_id, count(*) AS total,
       count(*) FILTER (WHERE study.created_at > (SELECT max(coalesce(share.last_looked_at, share.accepted_at))
            FROM share WHERE share.patient_id = study.patient_id AND share.practitioner_id = :practitioner)) AS fresh
  FROM study WHERE study.patient_id = ANY (:ids) AND {reach} GROUP BY study.patient_id

-- name: reports_of_study
-- The reports about one study, the newest first.
SELECT resource.json FROM resource
 WHERE resource.patient_id = :patient AND resource.study_uid = :study AND resource.type = 'DiagnosticReport'
   AND NOT resource.deleted AND {reach}
 ORDER BY resource.last_updated DESC LIMIT 200

-- name: reports_by_id
SELECT resource.json FROM resource
 WHERE resource.type = 'DiagnosticReport' AND resource.id = ANY (:ids) AND NOT resource.deleted AND {reach}
 ORDER BY resource.last_updated

-- name: documents
SELECT resource.json, resource.patient_id, resource.version FROM resource
 WHERE resource.type = 'DocumentReference' AND resource.id = ANY (:ids) AND NOT resource.deleted AND {reach}

-- name: entries_page
-- Studies and hard copy records of one patient in one list, the newest first, by (partial) date; without one last.
SELECT kind, id FROM (
    SELECT 'study' AS kind, study.study_uid AS id, rpad(nullif(study.shown_day, ''), 8, '0') AS day,
           study.study_time AS moment
      FROM study WHERE study.patient_id = :patient AND {reach} AND {match}
    UNION ALL
    SELECT 'record', paper.id, paper.day, '' FROM (
        SELECT resource.id, read.body,
               rpad(left(replace(coalesce(read.body #>> '{context,period,start}', ''), '-', ''), 8), 8, '0') AS day
          FROM resource, LATERAL (SELECT convert_from(resource.json, 'UTF8')::jsonb AS body) AS read
         WHERE resource.patient_id = :patient AND resource.type = 'DocumentReference' AND NOT resource.deleted
           AND resource.study_uid IS NULL AND {papers}) AS paper
     WHERE jsonb_path_exists(paper.body, '$.category[*].coding[*] ? (@.code == "LP29684-5")')
       AND (:kind = '' OR jsonb_path_exists(paper.body, '$.context.event[*].coding[*] ? (@.code == $kind)',
                                            jsonb_build_object('kind', CAST(:kind AS text))))
) AS entry ORDER BY day DESC NULLS LAST, moment DESC, kind, id LIMIT :limit OFFSET :offset

-- name: papers_of_patient
-- Records on paper, to be searched by their words.
SELECT paper.id FROM (
    SELECT resource.id, resource.key, convert_from(resource.json, 'UTF8')::jsonb AS body FROM resource
     WHERE resource.patient_id = :patient AND resource.type = 'DocumentReference' AND NOT resource.deleted
       AND resource.study_uid IS NULL AND {papers}) AS paper
 WHERE jsonb_path_exists(paper.body, '$.category[*].coding[*] ? (@.code == "LP29684-5")')
 ORDER BY paper.key DESC LIMIT :most

-- name: count_papers
-- How many records on paper there are, of one kind or of all.
SELECT count(*) FROM (
    SELECT convert_from(resource.json, 'UTF8')::jsonb AS body FROM resource
     WHERE resource.patient_id = :patient AND resource.type = 'DocumentReference' AND NOT resource.deleted
       AND resource.study_uid IS NULL AND {papers}) AS paper
 WHERE jsonb_path_exists(paper.body, '$.category[*].coding[*] ? (@.code == "LP29684-5")')
   AND (:kind = '' OR jsonb_path_exists(paper.body, '$.context.event[*].coding[*] ? (@.code == $kind)',
                                        jsonb_build_object('kind', CAST(:kind AS text))))
