-- name: owners
-- The patients that a store may go to, with what sealing and comparing need.
SELECT patient.id AS patient_id, key.wrapped,
       (SELECT json FROM resource
         WHERE resource.patient_id = patient.id AND type = 'Patient' AND resource.id = patient.id AND NOT deleted
       ) AS profile
  FROM patient JOIN keys.patient_key AS key ON key.patient_id = patient.id
 WHERE (:patient::text IS NULL
        OR patient.id = coalesce((SELECT merger.patient_id FROM merger
                                   WHERE merger.source_id = :patient AND merger.undone_at IS NULL), :patient))
   AND {reach}
 LIMIT :limit

-- name: organization
SELECT identifier_system, issuers FROM organization WHERE id = :id

-- name: lock_organization
-- Two stores of one organization must not make two profiles of one new patient.
SELECT id FROM organization WHERE id = :id FOR NO KEY UPDATE

-- name: owners_by_identifier
-- By the identifier that the organization asserted; without one, by the study it brought before. The patient is looked
-- for beside each value: joined otherwise, the planner reads every patient there is.
SELECT asked.value, asked.study_uid, found.*
  FROM unnest(:values::text[], :studies::text[], :patients::text[]) AS asked (value, study_uid, made)
 CROSS JOIN LATERAL (
       SELECT patient.id AS patient_id, key.wrapped,
              (SELECT json FROM resource
                WHERE resource.patient_id = patient.id AND type = 'Patient' AND resource.id = patient.id
                  AND NOT deleted
              ) AS profile
         FROM patient JOIN keys.patient_key AS key ON key.patient_id = patient.id
        WHERE {reach}
          AND patient.id = coalesce(
               asked.made,
               (SELECT patient_id FROM patient_identifier
                 WHERE organization_id = :organization AND patient_identifier.value = asked.value AND asked.value <> ''),
               (SELECT patient_id FROM study
                 WHERE asked.value = '' AND study.study_uid = asked.study_uid AND organization_id = :organization
                 ORDER BY created_at LIMIT 1))
        OFFSET 0
       ) AS found

-- name: assert_identifiers
INSERT INTO patient_identifier (organization_id, value, patient_id)
SELECT :organization, value, patient_id FROM unnest(:values::text[], :patients::text[]) AS row (value, patient_id)
    ON CONFLICT DO NOTHING

-- name: held
-- Which of these instances are held already.
SELECT instance.patient_id, instance.sop_uid, instance.sha256, instance.size, study.modalities,
       instance.deleted_at IS NOT NULL OR series.deleted_at IS NOT NULL OR study.deleted_at IS NOT NULL AS deleted,
       study.standing, study.organization_id
  FROM unnest(:patients::text[], :uids::text[]) AS asked (patient_id, sop_uid)
  JOIN instance ON instance.patient_id = asked.patient_id AND instance.sop_uid = asked.sop_uid
  JOIN series ON series.patient_id = instance.patient_id AND series.study_uid = instance.study_uid
       AND series.series_uid = instance.series_uid
  JOIN study ON study.patient_id = instance.patient_id AND study.study_uid = instance.study_uid

-- name: study_held
-- What the filter of a scope asks of a study that is added to.
SELECT modalities, study_date, fhir_id FROM study WHERE patient_id = :patient_id AND study_uid = :study_uid

