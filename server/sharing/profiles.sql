-- name: put_code
-- One code of a purpose: a new one takes the place of the old.
INSERT INTO profile_code (patient_id, purpose, code_hash, email_folded, made_by, made_at, until)
VALUES (:patient, :purpose, :code_hash, :email, :account, :now, :until)
    ON CONFLICT (patient_id, purpose) DO UPDATE
   SET code_hash = excluded.code_hash, email_folded = excluded.email_folded, made_by = excluded.made_by,
       made_at = excluded.made_at, until = excluded.until, tries = 0

-- name: drop_code
DELETE FROM profile_code WHERE patient_id = :patient AND purpose = :purpose

-- name: codes_of
SELECT purpose, made_at, until FROM profile_code
 WHERE patient_id = :patient AND (until IS NULL OR until > :now) AND tries < :most

-- name: profile_behind
-- The profile that a code opens, or that waits for a verified address; with the birth date it must be asked for.
SELECT code.patient_id, code.purpose, patient.claimed_at, patient.state,
       (SELECT json FROM resource WHERE resource.patient_id = code.patient_id AND resource.type = 'Patient'
           AND resource.id = code.patient_id AND NOT resource.deleted) AS profile
  FROM profile_code AS code JOIN patient ON patient.id = code.patient_id AND patient.state IN ('active', 'restricted')
 WHERE code.purpose = ANY (:purposes) AND (code.until IS NULL OR code.until > :now) AND code.tries < :most
   AND (code.code_hash = :code_hash
        OR code.purpose = 'claim' AND code.email_folded <> '' AND EXISTS (
            SELECT FROM account WHERE account.id = :account AND account.email_folded = code.email_folded
               AND account.email_verified_at IS NOT NULL))
 ORDER BY code.code_hash = :code_hash DESC, code.made_at LIMIT 1

-- name: count_try
UPDATE profile_code SET tries = tries + 1 WHERE patient_id = :patient AND purpose = :purpose

-- name: claim
-- Whoever is first: from now on it is somebody's.
UPDATE patient SET claimed_at = :now
 WHERE id = :patient AND claimed_at IS NULL AND state IN ('active', 'restricted') RETURNING id

-- name: hold
-- The record is locked: one that becomes part of another at this moment is not held by anybody new.
INSERT INTO holder (patient_id, account_id, as_what, since)
SELECT patient.id, :account, :as_what, :now
  FROM (SELECT id FROM patient WHERE id = :patient AND state IN ('active', 'restricted') FOR SHARE) AS patient
    ON CONFLICT (patient_id, account_id) DO UPDATE SET as_what = excluded.as_what, until = NULL, since = excluded.since
 WHERE holder.until IS NOT NULL

-- name: held_by
-- The profiles a person holds, their own first.
SELECT holder.patient_id, holder.as_what, holder.since,
       (SELECT json FROM resource WHERE resource.patient_id = holder.patient_id AND resource.type = 'Patient'
           AND resource.id = holder.patient_id AND NOT resource.deleted) AS profile
  FROM holder JOIN patient ON patient.id = holder.patient_id AND patient.state IN ('active', 'restricted')
 WHERE holder.account_id = :account AND (holder.until IS NULL OR holder.until > :now) AND {alive}
 ORDER BY holder.as_what DESC, holder.since

-- name: guardians_of
SELECT holder.account_id, holder.since, account.name, account.email
  FROM holder JOIN account ON account.id = holder.account_id
  JOIN patient ON patient.id = holder.patient_id
 WHERE holder.patient_id = :patient AND holder.as_what = 'guardian' AND (holder.until IS NULL OR holder.until > :now)
   AND {reach}
 ORDER BY holder.since

-- name: end_guardian
UPDATE holder SET until = :now
 WHERE patient_id = :patient AND account_id = :guardian AND as_what = 'guardian' AND (until IS NULL OR until > :now)
   AND EXISTS (SELECT FROM holder AS other WHERE other.patient_id = holder.patient_id
                  AND other.account_id <> holder.account_id AND (other.until IS NULL OR other.until > :now))
   AND EXISTS (SELECT FROM patient WHERE patient.id = holder.patient_id AND {reach})
RETURNING account_id

-- name: show_profile
-- The portal shows this record from now on, where the session's person holds it.
UPDATE session SET patient_id = :patient
 WHERE id = :session AND EXISTS (SELECT FROM holder WHERE holder.patient_id = :patient
                                    AND holder.account_id = session.account_id
                                    AND (holder.until IS NULL OR holder.until > :now))

-- name: shown_profile
-- Whose record the portal shows: the chosen one while it is held, else the person's own, else one held for another.
SELECT holder.patient_id FROM holder JOIN patient ON patient.id = holder.patient_id AND patient.state IN ('active', 'restricted')
 WHERE holder.account_id = :account AND (holder.until IS NULL OR holder.until > :now)
 ORDER BY coalesce(holder.patient_id = (SELECT patient_id FROM session WHERE id = :session), false) DESC,
          holder.as_what DESC, holder.since LIMIT 1
