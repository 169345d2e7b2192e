-- Rights: what is asked and done for them. Erasure first.

-- name: profiles_of_account
-- Every profile this account holds, and whether somebody else holds it too.
SELECT patient.id AS patient_id, patient.state, holder.as_what, patient.restricted_at, patient.restricted_by,
       (SELECT json FROM resource WHERE resource.patient_id = patient.id AND resource.type = 'Patient'
           AND resource.id = patient.id AND NOT resource.deleted) AS profile,
       EXISTS (SELECT FROM holder AS other WHERE other.patient_id = patient.id AND other.account_id <> :account
                  AND (other.until IS NULL OR other.until > :now)) AS shared_holding
  FROM holder JOIN patient ON patient.id = holder.patient_id
 WHERE holder.account_id = :account AND (holder.until IS NULL OR holder.until > :now) AND {reach}
 ORDER BY holder.as_what DESC, holder.since

-- name: counts_of_patient
SELECT (SELECT count(*) FROM study WHERE study.patient_id = patient.id AND study.deleted_at IS NULL) AS studies,
       (SELECT coalesce(sum(instance_count), 0) FROM study
         WHERE study.patient_id = patient.id AND study.deleted_at IS NULL) AS images,
       (SELECT count(*) FROM resource WHERE resource.patient_id = patient.id AND NOT deleted
           AND type IN ('DiagnosticReport', 'DocumentReference')) AS reports,
       (SELECT count(*) FROM share WHERE share.patient_id = patient.id AND share.state IN ('active', 'invited')
       ) AS shares,
       (SELECT count(*) FROM app_grant WHERE app_grant.patient_id = patient.id AND ended_at IS NULL) AS apps
  FROM patient WHERE patient.id = :patient AND {reach}

-- name: lock_patient
-- A hold that is placed and an erasure that begins must see each other.
SELECT id, state, restricted_by FROM patient WHERE id = :patient FOR NO KEY UPDATE

-- name: open_holds
SELECT id, patient_id, authority, scope, reason, placed_at, review_at FROM hold
 WHERE patient_id = :patient AND released_at IS NULL ORDER BY placed_at

-- name: ask_erasure
INSERT INTO erasure (id, patient_id, account_id, digest, step, requested_at, due_at, sealed)
VALUES (:id, :patient, :account, :digest, 'waiting', :now, :due_at, :sealed)

-- name: erasure_under_way
SELECT id FROM erasure WHERE step <> 'taken-back' AND done_at IS NULL
   AND (patient_id = :patient OR (:patient::text IS NULL AND account_id = :account)) LIMIT 1

-- name: lock_erasure
SELECT * FROM erasure WHERE id = :id FOR UPDATE

-- name: erasure
SELECT id, step, requested_at, due_at, done_at, steps, told, proof, signature FROM erasure WHERE id = :id

-- name: erasures_of_account
-- What waits, with the means to take it back.
SELECT id, patient_id, account_id IS NOT NULL AS whole, step, requested_at, due_at FROM erasure
 WHERE step = 'waiting' AND NOT EXISTS (SELECT FROM merger WHERE merger.source_id = erasure.patient_id
                                            AND merger.undone_at IS NULL)
   AND (account_id = :account OR patient_id IN (SELECT patient_id FROM holder
        WHERE holder.account_id = :account AND (holder.until IS NULL OR holder.until > :now)))

-- name: due_erasures
-- For whoever lost its job: a worker killed twelve times is no reason to keep somebody's data.
SELECT id FROM erasure WHERE done_at IS NULL AND step <> 'taken-back' AND due_at <= :before

-- name: take_back
UPDATE erasure SET step = 'taken-back', done_at = :now, sealed = NULL
 WHERE id = :id AND step = 'waiting'
   AND (account_id = :account OR patient_id IN (SELECT patient_id FROM holder WHERE holder.account_id = :account
        AND (holder.until IS NULL OR holder.until > :now)))