-- name: lock_studies
-- The studies as they are, or made now, and so their series; all locked until the end of the transaction, the studies
-- first and in one order, so that stores wait in line. No row: out of reach by now, or a share is not of this study.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(:patients::text[], :studies::text[], :fhir_ids::text[], :standings::text[],
                         :study_date::date[], :study_day::text[], :study_time::text[], :accession_number::text[],
                         :study_id::text[], :dicom_patient_id::text[], :issuer::text[], :birth_day::text[],
                         :sex::text[], :name_folded::text[], :name_words::text[], :name_trigrams::text[],
                         :referrer_folded::text[], :referrer_words::text[], :title_folded::text[],
                         :attributes::bytea[], :study_modalities::text[]) WITH ORDINALITY
             AS row (patient_id, study_uid, fhir_id, standing, study_date, study_day, study_time, accession_number,
                     study_id, dicom_patient_id, issuer, birth_day, sex, name_folded, name_words, name_trigrams,
                     referrer_folded, referrer_words, title_folded, attributes, modalities, place)
), locked AS (
    INSERT INTO study (patient_id, study_uid, fhir_id, standing, organization_id, study_date, created_at, updated_at,
                       study_day, study_time, accession_number, study_id, dicom_patient_id, issuer, birth_day, sex,
                       name_folded, name_words, name_trigrams, referrer_folded, referrer_words, title_folded,
                       attributes, modalities, author)
    SELECT asked.patient_id, asked.study_uid, asked.fhir_id, asked.standing, :organization_id, asked.study_date, :now,
           :now, asked.study_day, asked.study_time, asked.accession_number, asked.study_id, asked.dicom_patient_id,
           asked.issuer, asked.birth_day, asked.sex, asked.name_folded, string_to_array(asked.name_words, chr(31)),
           string_to_array(asked.name_trigrams, chr(31)), asked.referrer_folded,
           string_to_array(asked.referrer_words, chr(31)), asked.title_folded, asked.attributes,
           string_to_array(asked.modalities, chr(31)), :author
      FROM asked
     WHERE EXISTS (SELECT FROM patient WHERE patient.id = asked.patient_id AND {reach} OFFSET 0)
     ORDER BY asked.place
        ON CONFLICT (patient_id, study_uid) DO UPDATE SET patient_id = excluded.patient_id
    RETURNING patient_id, study_uid, modalities, sop_classes, series_count, instance_count, size, attributes,
              deleted_at, standing, study.organization_id
), several AS (
    INSERT INTO series (patient_id, study_uid, created_at, series_uid, modality, series_number, series_day,
                        series_time, title_folded, body_part, laterality, step_day, step_time, requests, procedures,
                        attributes, author)
    SELECT row.patient_id, row.study_uid, :now, row.series_uid, modality, series_number, series_day, series_time,
           series_title, body_part, laterality, step_day, step_time, string_to_array(requests, chr(31)),
           string_to_array(procedures, chr(31)), series_attributes, :author
      FROM unnest(:series_patients::text[], :series_studies::text[], :series_uids::text[], :modality::text[],
                  :series_number::integer[], :series_day::text[], :series_time::text[], :series_title::text[],
                  :body_part::text[], :laterality::text[], :step_day::text[], :step_time::text[], :requests::text[],
                  :procedures::text[], :series_attributes::bytea[]) WITH ORDINALITY
           AS row (patient_id, study_uid, series_uid, modality, series_number, series_day, series_time, series_title,
                   body_part, laterality, step_day, step_time, requests, procedures, series_attributes, place)
     WHERE (row.patient_id, row.study_uid) IN (SELECT patient_id, study_uid FROM locked)
     ORDER BY row.place
        ON CONFLICT (patient_id, study_uid, series_uid) DO UPDATE SET patient_id = excluded.patient_id
    RETURNING patient_id, study_uid, series_uid, instance_count, attributes
)
SELECT locked.*, several.series_uid, several.instance_count AS in_series, several.attributes AS series_attributes
  FROM locked JOIN several USING (patient_id, study_uid)

-- name: add_instances
-- Many rows in one statement; those whose UID the patient holds already are left out.
INSERT INTO instance (patient_id, study_uid, created_at, series_uid, sop_uid, instance_number, sop_class,
                      transfer_syntax, pack_id, object_id, pack_offset, size, sha256, wrapped_key, pixel_rows,
                      pixel_columns, bits_allocated, samples, frame_count, frame_bits, pixel_offset, pixel_length,
                      frame_table, pieced, content_day, content_time, qido, metadata)
SELECT row.patient_id, row.study_uid, :now, row.series_uid, row.sop_uid, row.instance_number, row.sop_class,
       row.transfer_syntax, row.pack_id, row.object_id, row.pack_offset, row.size, row.sha256, row.wrapped_key,
       row.pixel_rows, row.pixel_columns, row.bits_allocated, row.samples, row.frame_count, row.frame_bits,
       row.pixel_offset, row.pixel_length, row.frame_table, row.pieced, row.content_day, row.content_time, row.qido,
       row.metadata
  FROM unnest(:patient_id::text[], :study_uid::text[], :series_uid::text[], :sop_uid::text[], :instance_number::integer[], :sop_class::text[],
              :transfer_syntax::text[], :pack_id::uuid[], :object_id::uuid[], :pack_offset::bigint[],
              :size::bigint[], :sha256::bytea[], :wrapped_key::bytea[], :pixel_rows::integer[],
              :pixel_columns::integer[], :bits_allocated::integer[], :samples::integer[], :frame_count::integer[],
              :frame_bits::bigint[], :pixel_offset::bigint[], :pixel_length::bigint[], :frame_table::bytea[],
              :pieced::boolean[], :content_day::text[], :content_time::text[], :qido::bytea[], :metadata::bytea[]
             ) AS row (patient_id, study_uid, series_uid, sop_uid, instance_number, sop_class, transfer_syntax, pack_id,
                       object_id, pack_offset, size, sha256, wrapped_key, pixel_rows, pixel_columns, bits_allocated,
                       samples, frame_count, frame_bits, pixel_offset, pixel_length, frame_table, pieced, content_day,
                       content_time, qido, metadata)
    ON CONFLICT (patient_id, sop_uid) DO NOTHING
