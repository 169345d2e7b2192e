-- name: lock_patient
-- Two invitations of one doctor at once must see each other; and the caller must reach the patient.
SELECT id FROM patient WHERE id = :patient AND state IN ('active', 'restricted') AND {reach} FOR NO KEY UPDATE

-- name: is_restricted
SELECT state = 'restricted' FROM patient WHERE id = :patient

-- name: is_holder
-- Is this address, or this account, one that holds the profile? (sharing with oneself)
SELECT EXISTS (SELECT FROM holder JOIN account ON account.id = holder.account_id
 WHERE holder.patient_id = :patient AND (account.email_folded = :folded OR account.id = CAST(:account AS uuid)))

-- name: invitation_of
-- The patient's own that waits for, or is used by, this address: inviting again resends.
SELECT * FROM share
 WHERE patient_id = :patient AND parent_id IS NULL AND email_folded = :folded
   AND (state = 'invited' OR (state = 'requested' AND waits_until > :now)
        OR (state = 'active' AND (until IS NULL OR until > :now)))
 ORDER BY state = 'active' DESC, created_at DESC LIMIT 1 FOR UPDATE

-- name: share_with
-- The patient's own living share with this practitioner or organization.
SELECT * FROM share
 WHERE patient_id = :patient AND parent_id IS NULL
   AND ((state = 'requested' AND waits_until > :now) OR (state = 'active' AND (until IS NULL OR until > :now)))
   AND (practitioner_id = :practitioner OR organization_id = :organization)
 ORDER BY state = 'active' DESC LIMIT 1 FOR UPDATE

-- name: add_share
INSERT INTO share (patient_id, id, practitioner_id, organization_id, name, email, email_folded, state, rights,
                   studies, message, secret_hash, created_at, waits_until, accepted_at, until, parent_id)
VALUES (:patient, :id, :practitioner, :organization, :name, :email, :folded, :state, :rights,
        :studies, :message, :secret_hash, :now, :waits_until, :accepted_at, :until, :parent)
RETURNING *

-- name: invite_again
-- A new link and new terms; the link sent before is dead.
UPDATE share SET name = :name, rights = :rights, studies = :studies, message = :message, until = :until,
       state = 'invited', secret_hash = :secret_hash, waits_until = :waits_until, ended_at = NULL
 WHERE patient_id = :patient AND id = :id
RETURNING *

-- name: save_share
-- As a Consent says. The link of an invitation lives while it waits; a new one takes its place.
UPDATE share SET practitioner_id = :practitioner, organization_id = :organization, name = :name, state = :state,
       rights = :rights, studies = :studies, until = :until, waits_until = :waits_until, accepted_at = :accepted_at,
       ended_at = :ended_at,
       secret_hash = CASE WHEN CAST(:state AS text) = 'invited' THEN coalesce(:secret_hash, secret_hash) END
 WHERE patient_id = :patient AND id = :id
RETURNING *

-- name: lock_share
-- One share within the caller's reach, kept from changing until the transaction ends.
SELECT share.* FROM share JOIN patient ON patient.id = share.patient_id
 WHERE share.id = :id AND {reach} FOR UPDATE OF share

-- name: move
-- From one of the states it may come from to the next; no row when another got there first.
UPDATE share SET state = :to, ended_at = :ended_at, secret_hash = NULL
 WHERE patient_id = :patient AND id = :id AND state = ANY (:from)
RETURNING *

-- name: activate
-- By the patient's own word: the other party is registered and named.
UPDATE share SET state = 'active', practitioner_id = coalesce(:practitioner, practitioner_id),
       organization_id = coalesce(:organization, organization_id), accepted_at = :now, ended_at = NULL,
       waits_until = NULL, secret_hash = NULL
 WHERE patient_id = :patient AND id = :id
RETURNING *

-- name: set_terms
UPDATE share SET rights = :rights, studies = :studies, until = :until
 WHERE patient_id = :patient AND id = :id AND state = ANY (:from)
RETURNING *

-- name: accept
-- All that must hold, in the statement that makes it so: the invitation waits, less than 336 hours have passed, and
-- the account is a registered doctor's, with the invited address, confirmed, and not the patient's own. Of two
-- requests at once the second finds the state changed.
UPDATE share SET state = 'active', practitioner_id = practitioner.id, accepted_at = :now, waits_until = NULL,
       secret_hash = NULL
  FROM practitioner JOIN account ON account.id = practitioner.account_id
 WHERE {which} AND share.state = 'invited' AND share.waits_until > :now
   AND (share.until IS NULL OR share.until > :now)
   AND account.id = CAST(:account AS uuid) AND account.role = 'doctor' AND account.disabled_at IS NULL
   AND account.email_verified_at IS NOT NULL AND account.email_folded = share.email_folded
   AND practitioner.verification <> 'suspended'
   AND NOT EXISTS (SELECT FROM holder WHERE holder.patient_id = share.patient_id AND holder.account_id = account.id)
   AND EXISTS (SELECT FROM patient WHERE patient.id = share.patient_id AND patient.state IN ('active', 'restricted'))
   AND {alive}
