-- Who comes without a session: guests through a link, viewers with a pass.

-- name: guest_facts
-- A living link, and the opened visit of the browser that came, where it has one.
SELECT link.id, link.name, visit.id AS visit_id
  FROM guest_link AS link
  LEFT JOIN guest_visit AS visit ON visit.link_id = link.id AND visit.secret_hash = :secret_hash
   AND visit.opened_at IS NOT NULL AND visit.ended_at IS NULL AND visit.until > :now
 WHERE link.id = :link AND link.ended_at IS NULL AND link.until > :now

-- name: pass_facts
-- A living pass of a viewer, and whose it is.
SELECT pass.id, pass.account_id, pass.patient_id, pass.study_uid, pass.viewer, account.name,
       CASE WHEN held.patient_id IS NULL THEN account.role ELSE 'patient' END AS role,
       CASE WHEN held.patient_id IS NULL THEN practitioner.id END AS practitioner_id
  FROM viewer_pass AS pass
  JOIN account ON account.id = pass.account_id AND account.disabled_at IS NULL
  LEFT JOIN practitioner ON practitioner.account_id = account.id
  LEFT JOIN holder AS held ON held.patient_id = pass.patient_id AND held.account_id = account.id
   AND (held.until IS NULL OR held.until > :now)
 WHERE pass.secret_hash = :secret_hash AND pass.ended_at IS NULL AND pass.until > :now