RETURNING id, patient_id

-- name: is_taken_back
SELECT step = 'taken-back' FROM erasure WHERE id = :id

-- name: step_done
UPDATE erasure SET step = :step, steps = steps || jsonb_build_object(:step::text, CAST(:facts AS jsonb)) WHERE id = :id

-- name: close_patient
UPDATE patient SET state = 'erasing' WHERE id = :patient

-- name: note_chain
UPDATE erasure SET told = told + :told,
       chain = (SELECT pseudonym FROM pseudonym WHERE subject = 'patient:' || :patient::text),
       packs = ARRAY(SELECT DISTINCT pack_id FROM held_object WHERE held_object.patient_id = :patient)
 WHERE id = :id

-- name: recipients
-- Everybody the record was open to, each address once; of an organization, who manages it.
SELECT DISTINCT ON (lower(email)) email, name, language FROM (
    SELECT coalesce(account.email, share.email) AS email, share.name, coalesce(account.language, 'en') AS language
      FROM share LEFT JOIN practitioner ON practitioner.id = share.practitioner_id
      LEFT JOIN account ON account.id = practitioner.account_id
     WHERE share.patient_id = :patient AND (share.state IN ('active', 'invited') OR share.accepted_at IS NOT NULL)
    UNION ALL
    SELECT account.email, account.name, account.language
      FROM share JOIN organization_member AS member ON member.organization_id = share.organization_id
      JOIN account ON account.id = member.account_id
     WHERE share.patient_id = :patient AND share.accepted_at IS NOT NULL
) AS told WHERE email <> '' ORDER BY lower(email)

-- name: end_grants_of_patient
UPDATE app_grant SET ended_at = :now, ended_why = :why WHERE patient_id = :patient AND ended_at IS NULL

-- name: destroy_key
DELETE FROM keys.patient_key WHERE patient_id = :patient

-- name: idle_packs
-- Of these, those that nothing refers to any more; and those with other people's objects.
SELECT pack.id, EXISTS (SELECT FROM instance WHERE instance.pack_id = pack.id)
             OR EXISTS (SELECT FROM content WHERE content.pack_id = pack.id) AS used
  FROM pack WHERE pack.id = ANY (:packs) AND pack.state = 'ready'

-- name: packs_there
SELECT count(*) FROM pack WHERE id = ANY (:packs)

-- name: forget_pseudonyms
DELETE FROM pseudonym WHERE subject = ANY (:subjects)

-- name: subjects_there
SELECT count(*) FROM pseudonym WHERE subject = ANY (:subjects)

-- name: drop_jobs
-- Work that names the patient and is of no use any more.
DELETE FROM job WHERE payload::text LIKE '%' || :patient::text || '%' AND kind <> 'rights: erase'

-- name: other_erasures
SELECT count(*) FROM erasure WHERE account_id = :account AND done_at IS NULL AND id <> :id AND step <> 'taken-back'

-- name: account
SELECT id, email, name, language, role FROM account WHERE id = :account

-- name: drop_messages
-- Open requests about rights stay until they are answered, without the account.
DELETE FROM help_message WHERE account_id = :account AND (closed_at IS NOT NULL OR subject <> 'rights')

-- name: drop_requests
DELETE FROM access_request WHERE email_folded = lower(:email)

-- name: end_shares_of_practitioner
UPDATE share SET state = 'ended', ended_at = :now FROM practitioner
 WHERE practitioner.account_id = :account AND share.practitioner_id = practitioner.id AND share.state = 'active'

-- name: drop_written
-- What the account wrote that is no patient's: Groups and other lists of its own. Who they were as a doctor stays, for
-- logs and ended shares name it; Subscriptions end with the account by themselves.
WITH gone AS (
    DELETE FROM resource WHERE patient_id = '' AND author = :author
       AND type NOT IN ('Practitioner', 'PractitionerRole', 'Organization', 'Subscription')
    RETURNING type, id)
