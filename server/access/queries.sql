-- name: session_facts
-- The living session of a cookie, with what does not change about its user. Where a role needs a second factor, a
-- session without one is none: for every surface at once, and also for those begun before it was demanded.
SELECT session.id, session.account_id, session.csrf_token, session.seen_at, session.confirmed_at,
       session.expires_at, session.factor, session.hat, account.duties, account.name, account.email,
       account.role AS account_role, account.language, practitioner.id AS registered_id, member.organization_id,
       CASE WHEN account.role = 'doctor' THEN ARRAY(
            SELECT holder.patient_id FROM holder JOIN patient ON patient.id = holder.patient_id
             WHERE holder.account_id = account.id AND (holder.until IS NULL OR holder.until > :now)
               AND patient.state IN ('active', 'restricted')) ELSE '{}' END AS records
  FROM session
  JOIN account ON account.id = session.account_id AND account.disabled_at IS NULL
  LEFT JOIN practitioner ON practitioner.account_id = account.id
  LEFT JOIN organization_member AS member ON member.account_id = account.id
 WHERE session.secret_hash = :secret_hash AND session.ended_at IS NULL
   AND session.expires_at > :now AND session.idle_until > :now
   AND (session.factor <> '' OR NOT account.role = ANY (:in_need))
 LIMIT 1

-- name: use_of_grant
-- Names for the log, of a token's user and app; and that the living grant was used, once in a while.
WITH noted AS (
    UPDATE app_grant SET used_at = :now
     WHERE id = :grant AND ended_at IS NULL AND (used_at IS NULL OR used_at < :before)
)
SELECT account.name, client.name AS client_name
  FROM app_grant
  JOIN client ON client.id = app_grant.client_id
  LEFT JOIN account ON account.id = app_grant.account_id
 WHERE app_grant.id = :grant

-- name: lives
-- Whether the session or grant behind a request still lives.
SELECT 1 WHERE {alive}

-- name: reaches_patient
-- Whether this patient is in reach.
SELECT 1 FROM patient WHERE patient.id = :patient AND {reach}

-- name: patient_exists
SELECT 1 FROM patient WHERE id = :patient

-- name: redirect_uris
-- Addresses of every app that may be used.
SELECT DISTINCT unnest(redirect_uris) AS uri FROM client WHERE disabled_at IS NULL