RETURNING share.*

-- name: decline
-- By whoever holds the link, or by the invited doctor.
UPDATE share SET state = 'declined', ended_at = :now, secret_hash = NULL
 WHERE {which} AND share.state = 'invited' AND share.waits_until > :now
RETURNING share.*

-- name: leave
-- The doctor gives the access back.
UPDATE share SET state = 'ended', ended_at = :now
  FROM practitioner
 WHERE share.id = :id AND share.state = 'active' AND practitioner.id = share.practitioner_id
   AND practitioner.account_id = CAST(:account AS uuid) AND {alive}
RETURNING share.*

-- name: open_invitation
-- What the link leads to, while it waits.
SELECT share.*, inviter.name AS inviter FROM share
  LEFT JOIN LATERAL (SELECT account.name FROM holder JOIN account ON account.id = holder.account_id
     WHERE holder.patient_id = share.patient_id ORDER BY holder.as_what = 'self' DESC, holder.since LIMIT 1)
    AS inviter ON true
 WHERE {which} AND share.state = 'invited' AND share.waits_until > :now

-- name: invitations_for
-- Those that wait for the confirmed address of this account.
SELECT share.*, inviter.name AS inviter FROM share
  JOIN account ON account.email_folded = share.email_folded
  LEFT JOIN LATERAL (SELECT other.name FROM holder JOIN account AS other ON other.id = holder.account_id
     WHERE holder.patient_id = share.patient_id ORDER BY holder.as_what = 'self' DESC, holder.since LIMIT 1)
    AS inviter ON true
 WHERE account.id = CAST(:account AS uuid) AND account.email_verified_at IS NOT NULL AND account.disabled_at IS NULL
   AND share.state = 'invited' AND share.waits_until > :now
 ORDER BY share.created_at DESC

-- name: prove_address
-- The link was mailed to this address and nowhere else: who comes with it has read that mail.
UPDATE account SET email_verified_at = coalesce(email_verified_at, :now)
  FROM share
 WHERE share.secret_hash = :secret_hash AND share.state = 'invited' AND share.waits_until > :now
   AND account.id = CAST(:account AS uuid) AND account.email_folded = share.email_folded
RETURNING account.id

-- name: shares_of_patient
SELECT share.* FROM share JOIN patient ON patient.id = share.patient_id
 WHERE share.patient_id = :patient AND {reach}
 ORDER BY share.created_at DESC

-- name: share_of_patient
SELECT share.* FROM share JOIN patient ON patient.id = share.patient_id WHERE share.id = :id AND {reach}

-- name: lock_own_share
-- The share that makes a doctor see, as long as it does, kept from changing until the transaction ends.
SELECT share.* FROM share JOIN practitioner ON practitioner.id = share.practitioner_id
  JOIN patient ON patient.id = share.patient_id
 WHERE share.id = :id AND practitioner.account_id = CAST(:account AS uuid) AND share.state = 'active'
   AND (share.until IS NULL OR share.until > :now) AND practitioner.verification <> 'suspended'
   AND patient.state = 'active' AND {alive}
   FOR UPDATE OF share

-- name: passed_on
-- What a doctor has passed on of one share of theirs.
SELECT child.* FROM share AS child JOIN share ON share.id = child.parent_id
  JOIN practitioner ON practitioner.id = share.practitioner_id
 WHERE share.id = :id AND practitioner.account_id = CAST(:account AS uuid) AND share.state = 'active' AND {alive}
 ORDER BY child.created_at DESC

-- name: lock_passed_on
-- One of those, by its own id.
SELECT child.* FROM share AS child JOIN share ON share.id = child.parent_id
  JOIN practitioner ON practitioner.id = share.practitioner_id
 WHERE child.id = :id AND practitioner.account_id = CAST(:account AS uuid) AND {alive}
   FOR UPDATE OF child

-- name: child_of
-- Passed on to this address already?
SELECT * FROM share
 WHERE patient_id = :patient AND parent_id = :parent AND email_folded = :folded AND state IN ('invited', 'active')
 ORDER BY state = 'active' DESC LIMIT 1 FOR UPDATE

-- name: lock_children
SELECT * FROM share
 WHERE patient_id = :patient AND parent_id = :parent AND state IN ('invited', 'active') ORDER BY id FOR UPDATE

-- name: practitioner_of_share
-- What the patient may know of the doctor (product row 5).
SELECT practitioner.*, account.email FROM practitioner LEFT JOIN account ON account.id = practitioner.account_id
 WHERE practitioner.id = :practitioner

