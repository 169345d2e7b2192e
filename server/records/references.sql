-- name: belonging
-- Whose a resource is. Not narrowed by reach: nothing of it is shown, and what comes of it is written within reach.
SELECT patient_id, study_uid FROM resource WHERE type = :type AND id = :id AND NOT deleted;