DELETE FROM resource_version AS old USING gone
 WHERE old.patient_id = '' AND old.type = gone.type AND old.id = gone.id

-- name: drop_account
DELETE FROM account WHERE id = :account

-- name: is_anybodys
-- Held by somebody, claimed meanwhile, seen by a share, or kept by a hold.
SELECT patient.claimed_at IS NOT NULL OR patient.state <> 'active'
    OR EXISTS (SELECT FROM holder WHERE holder.patient_id = patient.id)
    OR EXISTS (SELECT FROM share WHERE share.patient_id = patient.id AND share.state = 'active')
    OR EXISTS (SELECT FROM hold WHERE hold.patient_id = patient.id AND hold.released_at IS NULL)
  FROM patient WHERE patient.id = :patient

-- name: destroy_account_key
-- After the account: nobody makes it anew.
DELETE FROM keys.account_key WHERE account_id = :account

-- name: finish_erasure
UPDATE erasure SET step = 'done', done_at = :now, patient_id = NULL, account_id = NULL, sealed = NULL,
       proof = :proof, signature = :signature
 WHERE id = :id

-- name: tombstones
SELECT id, digest, done_at, chain, packs, proof, signature FROM erasure WHERE done_at IS NOT NULL AND step = 'done'

-- name: has_open_hold
-- On it, or on the record that it was merged into.
SELECT EXISTS (SELECT FROM hold WHERE released_at IS NULL
                  AND (patient_id = :patient
                       OR patient_id IN (SELECT merger.patient_id FROM merger
                                          WHERE merger.source_id = :patient AND merger.undone_at IS NULL)))

-- name: merged_into
SELECT source_id FROM merger WHERE patient_id = :patient AND undone_at IS NULL ORDER BY source_id

-- name: take_back_merged
-- What was to be deleted with this record.
UPDATE erasure SET step = 'taken-back', done_at = :now, sealed = NULL
 WHERE step = 'waiting' AND patient_id IN (SELECT source_id FROM merger WHERE merger.patient_id = :patient
                                              AND undone_at IS NULL)

-- name: place_hold
INSERT INTO hold (id, patient_id, authority, scope, reason, placed_at, placed_by, review_at)
VALUES (:id, :patient, :authority, :scope, :reason, :now, :account, :review_at)

-- name: release_hold
UPDATE hold SET released_at = :now, released_by = :account WHERE id = :id AND released_at IS NULL
RETURNING patient_id

-- name: all_holds
-- Those in force, the next to be reviewed first.
SELECT id, patient_id, authority, scope, reason, placed_at, review_at FROM hold
 WHERE released_at IS NULL ORDER BY review_at LIMIT :limit

-- name: add_disclosure
INSERT INTO disclosure (id, patient_id, disclosed_at, recipient, description, purpose, legal_basis, recorded_at,
                        recorded_by, suspended_until, suspended_by)
VALUES (:id, :patient, :disclosed_at, :recipient, :description, :purpose, :legal_basis, :now,
        :account, :suspended_until, :suspended_by)

-- name: disclosures_due
-- Nobody was told yet, and nothing forbids it any more.
SELECT id, patient_id FROM disclosure
 WHERE notified_at IS NULL AND (suspended_until IS NULL OR suspended_until <= :now)
   FOR UPDATE SKIP LOCKED

-- name: holders_of
SELECT account.email, account.name, account.language FROM holder JOIN account ON account.id = holder.account_id
 WHERE holder.patient_id = :patient AND (holder.until IS NULL OR holder.until > :now)
   AND account.email_verified_at IS NOT NULL

-- name: disclosure_told
UPDATE disclosure SET notified_at = :now, notified_to = :count WHERE id = :id

-- name: disclosures_to_operator
SELECT id, patient_id, disclosed_at, recipient, description, purpose, legal_basis, recorded_at, suspended_until,
       suspended_by, notified_at, notified_to
  FROM disclosure ORDER BY disclosed_at DESC LIMIT :limit

