-- Retention. Each rule has three: how many are due, how many a hold keeps, and what removes some of them.

-- name: due_unclaimed
-- Profiles nobody claimed and nobody sees by a share, to which nothing came for long.
SELECT count(*) FILTER (WHERE NOT held) AS due, count(*) FILTER (WHERE held) AS held, min(latest) AS oldest
  FROM (SELECT greatest(patient.created_at, max(study.updated_at),
                        (SELECT max(resource.last_updated) FROM resource
                          WHERE resource.patient_id = patient.id AND resource.author <> 'server')) AS latest,
               EXISTS (SELECT FROM hold WHERE hold.patient_id = patient.id AND hold.released_at IS NULL) AS held
          FROM patient LEFT JOIN study ON study.patient_id = patient.id
         WHERE {idle}
         GROUP BY patient.id) AS profile
 WHERE latest < :before

-- name: some_unclaimed
SELECT patient.id
  FROM patient LEFT JOIN study ON study.patient_id = patient.id
 WHERE {idle} AND NOT EXISTS (SELECT FROM hold WHERE hold.patient_id = patient.id AND hold.released_at IS NULL)
   AND NOT EXISTS (SELECT FROM erasure WHERE erasure.patient_id = patient.id AND erasure.step <> 'taken-back')
 GROUP BY patient.id
HAVING greatest(patient.created_at, max(study.updated_at),
                        (SELECT max(resource.last_updated) FROM resource
                          WHERE resource.patient_id = patient.id AND resource.author <> 'server')) < :before
 ORDER BY patient.id LIMIT :limit

-- name: due_requests
-- What people wrote through contact, answered and closed; kept while a record of its writer is on hold.
SELECT count(*) FILTER (WHERE NOT held) AS due, count(*) FILTER (WHERE held) AS held, min(closed_at) AS oldest
  FROM (SELECT closed_at, EXISTS (SELECT FROM holder JOIN hold USING (patient_id)
                                   WHERE holder.account_id = help_message.account_id AND hold.released_at IS NULL) AS held
          FROM help_message WHERE closed_at < :before) AS message

-- name: drop_requests
DELETE FROM help_message WHERE closed_at < :before
   AND NOT EXISTS (SELECT FROM holder JOIN hold USING (patient_id)
                    WHERE holder.account_id = help_message.account_id AND hold.released_at IS NULL)

-- name: due_holds
-- Holds that ended, of records that none is on any more.
SELECT count(*) FILTER (WHERE NOT held) AS due, count(*) FILTER (WHERE held) AS held, min(released_at) AS oldest
  FROM (SELECT released_at, EXISTS (SELECT FROM hold AS other WHERE other.patient_id = hold.patient_id
                                       AND other.released_at IS NULL) AS held
          FROM hold WHERE released_at < :before) AS ended

-- name: drop_holds
DELETE FROM hold WHERE released_at < :before
   AND NOT EXISTS (SELECT FROM hold AS other WHERE other.patient_id = hold.patient_id AND other.released_at IS NULL)

-- name: due_incidents
SELECT count(*) FILTER (WHERE NOT held) AS due, count(*) FILTER (WHERE held) AS held, min(closed_at) AS oldest
  FROM (SELECT closed_at, EXISTS (SELECT FROM incident_patient JOIN hold USING (patient_id)
                                   WHERE incident_patient.incident_id = incident.id AND hold.released_at IS NULL) AS held
          FROM incident WHERE closed_at < :before) AS ended

-- name: drop_incidents
DELETE FROM incident WHERE closed_at < :before
   AND NOT EXISTS (SELECT FROM incident_patient JOIN hold USING (patient_id)
                    WHERE incident_patient.incident_id = incident.id AND hold.released_at IS NULL)

-- name: due_proofs
-- Tombstones of erasures; the signed proof was mailed when it was made.
SELECT count(*) AS due, 0 AS held, min(done_at) AS oldest FROM erasure WHERE step = 'done' AND done_at < :before

-- name: drop_proofs
DELETE FROM erasure WHERE step = 'done' AND done_at < :before

-- name: note_run
INSERT INTO retention_run (id, at, region, purged, found) VALUES (:id, :now, :region, :purged, CAST(:found AS jsonb))

-- name: last_runs
SELECT at, region, purged, found FROM retention_run ORDER BY at DESC LIMIT :limit

-- name: forget_runs
DELETE FROM retention_run WHERE at < :before