RETURNING patient_id, sop_uid

-- name: note_resent
-- What an organization sent of a study that others had brought: see `access.rows.came_from`.
WITH sent AS (
    INSERT INTO resent (patient_id, sop_uid, organization_id)
    SELECT patient_id, sop_uid, :organization FROM instance
     WHERE patient_id = :patient_id AND study_uid = :study_uid AND sop_uid = ANY(:uids)
        ON CONFLICT DO NOTHING
)
UPDATE study SET resent_by = array_append(coalesce(resent_by, '{}'), :organization::text)
 WHERE patient_id = :patient_id AND study_uid = :study_uid
   AND NOT coalesce(resent_by, '{}') @> ARRAY[:organization::text]

-- name: hashes
SELECT sop_uid, sha256 FROM instance WHERE patient_id = :patient_id AND sop_uid = ANY(:uids)

-- name: grow_studies
-- The counts and prepared answers of locked studies and of those of their series that got something; and what came,
-- for the change feed.
WITH grown AS MATERIALIZED (
    SELECT * FROM unnest(:series_patients::text[], :series_studies::text[], :series_uids::text[],
                         :series_counts::integer[], :series_qido::bytea[], :series_sops::text[],
                         :series_revive::boolean[], :series_open::boolean[])
             AS row (patient_id, study_uid, series_uid, instance_count, qido, sops, revive, open)
), told AS (
    INSERT INTO change (patient_id, study_uid, series_uid, sop_uids, action, changed_at, open)
    SELECT patient_id, study_uid, series_uid, string_to_array(sops, chr(31)), 'create', :now, open FROM grown
), several AS (
    UPDATE series SET instance_count = grown.instance_count, qido = grown.qido,
           deleted_at = CASE WHEN grown.revive THEN NULL ELSE deleted_at END
      FROM grown
     WHERE series.patient_id = grown.patient_id AND series.study_uid = grown.study_uid
       AND series.series_uid = grown.series_uid
)
UPDATE study SET modalities = string_to_array(row.modalities, chr(31)),
       sop_classes = string_to_array(row.sop_classes, chr(31)), series_count = row.series_count,
       instance_count = row.instance_count, size = row.size, qido = row.qido, updated_at = :now, fhir_stale = true,
       standing = CASE WHEN row.mine THEN 'mine' ELSE standing END,
       deleted_at = CASE WHEN row.revive THEN NULL ELSE deleted_at END
  FROM unnest(:patients::text[], :studies::text[], :modalities::text[], :sop_classes::text[],
              :series_count::integer[], :instance_count::integer[], :size::bigint[], :qido::bytea[],
              :mine::boolean[], :revive::boolean[])
       AS row (patient_id, study_uid, modalities, sop_classes, series_count, instance_count, size, qido, mine, revive)
 WHERE study.patient_id = row.patient_id AND study.study_uid = row.study_uid

-- name: revive
-- The holder sent again what was deleted, or says now that it is theirs.
WITH asked AS (
    SELECT DISTINCT study_uid, series_uid FROM instance WHERE patient_id = :patient_id AND sop_uid = ANY(:uids)
), instances AS (
    UPDATE instance SET deleted_at = NULL
     WHERE patient_id = :patient_id AND sop_uid = ANY(:uids) AND deleted_at IS NOT NULL
), series AS (
    UPDATE series SET deleted_at = NULL FROM asked
     WHERE series.patient_id = :patient_id AND series.study_uid = asked.study_uid
       AND series.series_uid = asked.series_uid AND series.deleted_at IS NOT NULL
)
UPDATE study SET deleted_at = NULL, fhir_stale = true, updated_at = :now,
       standing = CASE WHEN :mine THEN 'mine' ELSE standing END
 WHERE patient_id = :patient_id AND study_uid IN (SELECT study_uid FROM asked)