-- name: shares_of_practitioner
-- The patients a doctor sees now. What of them is decided by reach, per statement.
SELECT share.*, holder_name.name AS patient_name FROM share
  JOIN practitioner ON practitioner.id = share.practitioner_id
  JOIN patient ON patient.id = share.patient_id
  LEFT JOIN LATERAL (SELECT account.name FROM holder JOIN account ON account.id = holder.account_id
     WHERE holder.patient_id = share.patient_id ORDER BY holder.as_what = 'self' DESC, holder.since LIMIT 1)
    AS holder_name ON true
 WHERE practitioner.account_id = CAST(:account AS uuid) AND practitioner.verification <> 'suspended'
   AND share.state = 'active' AND (share.until IS NULL OR share.until > :now) AND patient.state = 'active'
   AND {alive}
 ORDER BY share.accepted_at DESC

-- name: note_look
-- At most once a minute, however many frames were read.
UPDATE share SET last_looked_at = :now
 WHERE patient_id = :patient AND practitioner_id = :practitioner AND state = 'active'
   AND (last_looked_at IS NULL OR last_looked_at < :stale)

-- name: due
-- Waited too long, or past the chosen end.
SELECT id, patient_id, state FROM share
 WHERE (state IN ('invited', 'requested') AND waits_until <= :now) OR (state = 'active' AND until <= :now)
 ORDER BY id

-- name: consent_of_share
-- The Consent as it stands, extra elements of clients included; the share's row is locked before.
SELECT json FROM resource WHERE patient_id = :patient AND type = 'Consent' AND id = :id AND NOT deleted

-- name: study_ids
SELECT study_uid, fhir_id FROM study WHERE patient_id = :patient AND study_uid = ANY (:uids)

-- name: studies_within
-- The chosen studies that the caller reaches, by their UID.
SELECT study_uid FROM study WHERE patient_id = :patient AND study_uid = ANY (:uids) AND {reach}

-- name: studies_by_fhir_id
SELECT study_uid FROM study WHERE patient_id = :patient AND fhir_id = ANY (:ids) AND {reach}

-- name: practitioner
-- A registered one: with an account that can sign in.
SELECT practitioner.id, practitioner.name, practitioner.verification, account.id AS account_id, account.email
  FROM practitioner JOIN account ON account.id = practitioner.account_id
 WHERE practitioner.id = :id AND account.disabled_at IS NULL AND practitioner.verification <> 'suspended'

-- name: practitioner_of_account
SELECT practitioner.id, practitioner.name, account.email FROM practitioner
  JOIN account ON account.id = practitioner.account_id
 WHERE account.id = CAST(:account AS uuid) AND account.role = 'doctor' AND account.email_verified_at IS NOT NULL
   AND account.disabled_at IS NULL AND practitioner.verification <> 'suspended'

-- name: organization
SELECT id, name FROM organization WHERE id = :id

-- name: language_of_address
SELECT language FROM account WHERE email_folded = :folded AND disabled_at IS NULL

-- name: holders
-- Whom to tell about a patient's share.
SELECT account.email, account.language FROM holder JOIN account ON account.id = holder.account_id
 WHERE holder.patient_id = :patient AND account.disabled_at IS NULL AND (holder.until IS NULL OR holder.until > :now)

-- name: add_request
INSERT INTO access_request (id, practitioner_id, email, email_folded, rights, message, created_at, waits_until)
VALUES (:id, :practitioner, :email, :folded, :rights, :message, :now, :waits_until)

-- name: requests_by
-- What a doctor asked for. The state is known where the patient has let the doctor see it: nowhere before the answer.
SELECT access_request.*, CASE WHEN share.state IN ('active', 'ended') THEN share.state ELSE 'requested' END AS answer,
       share.patient_id AS patient_id
  FROM access_request JOIN practitioner ON practitioner.id = access_request.practitioner_id
  LEFT JOIN share ON share.id = access_request.share_id
 WHERE practitioner.account_id = CAST(:account AS uuid) AND {alive}
 ORDER BY access_request.created_at DESC LIMIT 200

-- name: request_by_id
SELECT * FROM access_request WHERE id = :id FOR UPDATE

-- name: requests_waiting_for
-- Those for this address that have not become a share yet.
SELECT * FROM access_request
 WHERE email_folded = :folded AND share_id IS NULL AND waits_until > :now
 ORDER BY created_at FOR UPDATE

-- name: bind_request
UPDATE access_request SET share_id = :share WHERE id = :id AND share_id IS NULL

-- name: own_profile
-- The profile that the owner of this confirmed address holds as their own.
SELECT holder.patient_id FROM holder JOIN account ON account.id = holder.account_id
 WHERE account.email_folded = :folded AND account.email_verified_at IS NOT NULL AND account.disabled_at IS NULL
   AND holder.as_what = 'self' AND (holder.until IS NULL OR holder.until > :now)
 ORDER BY holder.since LIMIT 1

-- name: forget_requests
DELETE FROM access_request WHERE waits_until < :before

-- name: write_down
-- The date it happened, not the date it was noticed; only if it is still so.
UPDATE share SET state = :to, ended_at = CASE WHEN state = 'active' THEN until ELSE waits_until END, secret_hash = NULL
 WHERE patient_id = :patient AND id = :id AND state = :from
   AND CASE WHEN state = 'active' THEN until ELSE waits_until END <= :now
RETURNING *
