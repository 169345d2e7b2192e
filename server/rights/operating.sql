-- name: doctors
-- Doctors for the pages of verifiers: those to be looked at first, then by name.
SELECT practitioner.id, practitioner.name, practitioner.specialty, practitioner.organization_name,
       practitioner.registration_number, practitioner.authority, practitioner.verification, practitioner.created_at,
       account.email, account.language, account.email_verified_at IS NOT NULL AS reached,
       (SELECT count(DISTINCT share.patient_id) FROM share
         WHERE share.practitioner_id = practitioner.id AND share.state = 'active') AS patients
  FROM practitioner JOIN account ON account.id = practitioner.account_id
 WHERE (CAST(:state AS text) IS NULL OR practitioner.verification = :state)
   AND (CAST(:id AS text) IS NULL OR practitioner.id = :id)
 ORDER BY practitioner.verification = 'unverified' DESC, practitioner.created_at LIMIT :limit

-- name: registration_of
SELECT registration_number, authority, specialty, organization_name, verification FROM practitioner WHERE id = :id

-- name: lock_doctor
SELECT id FROM practitioner WHERE id = :id FOR NO KEY UPDATE

-- name: judge_doctor
-- Living rights ask this column in every statement: a suspended doctor sees nothing from here on.
UPDATE practitioner SET verification = :state WHERE id = :id AND verification <> :state
RETURNING account_id

-- name: add_judgement
INSERT INTO verification_act (id, practitioner_id, state, reason, at, by_account)
VALUES (:act, :id, :state, :reason, :now, :by)

-- name: judgements
SELECT state, reason, at FROM verification_act WHERE practitioner_id = :id ORDER BY at DESC LIMIT 50

-- name: patients_sharing_with
-- Who is told when a doctor they share with is suspended.
SELECT DISTINCT account.email, account.name, account.language
  FROM share JOIN holder ON holder.patient_id = share.patient_id AND (holder.until IS NULL OR holder.until > :now)
  JOIN account ON account.id = holder.account_id AND account.disabled_at IS NULL
 WHERE share.practitioner_id = :id AND share.state = 'active'

-- name: requests
SELECT id, number, account_id, subject, kind, created_at, answer_by, closed_at, identity_at, identity_how,
       extended_why, outcome
  FROM help_message
 WHERE subject = ANY (:subjects) AND (closed_at IS NULL) = :open AND (CAST(:id AS uuid) IS NULL OR id = :id)
 ORDER BY CASE WHEN :open THEN answer_by END, closed_at DESC LIMIT :limit

-- name: request
SELECT id, number, account_id, subject, kind, created_at, answer_by, closed_at, identity_at, identity_how,
       extended_why, outcome, sealed
  FROM help_message WHERE id = :id AND subject = ANY (:subjects)

-- name: classify_request
UPDATE help_message SET kind = :kind WHERE id = :id AND closed_at IS NULL RETURNING id

-- name: identify_request
UPDATE help_message SET identity_how = :how, identity_at = :now WHERE id = :id AND closed_at IS NULL RETURNING id

-- name: extend_request
-- Once, and with a reason the person is told (GDPR, art. 12(3)).
UPDATE help_message SET extended_why = :why, answer_by = answer_by + CAST(:by AS interval)
 WHERE id = :id AND closed_at IS NULL AND extended_why = '' RETURNING id

-- name: close_request
UPDATE help_message SET closed_at = :now, outcome = :outcome WHERE id = :id AND closed_at IS NULL RETURNING id

-- name: add_note
INSERT INTO request_note (id, message_id, at, by_account, act, sealed)
VALUES (:note, :id, :now, :by, :act, :sealed)

-- name: notes
SELECT request_note.id, request_note.at, request_note.act, request_note.sealed, account.name
  FROM request_note LEFT JOIN account ON account.id = request_note.by_account
 WHERE message_id = :id ORDER BY request_note.at

-- name: propose
INSERT INTO proposal (id, kind, patient_id, sealed, proposed_at, proposed_by, expires_at)
VALUES (:id, :kind, :patient, :sealed, :now, :by, :expires_at)