RETURNING study_uid, standing

-- name: lock_held_study
SELECT attributes FROM study WHERE patient_id = :patient_id AND study_uid = :study_uid FOR UPDATE

-- name: count_series
-- What is left of each series of a study.
SELECT series.series_uid, series.attributes, series.modality, count(instance.sop_uid) AS instances,
       coalesce(sum(instance.size), 0)::bigint AS size,
       coalesce(array_agg(DISTINCT instance.sop_class) FILTER (WHERE instance.sop_uid IS NOT NULL), '{}') AS sop_classes
  FROM series
  LEFT JOIN instance ON instance.patient_id = series.patient_id AND instance.study_uid = series.study_uid
        AND instance.series_uid = series.series_uid AND instance.deleted_at IS NULL
 WHERE series.patient_id = :patient_id AND series.study_uid = :study_uid AND series.deleted_at IS NULL
 GROUP BY series.series_uid, series.attributes, series.modality

-- name: set_series_count
UPDATE series SET instance_count = :instance_count, qido = :qido
 WHERE patient_id = :patient_id AND study_uid = :study_uid AND series_uid = :series_uid

-- name: set_study_count
UPDATE study SET modalities = :modalities, sop_classes = :sop_classes, series_count = :series_count,
       instance_count = :instance_count, size = :size, qido = :qido, updated_at = :now, fhir_stale = true
 WHERE patient_id = :patient_id AND study_uid = :study_uid

-- name: find_studies
-- A page, newest first, and a row after it where there is one; in each row, how many were found from the page's
-- first on, up to a bound. The limits are numbers in the text, so that one plan serves all pages of about a size.
SELECT * FROM (
    SELECT page.*, count(*) OVER () AS counted, row_number() OVER () AS place FROM (
        SELECT * FROM (
            SELECT study.patient_id, study.study_uid, study.qido,
                   CASE WHEN :whole::boolean THEN study.attributes END AS document
              FROM study
             WHERE {reach} AND {match}
             ORDER BY study.study_day DESC, study.study_time DESC, study.study_uid, study.patient_id
             LIMIT {until}) AS ordered
        OFFSET :offset LIMIT :most) AS page) AS found
 WHERE place <= :page::bigint + 1

-- name: find_series
SELECT * FROM (
    SELECT page.*, count(*) OVER () AS counted, row_number() OVER () AS place FROM (
        SELECT * FROM (
            SELECT series.patient_id, series.study_uid, series.series_uid, series.qido,
                   CASE WHEN :whole::boolean THEN series.attributes END AS document,
                   CASE WHEN :parents::boolean OR :whole THEN study.qido END AS study_qido,
                   CASE WHEN :whole THEN study.attributes END AS study_document
              FROM study
              JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
             WHERE {reach} AND series.deleted_at IS NULL AND {match}
             ORDER BY study.study_day DESC, study.study_time DESC, study.study_uid, study.patient_id,
                      series.series_number NULLS LAST, series.series_uid
             LIMIT {until}) AS ordered
        OFFSET :offset LIMIT :most) AS page) AS found
 WHERE place <= :page::bigint + 1

-- name: find_instances
SELECT * FROM (
    SELECT page.*, count(*) OVER () AS counted, row_number() OVER () AS place FROM (
        SELECT * FROM (
            SELECT instance.patient_id, instance.study_uid, instance.series_uid, instance.sop_uid, instance.qido,
                   CASE WHEN :whole::boolean THEN instance.metadata END AS document,
                   CASE WHEN :parents::boolean THEN study.qido END AS study_qido,
                   CASE WHEN :of_series::boolean THEN series.qido END AS series_qido
              FROM study
              JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
              JOIN instance ON instance.patient_id = series.patient_id AND instance.study_uid = series.study_uid
                   AND instance.series_uid = series.series_uid
             WHERE {reach} AND series.deleted_at IS NULL AND instance.deleted_at IS NULL AND {match}
             ORDER BY study.study_day DESC, study.study_time DESC, study.study_uid, study.patient_id,
                      series.series_number NULLS LAST, series.series_uid, instance.instance_number NULLS LAST,
                      instance.sop_uid
             LIMIT {until}) AS ordered
        OFFSET :offset LIMIT :most) AS page) AS found
 WHERE place <= :page::bigint + 1