-- name: disclosures_of
-- What the patient may know of: not while an authority suspends the notice.
SELECT disclosure.id, disclosure.patient_id, disclosed_at, recipient, description, purpose, legal_basis, recorded_at,
       suspended_until, suspended_by, notified_at, notified_to
  FROM disclosure JOIN patient ON patient.id = disclosure.patient_id
 WHERE {reach} AND notified_at IS NOT NULL ORDER BY disclosed_at DESC

-- name: restrict
UPDATE patient SET state = 'restricted', restricted_at = :now, restricted_by = :by, restricted_why = :why
 WHERE patient.id = :patient AND patient.state = 'active' AND {reach}

-- name: unrestrict
UPDATE patient SET state = 'active', restricted_at = NULL, restricted_by = '', restricted_why = ''
 WHERE patient.id = :patient AND patient.state = 'restricted' AND restricted_by = ANY (:by) AND {reach}

-- name: patient_of_email
-- For a request that came through contact: whose profile it is about.
SELECT holder.patient_id FROM holder JOIN account ON account.id = holder.account_id
 WHERE account.email_folded = :folded AND holder.as_what = 'self' AND (holder.until IS NULL OR holder.until > :now)

-- name: patient_exists
SELECT EXISTS (SELECT FROM patient WHERE id = :patient)

-- name: living_shares
SELECT share.id, share.state, share.name, share.email, share.accepted_at, share.created_at
  FROM share JOIN patient ON patient.id = share.patient_id
 WHERE share.state IN ('active', 'invited') AND share.parent_id IS NULL AND {reach} ORDER BY share.created_at

-- name: living_requests
SELECT share.id FROM share JOIN patient ON patient.id = share.patient_id WHERE share.state = 'requested' AND {reach}

-- name: living_grants
SELECT app_grant.id, client.name, app_grant.created_at, app_grant.scope
  FROM app_grant JOIN client ON client.id = app_grant.client_id
 WHERE app_grant.account_id = :account AND app_grant.ended_at IS NULL
   AND (app_grant.expires_at IS NULL OR app_grant.expires_at > :now) ORDER BY app_grant.created_at

-- name: end_grants_of_account
UPDATE app_grant SET ended_at = :now, ended_why = 'withdrawn'
 WHERE account_id = :account AND ended_at IS NULL
RETURNING id, client_id, patient_id

-- name: announce_policy
INSERT INTO policy_announced (version, announced_at, told_up_to) VALUES (:version, :now, :told)
    ON CONFLICT (version) DO NOTHING

-- name: any_announced
SELECT EXISTS (SELECT FROM policy_announced)

-- name: policy_to_tell
-- The announcement that is under way; one process at a time carries it on.
SELECT version, announced_at, told_up_to FROM policy_announced
 WHERE version = :version AND (told_up_to IS NULL OR told_up_to < announced_at) FOR UPDATE SKIP LOCKED

-- name: accounts_to_tell
-- In the order in which they were made, those made before the announcement.
SELECT id, email, name, language, created_at FROM account
 WHERE (:after::timestamptz IS NULL OR created_at > :after) AND created_at < :before
   AND disabled_at IS NULL AND email_verified_at IS NOT NULL
 ORDER BY created_at, id LIMIT :limit

-- name: policy_told
UPDATE policy_announced SET told_up_to = :up_to WHERE version = :version

-- name: answer_policy
INSERT INTO policy_answer (account_id, version, agreed, at, language, text_hash)
VALUES (:account, :version, :agreed, :now, :language, :text_hash)

-- name: policy_answers
SELECT version, agreed, at FROM policy_answer WHERE account_id = :account ORDER BY at DESC, id DESC

-- name: standing_of_patient
SELECT state, restricted_by FROM patient WHERE patient.id = :patient AND {reach}