-- name: proposals
SELECT proposal.id, proposal.kind, proposal.patient_id, proposal.sealed, proposal.proposed_at, proposal.proposed_by,
       proposal.expires_at, account.name AS proposer
  FROM proposal JOIN account ON account.id = proposal.proposed_by
 WHERE decided_at IS NULL AND expires_at > :now AND (CAST(:id AS uuid) IS NULL OR proposal.id = :id)
 ORDER BY proposed_at LIMIT 200

-- name: decide_proposal
-- Never by who proposed it; of two at once, one gets a row back.
UPDATE proposal SET decided_at = :now, decided_by = :by, decision = :decision
 WHERE id = :id AND decided_at IS NULL AND expires_at > :now AND (proposed_by <> :by OR :decision = 'refused')
RETURNING kind, patient_id, sealed

-- name: record_state
-- What an operator sees of a record: its state, and numbers.
SELECT patient.id, patient.state, patient.created_at, patient.claimed_at IS NOT NULL AS claimed,
       (SELECT count(*) FROM study WHERE study.patient_id = patient.id AND study.deleted_at IS NULL) AS studies,
       (SELECT count(*) FROM share WHERE share.patient_id = patient.id AND share.state = 'active') AS shares
  FROM patient WHERE patient.id = :patient

-- name: begin_emergency
INSERT INTO emergency_access (id, patient_id, account_id, reason, begun_at, until)
VALUES (:id, :patient, :account, :reason, :now, :until)

-- name: emergencies
SELECT id, patient_id, reason, begun_at, until FROM emergency_access
 WHERE account_id = :account AND ended_at IS NULL AND until > :now ORDER BY begun_at

-- name: end_emergency
UPDATE emergency_access SET ended_at = :now
 WHERE id = :id AND account_id = :account AND ended_at IS NULL RETURNING patient_id

-- name: owner_of
-- Who a copy of everything is made for.
SELECT account.id, account.role, account.name
  FROM holder JOIN account ON account.id = holder.account_id AND account.disabled_at IS NULL
 WHERE holder.patient_id = :patient AND (holder.until IS NULL OR holder.until > :now)
 ORDER BY holder.as_what DESC, holder.since LIMIT 1

-- name: holders_to_tell
SELECT account.email, account.name, account.language
  FROM holder JOIN account ON account.id = holder.account_id AND account.disabled_at IS NULL
 WHERE holder.patient_id = :patient AND (holder.until IS NULL OR holder.until > :now)

-- name: overview
SELECT (SELECT count(*) FROM patient WHERE state <> 'erasing') AS patients,
       (SELECT count(*) FROM practitioner WHERE verification = 'verified') AS doctors,
       (SELECT count(*) FROM practitioner WHERE verification = 'unverified' AND account_id IS NOT NULL) AS unverified,
       (SELECT count(*) FROM study WHERE deleted_at IS NULL) AS studies,
       (SELECT count(*) FROM share WHERE state = 'active') AS shares,
       (SELECT count(*) FROM help_message WHERE closed_at IS NULL) AS requests,
       (SELECT count(*) FROM help_message WHERE closed_at IS NULL AND answer_by < :now) AS late,
       (SELECT count(*) FROM incident WHERE closed_at IS NULL) AS incidents,
       (SELECT count(*) FROM job WHERE dead_at IS NOT NULL) AS dead,
       (SELECT count(*) FROM proposal WHERE decided_at IS NULL AND expires_at > :now) AS proposals,
       (SELECT count(*) FROM hold WHERE released_at IS NULL) AS holds

-- name: dead_jobs
SELECT id, kind, created_at, dead_at, tries, problem FROM job WHERE dead_at IS NOT NULL ORDER BY dead_at DESC LIMIT 200

-- name: revive_job
UPDATE job SET dead_at = NULL, tries = 0, due_at = :now WHERE id = :id AND dead_at IS NOT NULL RETURNING kind

-- name: drop_job
DELETE FROM job WHERE id = :id AND dead_at IS NOT NULL RETURNING kind