-- name: count_studies
SELECT count(*) FROM study WHERE {reach} AND {match}

-- name: count_found_series
SELECT count(*) FROM study
  JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
 WHERE {reach} AND series.deleted_at IS NULL AND {match}

-- name: count_instances
SELECT count(*) FROM study
  JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
  JOIN instance ON instance.patient_id = series.patient_id AND instance.study_uid = series.study_uid
       AND instance.series_uid = series.series_uid
 WHERE {reach} AND series.deleted_at IS NULL AND instance.deleted_at IS NULL AND {match}

-- name: instances_of
-- Where instances lie and what opens them; `{of}` says which.
SELECT instance.patient_id, instance.study_uid, instance.series_uid, instance.sop_uid, instance.sop_class,
       instance.instance_number, instance.transfer_syntax, instance.pack_id, instance.object_id,
       instance.pack_offset, instance.size, instance.sha256, instance.wrapped_key, instance.pixel_rows,
       instance.pixel_columns, instance.bits_allocated, instance.samples, instance.frame_count,
       instance.frame_bits, instance.pixel_offset, instance.pixel_length, instance.pieced, instance.created_at,
       series.modality, key.wrapped AS patient_key,
       CASE WHEN :metadata::boolean THEN instance.metadata END AS metadata,
       CASE WHEN :table_size::integer > 0
            THEN substring(instance.frame_table FROM :table_from::integer FOR :table_size::integer)
       END AS frame_table
  FROM study
  JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
  JOIN instance ON instance.patient_id = series.patient_id AND instance.study_uid = series.study_uid
       AND instance.series_uid = series.series_uid
  JOIN keys.patient_key AS key ON key.patient_id = study.patient_id
 WHERE {reach} AND {of} AND series.deleted_at IS NULL AND instance.deleted_at IS NULL
 ORDER BY study.patient_id, series.series_number NULLS LAST, series.series_uid,
          instance.instance_number NULLS LAST, instance.sop_uid
 LIMIT {limit}

-- name: metadata_of
SELECT instance.patient_id, instance.sop_uid, instance.metadata
  FROM study
  JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
  JOIN instance ON instance.patient_id = series.patient_id AND instance.study_uid = series.study_uid
       AND instance.series_uid = series.series_uid
 WHERE {reach} AND {of} AND series.deleted_at IS NULL AND instance.deleted_at IS NULL
 ORDER BY study.patient_id, series.series_number NULLS LAST, series.series_uid,
          instance.instance_number NULLS LAST, instance.sop_uid

-- name: version_of
-- What an ETag is made of: changes with anything that the metadata of these instances say.
SELECT study.patient_id, count(*) AS instances, max(instance.created_at) AS newest,
       max(study.updated_at) AS updated
  FROM study
  JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
  JOIN instance ON instance.patient_id = series.patient_id AND instance.study_uid = series.study_uid
       AND instance.series_uid = series.series_uid
 WHERE {reach} AND {of} AND series.deleted_at IS NULL AND instance.deleted_at IS NULL
 GROUP BY study.patient_id

-- name: held_uids
SELECT instance.sop_uid
  FROM study
  JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
  JOIN instance ON instance.patient_id = series.patient_id AND instance.study_uid = series.study_uid
       AND instance.series_uid = series.series_uid
 WHERE {reach} AND study.patient_id = :patient_id AND instance.sop_uid = ANY(:uids)
   AND series.deleted_at IS NULL AND instance.deleted_at IS NULL

-- name: delete_study
UPDATE study SET deleted_at = :now, updated_at = :now, fhir_stale = true
 WHERE study.study_uid = :study_uid AND {reach}
RETURNING study.patient_id, study.study_uid, study.standing

-- name: delete_series
UPDATE series SET deleted_at = :now FROM study
 WHERE study.patient_id = series.patient_id AND study.study_uid = series.study_uid
   AND study.study_uid = :study_uid AND series.series_uid = :series_uid AND series.deleted_at IS NULL AND {reach}
RETURNING study.patient_id, study.study_uid, study.standing

