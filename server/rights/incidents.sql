-- name: busy_on_others
-- Who did so much of this to other people's records since then; what somebody does with a profile they hold is theirs.
SELECT happened.actor, count(*) AS count, count(DISTINCT happened.chain) AS patients, max(happened.at) AS last,
       array_agg(DISTINCT happened.chain) AS chains, min(doer.subject) AS subject
  FROM audit_event AS happened
  JOIN pseudonym AS doer ON doer.pseudonym = happened.actor
 WHERE happened.at > :since AND happened.event = ANY (:events) AND happened.chain <> :system
   AND (doer.subject LIKE 'client:%') = :systems
   AND NOT EXISTS (
       SELECT 1 FROM pseudonym AS whose
         JOIN holder ON holder.patient_id = substr(whose.subject, 9)
          AND doer.subject = 'account:' || holder.account_id
        WHERE whose.pseudonym = happened.chain)
 GROUP BY happened.actor
HAVING count(*) >= :most OR count(DISTINCT happened.chain) >= :patients

-- name: busy_at_all
-- Who met so many of these since then; in the log of a record and in the system's own.
SELECT happened.actor, count(*) AS count, max(happened.at) AS last, min(doer.subject) AS subject,
       array_agg(DISTINCT happened.chain) FILTER (WHERE happened.chain <> :system) AS chains
  FROM audit_event AS happened
  LEFT JOIN pseudonym AS doer ON doer.pseudonym = happened.actor
 WHERE happened.at > :since AND happened.event = ANY (:events)
 GROUP BY happened.actor
HAVING count(*) >= CASE WHEN happened.actor IS NULL THEN CAST(:most_of_nobody AS bigint) ELSE CAST(:most AS bigint) END

-- name: shared_sessions
-- Staff who are signed in from several networks, and used at the same time.
SELECT session.account_id, count(DISTINCT session.network) AS networks, max(session.seen_at) AS last
  FROM session JOIN account ON account.id = session.account_id AND account.role = ANY (:staff)
 WHERE session.ended_at IS NULL AND session.expires_at > :now AND session.seen_at > :since AND session.network <> ''
 GROUP BY session.account_id HAVING count(DISTINCT session.network) > 1

-- name: fresh_sessions
-- Sign-ins of staff since then, with what was usual before.
SELECT session.id, session.account_id, session.network, session.created_at,
       array_agg(before.network) AS networks,
       array_agg(CAST(extract(hour FROM before.created_at AT TIME ZONE 'UTC') AS integer)) AS hours
  FROM session JOIN account ON account.id = session.account_id AND account.role = ANY (:staff)
  JOIN session AS before ON before.account_id = session.account_id AND before.created_at < session.created_at
 WHERE session.created_at > :since
 GROUP BY session.id

-- name: open_incident
-- The same finding again adds to the incident there is; the row says whether it is new.
INSERT INTO incident AS kept (id, rule, key, actor, account_id, client_id, count, words, opened_at, seen_until)
VALUES (:id, :rule, :key, :actor, (SELECT account.id FROM account WHERE account.id = CAST(:account AS uuid)),
        (SELECT client.id FROM client WHERE client.id = :client), :count, :words, :now, :last)
ON CONFLICT (key) DO UPDATE SET count = greatest(kept.count, :count), seen_until = greatest(kept.seen_until, :last)
RETURNING id, number, opened_at = :now AND id = :id AS is_new

-- name: add_patients_of_chains
INSERT INTO incident_patient (incident_id, patient_id)
SELECT :id, patient.id FROM pseudonym JOIN patient ON pseudonym.subject = 'patient:' || patient.id
 WHERE pseudonym.pseudonym = ANY (:chains)
ON CONFLICT DO NOTHING

-- name: add_patients
INSERT INTO incident_patient (incident_id, patient_id)
SELECT :id, patient.id FROM patient WHERE patient.id = ANY (:patients)
ON CONFLICT DO NOTHING

-- name: incidents
SELECT incident.id, number, rule, account_id, client_id, count, words, opened_at, seen_until, breach_at,
       told_authority_at, told_people_at, closed_at, outcome,
       (SELECT count(*) FROM incident_patient WHERE incident_patient.incident_id = incident.id) AS patients
  FROM incident
 WHERE (CAST(:id AS uuid) IS NULL OR incident.id = :id) AND (:closed OR closed_at IS NULL)
 ORDER BY closed_at IS NOT NULL, breach_at IS NULL, opened_at DESC LIMIT :limit

-- name: patients_of
SELECT patient_id FROM incident_patient WHERE incident_id = :id ORDER BY patient_id LIMIT 5000

-- name: notes_of
SELECT incident_note.at, incident_note.words, account.name
  FROM incident_note LEFT JOIN account ON account.id = incident_note.by_account
 WHERE incident_id = :id ORDER BY incident_note.at

-- name: add_incident_note
INSERT INTO incident_note (id, incident_id, at, by_account, words) VALUES (:note, :id, :now, :by, :words)

-- name: declare_breach
UPDATE incident SET breach_at = :at WHERE id = :id AND closed_at IS NULL AND breach_at IS NULL RETURNING id

-- name: told_authority
UPDATE incident SET told_authority_at = :now
 WHERE id = :id AND closed_at IS NULL AND breach_at IS NOT NULL AND told_authority_at IS NULL RETURNING id

-- name: told_people
UPDATE incident SET told_people_at = :now
 WHERE id = :id AND closed_at IS NULL AND breach_at IS NOT NULL AND told_people_at IS NULL RETURNING id

-- name: close_incident
UPDATE incident SET closed_at = :now, closed_by = :by, outcome = :outcome WHERE id = :id AND closed_at IS NULL RETURNING id

-- name: holders_affected
-- Of a record that went into another one, they hold that one.
SELECT DISTINCT account.email, account.name, account.language
  FROM incident_patient
  LEFT JOIN merger ON merger.source_id = incident_patient.patient_id AND merger.undone_at IS NULL
  JOIN holder ON holder.patient_id = coalesce(merger.patient_id, incident_patient.patient_id)
   AND (holder.until IS NULL OR holder.until > :now)
  JOIN account ON account.id = holder.account_id AND account.disabled_at IS NULL
 WHERE incident_patient.incident_id = :id

-- name: open_incidents
SELECT count(*) FROM incident WHERE closed_at IS NULL
