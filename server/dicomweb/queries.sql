-- name: beyond_studies
-- How many more there are after a page, counted up to a bound.
SELECT count(*) FROM (
    SELECT FROM study WHERE {reach} AND {match} OFFSET :after LIMIT :most
) AS more

-- name: beyond_series
SELECT count(*) FROM (
    SELECT FROM study
      JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
     WHERE {reach} AND series.deleted_at IS NULL AND {match}
    OFFSET :after LIMIT :most
) AS more

-- name: beyond_instances
SELECT count(*) FROM (
    SELECT FROM study
      JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
      JOIN instance ON instance.patient_id = series.patient_id AND instance.study_uid = series.study_uid
           AND instance.series_uid = series.series_uid
     WHERE {reach} AND series.deleted_at IS NULL AND instance.deleted_at IS NULL AND {match}
    OFFSET :after LIMIT :most
) AS more
