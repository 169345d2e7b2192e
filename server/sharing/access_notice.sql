-- Who is told that others looked at a record.

-- name: notice_of
SELECT how FROM access_notice JOIN patient ON patient.id = access_notice.patient_id
 WHERE access_notice.patient_id = :patient AND access_notice.account_id = :account AND {reach}

-- name: choose_notice
INSERT INTO access_notice (patient_id, account_id, how, told_until)
SELECT patient.id, :account::uuid, :how::text, :now::timestamptz FROM patient WHERE patient.id = :patient AND {reach}
ON CONFLICT (patient_id, account_id) DO UPDATE SET how = excluded.how, told_until = excluded.told_until
RETURNING how

-- name: begin_notices
-- Who has said nothing is told once a day, from the first time we look on.
INSERT INTO access_notice (patient_id, account_id, how, told_until)
SELECT holder.patient_id, holder.account_id, 'daily', :now::timestamptz FROM holder
 WHERE (holder.until IS NULL OR holder.until > :now)
   AND NOT EXISTS (SELECT 1 FROM access_notice AS known
                    WHERE known.patient_id = holder.patient_id AND known.account_id = holder.account_id)
ON CONFLICT DO NOTHING

-- name: due_notices
-- Those whose turn it is, with the number of looks of others since they were told last.
SELECT notice.patient_id, notice.account_id, notice.how, notice.told_until, account.email, account.language,
       looks.count AS looks
  FROM access_notice AS notice
  JOIN holder ON holder.patient_id = notice.patient_id AND holder.account_id = notice.account_id
   AND (holder.until IS NULL OR holder.until > :now)
  JOIN patient ON patient.id = notice.patient_id AND patient.state IN ('active', 'restricted')
  JOIN account ON account.id = notice.account_id AND account.disabled_at IS NULL
   AND account.email_verified_at IS NOT NULL
  JOIN pseudonym AS chain ON chain.subject = 'patient:' || notice.patient_id
  LEFT JOIN pseudonym AS own ON own.subject = 'account:' || notice.account_id
 CROSS JOIN LATERAL (
       SELECT count(*) AS count FROM audit_event
        WHERE audit_event.chain = chain.pseudonym AND audit_event.at >= notice.told_until
          AND audit_event.at < :until AND audit_event.event = ANY (:events::text[])
          AND audit_event.outcome = 'success' AND audit_event.actor IS NOT NULL
          AND audit_event.actor IS DISTINCT FROM own.pseudonym) AS looks
 WHERE notice.how = 'each' AND looks.count > 0 OR notice.how = 'daily' AND notice.told_until <= :a_day_ago
 LIMIT 1000

-- name: told
-- Once: another process that saw the same turn finds it taken.
UPDATE access_notice SET told_until = :until
 WHERE patient_id = :patient AND account_id = :account AND told_until = :before AND how = :how
RETURNING how
