-- The change feed. A row of `change` is about instances of one series; its numbers come later (migration 0002_1).

-- name: note_study
-- What is there of a study, or of a part of it, is (again) to be seen; or it went at this very moment.
INSERT INTO change (patient_id, study_uid, series_uid, sop_uids, action, changed_at, open)
SELECT study.patient_id, study.study_uid, instance.series_uid,
       array_agg(instance.sop_uid ORDER BY instance.instance_number NULLS LAST, instance.sop_uid),
       :action, :now, :open
  FROM study
  JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
  JOIN instance ON instance.patient_id = series.patient_id AND instance.study_uid = series.study_uid
       AND instance.series_uid = series.series_uid
 WHERE study.patient_id = :patient_id AND study.study_uid = :study_uid
   AND (:series_uid::text IS NULL OR series.series_uid = :series_uid)
   AND (:sop_uids::text[] IS NULL OR instance.sop_uid = ANY(:sop_uids))
   AND coalesce(study.deleted_at, :now) = :now AND coalesce(series.deleted_at, :now) = :now
   AND coalesce(instance.deleted_at, :now) = :now
 GROUP BY study.patient_id, study.study_uid, instance.series_uid

-- name: is_waiting
SELECT EXISTS (SELECT FROM change WHERE last IS NULL)

-- name: lock_counter
-- Numbers are given by one at a time. Never below one that was given: rows with higher ones may be gone.
SELECT greatest(last, (SELECT coalesce(max(change.last), 0) FROM change)) AS last FROM change_counter FOR UPDATE

-- name: number
WITH waiting AS (
    SELECT id, cardinality(sop_uids) AS many FROM change WHERE last IS NULL ORDER BY id LIMIT :most
), placed AS (
    SELECT id, :base::bigint + sum(many) OVER (ORDER BY id) AS last FROM waiting
)
UPDATE change SET last = placed.last FROM placed WHERE change.id = placed.id

-- name: count_on
-- After `number`, in the same transaction.
UPDATE change_counter SET last = greatest(last, (SELECT coalesce(max(change.last), 0) FROM change))

-- name: find
-- `there`: it can be looked at now. What is gone is told to who could have seen it.
SELECT event.*, CASE WHEN NOT event.there THEN 'deleted' WHEN event.overtaken THEN 'replaced' ELSE 'current' END AS state
  FROM (
    SELECT change.last - cardinality(change.sop_uids) + uid.place AS sequence, change.patient_id, change.study_uid,
           change.series_uid, uid.value AS sop_uid, change.action, change.changed_at,
           there.there IS TRUE AS there, there.metadata,
           EXISTS (SELECT FROM change AS later
                    WHERE later.patient_id = change.patient_id AND later.study_uid = change.study_uid
                      AND later.id > change.id AND uid.value = ANY(later.sop_uids)) AS overtaken
      FROM change
      JOIN study ON study.patient_id = change.patient_id AND study.study_uid = change.study_uid
     CROSS JOIN LATERAL unnest(change.sop_uids) WITH ORDINALITY AS uid (value, place)
      LEFT JOIN LATERAL (
           SELECT true AS there, CASE WHEN :metadata::boolean THEN instance.metadata END AS metadata
             FROM instance
             JOIN series ON series.patient_id = instance.patient_id AND series.study_uid = instance.study_uid
                  AND series.series_uid = instance.series_uid
            WHERE instance.patient_id = change.patient_id AND instance.sop_uid = uid.value
              AND instance.study_uid = change.study_uid AND instance.deleted_at IS NULL
              AND series.deleted_at IS NULL AND study.deleted_at IS NULL AND study.standing <> 'not-mine'
           ) AS there ON true
     WHERE change.last > :offset AND change.last - cardinality(change.sop_uids) + uid.place > :offset
       AND (:since::timestamptz IS NULL OR change.changed_at >= :since)
       AND (:before::timestamptz IS NULL OR change.changed_at < :before)
       AND ((there.there AND {reach}) OR (there.there IS NULL AND {past}))
     ORDER BY change.last, uid.place
     LIMIT :limit
  ) AS event
 ORDER BY event.sequence

-- name: latest
SELECT change.last - cardinality(change.sop_uids) + uid.place
  FROM change
  JOIN study ON study.patient_id = change.patient_id AND study.study_uid = change.study_uid
 CROSS JOIN LATERAL unnest(change.sop_uids) WITH ORDINALITY AS uid (value, place)
  LEFT JOIN LATERAL (
       SELECT true AS there
         FROM instance
         JOIN series ON series.patient_id = instance.patient_id AND series.study_uid = instance.study_uid
              AND series.series_uid = instance.series_uid
        WHERE instance.patient_id = change.patient_id AND instance.sop_uid = uid.value
          AND instance.study_uid = change.study_uid AND instance.deleted_at IS NULL
          AND series.deleted_at IS NULL AND study.deleted_at IS NULL AND study.standing <> 'not-mine'
       ) AS there ON true
 WHERE change.last IS NOT NULL AND ((there.there AND {reach}) OR (there.there IS NULL AND {past}))
 ORDER BY change.last DESC, uid.place DESC
 LIMIT 1