-- name: delete_instance
UPDATE instance SET deleted_at = :now FROM study, series
 WHERE study.patient_id = instance.patient_id AND study.study_uid = instance.study_uid
   AND series.patient_id = instance.patient_id AND series.study_uid = instance.study_uid
   AND series.series_uid = instance.series_uid AND series.deleted_at IS NULL
   AND study.study_uid = :study_uid AND series.series_uid = :series_uid AND instance.sop_uid = :sop_uid
   AND instance.deleted_at IS NULL AND {reach}
RETURNING study.patient_id, study.study_uid, study.standing

-- name: restore_study
-- Only who holds the profile takes something back, and only within the time it is kept for.
UPDATE study SET deleted_at = NULL, updated_at = :now, fhir_stale = true
 WHERE patient_id = :patient_id AND study_uid = :study_uid AND deleted_at > :since
   AND EXISTS (SELECT FROM patient WHERE patient.id = study.patient_id AND {reach})
RETURNING patient_id, study_uid, standing

-- name: set_standing
UPDATE study SET standing = :standing, updated_at = :now, fhir_stale = true
  FROM study AS before
 WHERE study.patient_id = :patient_id AND study.study_uid = :study_uid AND study.deleted_at IS NULL
   AND study.standing <> :standing AND before.patient_id = study.patient_id AND before.study_uid = study.study_uid
   AND EXISTS (SELECT FROM patient WHERE patient.id = study.patient_id AND {reach})
RETURNING study.patient_id, study.study_uid, before.standing AS before

-- name: thumbnail_of
-- The picture that is kept of a series; of a study, of the first series that is likely to have one.
SELECT study.patient_id, series.series_uid, thumbnail.sealed, key.wrapped
  FROM study
  JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
  JOIN keys.patient_key AS key ON key.patient_id = study.patient_id
  LEFT JOIN thumbnail ON thumbnail.patient_id = series.patient_id AND thumbnail.study_uid = series.study_uid
       AND thumbnail.series_uid = series.series_uid
       AND EXISTS (SELECT FROM instance WHERE instance.patient_id = thumbnail.patient_id
                    AND instance.sop_uid = thumbnail.sop_uid AND instance.deleted_at IS NULL)
 WHERE {reach} AND {of} AND series.deleted_at IS NULL
 ORDER BY series.modality IN ('SR', 'PR', 'KO', 'AU', 'DOC', 'SEG', 'RTSTRUCT', 'RTPLAN', 'REG'),
          series.series_number NULLS LAST, series.series_uid
 LIMIT 1

-- name: keep_thumbnail
INSERT INTO thumbnail (patient_id, study_uid, series_uid, sop_uid, width, sealed, created_at)
VALUES (:patient_id, :study_uid, :series_uid, :sop_uid, :width, :sealed, :now)
    ON CONFLICT (patient_id, study_uid, series_uid)
    DO UPDATE SET sop_uid = excluded.sop_uid, sealed = excluded.sealed, width = excluded.width,
                  created_at = excluded.created_at

-- name: stale_studies
-- Whose ImagingStudy is behind; the oldest first.
SELECT study.patient_id, study.study_uid FROM study
 WHERE study.fhir_stale AND {reach} AND (:patients::text[] IS NULL OR study.patient_id = ANY(:patients))
 ORDER BY study.updated_at LIMIT :limit

-- name: long_stale
SELECT patient_id, study_uid FROM study WHERE fhir_stale AND updated_at < :before ORDER BY updated_at LIMIT :limit

-- name: all_studies
SELECT patient_id, study_uid FROM study
 WHERE (patient_id, study_uid) > (:patient_id, :study_uid)
 ORDER BY patient_id, study_uid LIMIT :limit

-- name: study_to_rebuild
-- Locked: two at once would write the same version twice.
SELECT patient_id, study_uid, fhir_id, study_day, study_time, modalities, attributes, corrected, sop_classes,
       accession_number, created_at, author, organization_id,
       deleted_at IS NOT NULL OR standing = 'not-mine' AS hidden
  FROM study
 WHERE patient_id = :patient_id AND study_uid = :study_uid AND (fhir_stale OR :anyway)
   FOR UPDATE

-- name: series_to_rebuild
SELECT series_uid, modality, series_number, series_day, series_time, attributes, author FROM series
 WHERE patient_id = :patient_id AND study_uid = :study_uid AND deleted_at IS NULL
 ORDER BY series_number NULLS LAST, series_uid

