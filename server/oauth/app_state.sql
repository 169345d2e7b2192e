-- name: count_states
-- How much an app keeps about one subject already.
SELECT count(*) FROM app_state WHERE client_id = :client AND subject = :subject AND deleted_at IS NULL

-- name: add_state
-- The same condition as for what is there: nothing is kept that its writer could not reach.
INSERT INTO app_state (id, client_id, patient_id, account_id, subject, system, code, version, sealed, created_at,
                       updated_at)
SELECT :id, :client, state.patient_id, state.account_id, :subject, state.system, state.code, 1, :sealed, :now, :now
  FROM (SELECT CAST(:patient AS text) AS patient_id, CAST(:account AS uuid) AS account_id,
               CAST(:system AS text) AS system, CAST(:code AS text) AS code) AS state
 WHERE {open}
RETURNING *

-- name: state_by_id
-- Of this client, deleted or not, held until the end of the transaction.
SELECT state.* FROM app_state AS state WHERE state.client_id = :client AND {open} FOR UPDATE OF state

-- name: find_states
SELECT state.* FROM app_state AS state
 WHERE state.client_id = :client AND state.deleted_at IS NULL AND {match} AND {open}
 ORDER BY state.updated_at DESC, state.id LIMIT 1000

-- name: change_state
UPDATE app_state SET sealed = :sealed, version = version + 1, updated_at = :now WHERE id = :id RETURNING *

-- name: delete_state
-- What was in it goes; that there was one stays, for its id fails every precondition from now on.
UPDATE app_state SET sealed = '', deleted_at = :now, updated_at = :now WHERE id = :id

-- name: key_of_patient
SELECT wrapped FROM keys.patient_key WHERE patient_id = :patient

-- name: related_person_of
SELECT patient_id FROM related_person WHERE id = :id AND account_id = :account

-- name: role_of_practitioner
SELECT true FROM resource WHERE type = 'PractitionerRole' AND id = :id AND NOT deleted
   AND convert_from(json, 'UTF8')::jsonb -> 'practitioner' ->> 'reference' = :practitioner
