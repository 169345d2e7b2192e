-- Studies that go from one patient to another. Run by who has locked both patients.

-- name: studies_of
-- What there is, locked, with its instances.
WITH held AS (
    SELECT study_uid, deleted_at IS NOT NULL OR standing = 'not-mine' AS hidden FROM study
     WHERE patient_id = :patient ORDER BY study_uid FOR UPDATE
)
SELECT held.study_uid, held.hidden,
       array_remove(array_agg(instance.sop_uid ORDER BY instance.sop_uid), NULL) AS sop_uids
  FROM held LEFT JOIN instance ON instance.patient_id = :patient AND instance.study_uid = held.study_uid
 GROUP BY held.study_uid, held.hidden ORDER BY held.study_uid

-- name: held_by_both
-- Instances of the one that the other holds too, wherever; and those of a series that either has deleted, in a study
-- that both have: they stay where they are, so that nothing is hidden and nothing is shown again by a merger.
SELECT given.sop_uid FROM instance AS given
  JOIN instance AS kept ON kept.patient_id = :taker AND kept.sop_uid = given.sop_uid
 WHERE given.patient_id = :giver
UNION
SELECT given.sop_uid FROM instance AS given
  JOIN study AS theirs ON theirs.patient_id = :taker AND theirs.study_uid = given.study_uid
  JOIN series AS gone ON gone.patient_id IN (:giver, :taker) AND gone.study_uid = given.study_uid
       AND gone.series_uid = given.series_uid AND gone.deleted_at IS NOT NULL
 WHERE given.patient_id = :giver

-- name: move_studies
-- With everything that hangs on them.
UPDATE study SET patient_id = :taker, patient_state = (SELECT state FROM patient WHERE id = :taker),
       fhir_stale = true, updated_at = :now
 WHERE patient_id = :giver AND study_uid = ANY (:studies)

-- name: show_again
-- What was hidden since then was hidden by somebody whose record it is not. What was deleted before stays deleted.
WITH of_series AS (
    UPDATE series SET deleted_at = NULL
     WHERE patient_id = :patient AND study_uid = ANY (:studies) AND deleted_at >= :since
), of_instances AS (
    UPDATE instance SET deleted_at = NULL
     WHERE patient_id = :patient AND study_uid = ANY (:studies) AND deleted_at >= :since
)
UPDATE study SET deleted_at = CASE WHEN deleted_at >= :since THEN NULL ELSE deleted_at END,
       standing = CASE WHEN standing = 'not-mine' THEN 'mine' ELSE standing END, fhir_stale = true, updated_at = :now
 WHERE patient_id = :patient AND study_uid = ANY (:studies)

-- name: copy_series
-- The frame that instances need over there; which of them are new.
INSERT INTO series ([columns])
SELECT [values] FROM series AS row
 WHERE row.patient_id = :giver AND row.study_uid = :study_uid
   AND row.series_uid IN (SELECT series_uid FROM instance
                           WHERE patient_id = :giver AND study_uid = :study_uid AND sop_uid = ANY (:sop_uids))
    ON CONFLICT DO NOTHING
RETURNING series_uid

-- name: copy_study
INSERT INTO study ([columns]) SELECT [values] FROM study AS row
 WHERE row.patient_id = :giver AND row.study_uid = :study_uid
    ON CONFLICT DO NOTHING
RETURNING study_uid

-- name: move_instances
UPDATE instance SET patient_id = :taker
 WHERE patient_id = :giver AND study_uid = :study_uid AND sop_uid = ANY (:sop_uids)
   AND NOT EXISTS (SELECT FROM instance AS kept WHERE kept.patient_id = :taker AND kept.sop_uid = instance.sop_uid)
RETURNING sop_uid

-- name: drop_empty_series
DELETE FROM series WHERE patient_id = :patient AND study_uid = :study_uid AND series_uid = ANY (:series)
   AND NOT EXISTS (SELECT FROM instance WHERE instance.patient_id = series.patient_id
                      AND instance.study_uid = series.study_uid AND instance.series_uid = series.series_uid)

-- name: drop_empty_study
DELETE FROM study WHERE patient_id = :patient AND study_uid = :study_uid
   AND NOT EXISTS (SELECT FROM instance WHERE instance.patient_id = study.patient_id
                      AND instance.study_uid = study.study_uid)

-- name: wrapped_keys
SELECT sop_uid, wrapped_key FROM instance WHERE patient_id = :patient AND sop_uid = ANY (:sop_uids)

-- name: wrap_anew
UPDATE instance SET wrapped_key = row.wrapped FROM unnest(:uids::text[], :wrapped::bytea[]) AS row (uid, wrapped)
 WHERE instance.patient_id = :patient AND instance.sop_uid = row.uid

-- name: drop_thumbnails
-- Sealed with the key of the one before: made anew when asked for.
DELETE FROM thumbnail WHERE patient_id = ANY (:patients) AND study_uid = ANY (:studies)

-- name: has_study
SELECT study_uid FROM study WHERE patient_id = :patient AND study_uid = ANY (:studies)

-- name: standing_of
SELECT study_uid, standing = 'mine' AS open FROM study
 WHERE patient_id = :patient AND study_uid = ANY (:studies) AND deleted_at IS NULL AND standing <> 'not-mine'

-- name: study_columns
-- Of a table, without those that the database makes itself.
SELECT attname::text AS name FROM pg_attribute
 WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