-- name: instances_to_rebuild
SELECT series_uid, sop_uid, sop_class, instance_number FROM instance
 WHERE patient_id = :patient_id AND study_uid = :study_uid AND deleted_at IS NULL
 ORDER BY series_uid, instance_number NULLS LAST, sop_uid

-- name: orders_of_study
-- The patient's ServiceRequests with the study's accession number.
SELECT DISTINCT resource.id FROM index_token AS token JOIN resource ON resource.key = token.key
 WHERE token.param = 'ServiceRequest.identifier' AND token.code = :accession
   AND token.patient_id = :patient_id AND NOT resource.deleted
 ORDER BY resource.id LIMIT 20

-- name: ordered_studies
-- Studies made for an order that came only now.
UPDATE study SET fhir_stale = true
 WHERE patient_id = :patient_id AND accession_number = ANY (:accessions) AND accession_number <> ''
RETURNING study_uid

-- name: documents_to_rebuild
-- Instances that report in words or files.
SELECT instance.sop_uid, instance.sop_class, instance.metadata, instance.created_at, series.author
  FROM instance JOIN series USING (patient_id, study_uid, series_uid)
 WHERE instance.patient_id = :patient_id AND instance.study_uid = :study_uid
   AND instance.sop_class = ANY (:sop_classes) AND instance.deleted_at IS NULL AND series.deleted_at IS NULL
 ORDER BY instance.sop_uid

-- name: derived_from_study
-- What the server made of a study, the ImagingStudy and its Endpoint aside.
SELECT type, id, CASE WHEN type = 'DiagnosticReport' THEN json END AS report FROM resource
 WHERE patient_id = :patient_id AND study_uid = :study_uid AND author = 'server' AND NOT deleted
   AND type IN ('DiagnosticReport', 'Binary', 'Device', 'DocumentReference')

-- name: reports_on_study
-- Whether the server made reports of it, which must go with what they were made of.
SELECT EXISTS (SELECT FROM resource WHERE patient_id = :patient_id AND study_uid = :study_uid AND NOT deleted
                  AND type = 'DiagnosticReport' AND author = 'server')

-- name: frames_of_study
SELECT instance.sop_uid, instance.frame_count
  FROM instance JOIN series USING (patient_id, study_uid, series_uid) JOIN study USING (patient_id, study_uid)
 WHERE patient_id = :patient_id AND study_uid = :study_uid AND instance.frame_count > 1
   AND instance.deleted_at IS NULL AND series.deleted_at IS NULL AND {reach}

-- name: latest_correction
-- When a correction was last made, and by whom.
SELECT created_at, by_account FROM correction
 WHERE patient_id = :patient_id AND study_uid = :study_uid ORDER BY created_at DESC LIMIT 1

-- name: rebuilt
UPDATE study SET fhir_stale = false WHERE patient_id = :patient_id AND study_uid = :study_uid

-- name: frames_of
-- The rest of an instance whose row the caller was given within its reach.
SELECT metadata, frame_table FROM instance
 WHERE patient_id = :patient_id AND sop_uid = :sop_uid AND deleted_at IS NULL

-- name: metadata_of_these
-- The headers of instances whose rows the caller was given within its reach.
SELECT sop_uid, metadata FROM instance
 WHERE patient_id = :patient_id AND sop_uid = ANY(:uids) AND deleted_at IS NULL

-- name: header_bytes_of_these
-- How large those headers are together.
SELECT coalesce(sum(octet_length(metadata)), 0) FROM instance
 WHERE patient_id = :patient_id AND sop_uid = ANY(:uids) AND deleted_at IS NULL

-- name: addressed_elsewhere
-- Patients whose Endpoint carries another public address than this server has now.
SELECT patient_id FROM resource
 WHERE type = 'Endpoint' AND NOT deleted
   AND position(convert_to('"' || :base || '/patients/', 'UTF8') IN json) = 0

-- name: studies_to_purge
SELECT patient_id, study_uid, fhir_id FROM study WHERE deleted_at < :before ORDER BY deleted_at LIMIT :limit

-- name: purge_study
DELETE FROM study
 WHERE patient_id = :patient_id AND study_uid = :study_uid AND fhir_id = :fhir_id AND deleted_at < :before

-- name: purge_series
DELETE FROM series WHERE deleted_at < :before

-- name: purge_instances
DELETE FROM instance WHERE deleted_at < :before
