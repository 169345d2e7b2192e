-- name: client
SELECT id, name, type, secret_hash, redirect_uris, scope, jwks, jwks_uri, launch_url, logo_uri, contact,
       organization_id, trusted, verified, registered_by, created_at
  FROM client WHERE id = :id AND disabled_at IS NULL

-- name: add_client
INSERT INTO client (id, name, type, secret_hash, redirect_uris, scope, jwks, jwks_uri, launch_url, logo_uri,
                    contact, organization_id, trusted, verified, registered_by, created_at, registration_token_hash)
VALUES (:id, :name, :type, :secret_hash, :redirect_uris, :scope, :jwks, :jwks_uri, :launch_url, :logo_uri,
        :contact, :organization, :trusted, :verified, :registered_by, :now, :registration_token_hash)

-- name: add_client_once
-- The server's own client of a well-known name; there already is as good.
INSERT INTO client (id, name, type, scope, verified, created_at)
VALUES (:id, :name, 'public', '', true, :now) ON CONFLICT (id) DO NOTHING

-- name: registered_lately
-- How many apps registered themselves since a moment: a flood is slowed down.
SELECT count(*) FROM client WHERE registered_by = 'dynamic' AND created_at > :since

-- name: client_of_registration
-- RFC 7592: the client that a registration access token manages.
SELECT id FROM client WHERE id = :id AND registration_token_hash = :token_hash AND disabled_at IS NULL

-- name: disable_client
UPDATE client SET disabled_at = :now WHERE id = :id AND disabled_at IS NULL

-- name: end_grants_of_client
UPDATE app_grant SET ended_at = :now, ended_why = :why WHERE client_id = :client AND ended_at IS NULL

-- name: take_jti
-- One statement, so that two requests at once cannot both use the same assertion.
INSERT INTO used_jti (client_id, jti, expires_at) VALUES (:client, :jti, :expires_at)
ON CONFLICT (client_id, jti) DO NOTHING RETURNING true

-- name: forget_jtis
DELETE FROM used_jti WHERE expires_at < :now

-- name: add_code
INSERT INTO authorization_code (code_hash, client_id, grant_id, account_id, session_id, patient_id, redirect_uri,
                                challenge, scope, nonce, launch, grant_until, created_at, expires_at)
VALUES (:code_hash, :client, :grant, :account, :session, :patient, :redirect_uri,
        :challenge, :scope, :nonce, :launch, :grant_until, :now, :expires_at)

-- name: spend_code
-- One statement, so that two requests at once cannot both get an answer. The session it was given in must live.
UPDATE authorization_code AS code SET used_at = :now
 WHERE code_hash = :code_hash AND client_id = :client AND used_at IS NULL AND expires_at > :now
   AND EXISTS (SELECT 1 FROM session WHERE session.id = code.session_id AND session.ended_at IS NULL)
RETURNING grant_id, client_id, account_id, session_id, patient_id, redirect_uri, challenge, scope, nonce, launch,
          grant_until

-- name: replay_code
-- A code that was spent before came again; the grant behind it must not live, made already or not yet.
UPDATE authorization_code SET replayed_at = :now WHERE code_hash = :code_hash AND used_at IS NOT NULL
RETURNING grant_id, client_id, account_id, patient_id

-- name: forget_codes
DELETE FROM authorization_code WHERE expires_at < :before

-- name: code_still_good
-- Holds the row, so that a replay at this moment waits and then finds the grant.
SELECT true FROM authorization_code WHERE grant_id = :grant AND replayed_at IS NULL FOR UPDATE

-- name: add_grant
INSERT INTO app_grant (id, client_id, account_id, session_id, patient_id, scope, launch, online, created_at,
                       used_at, expires_at)
VALUES (:id, :client, :account, :session, :patient, :scope, :launch, :online, :now, :now, :expires_at)

-- name: use_grant
-- The grant lives and is of this client; notes the use.
UPDATE app_grant SET used_at = :now WHERE app_grant.id = :grant AND client_id = :client AND {alive}
RETURNING id, client_id, account_id, session_id, patient_id, scope, launch, online, expires_at

-- name: end_grant
UPDATE app_grant SET ended_at = :now, ended_why = :why WHERE id = :grant AND ended_at IS NULL
RETURNING client_id, account_id, patient_id

-- name: end_grants_of_person
-- All that one app may do for one account.
UPDATE app_grant SET ended_at = :now, ended_why = :why
 WHERE account_id = :account AND client_id = :client AND ended_at IS NULL
RETURNING id, patient_id

-- name: living_grants
-- What apps may do for an account, for the person to see.
SELECT app_grant.id, app_grant.client_id, app_grant.patient_id, app_grant.scope, app_grant.created_at,
       app_grant.used_at, app_grant.expires_at, app_grant.online, client.name, client.verified
  FROM app_grant JOIN client ON client.id = app_grant.client_id
 WHERE app_grant.account_id = :account AND app_grant.ended_at IS NULL
   AND (app_grant.expires_at IS NULL OR app_grant.expires_at > :now)
   AND (NOT app_grant.online OR EXISTS (SELECT 1 FROM session WHERE session.id = app_grant.session_id
        AND session.ended_at IS NULL AND session.expires_at > :now))
 ORDER BY app_grant.created_at DESC

-- name: grant_by_id
SELECT id, client_id, account_id, session_id, patient_id, scope, launch, online, expires_at
  FROM app_grant WHERE app_grant.id = :grant AND {alive}

-- name: add_refresh_token
INSERT INTO refresh_token (token_hash, grant_id, created_at, expires_at)
VALUES (:token_hash, :grant, :now, :expires_at)

-- name: spend_refresh_token
-- One statement, so that a stolen copy and the original cannot both be used.
UPDATE refresh_token SET used_at = :now
  FROM app_grant
 WHERE refresh_token.token_hash = :token_hash AND refresh_token.used_at IS NULL AND refresh_token.expires_at > :now
   AND app_grant.id = refresh_token.grant_id AND app_grant.client_id = :client
RETURNING refresh_token.grant_id

-- name: refresh_token
-- A refresh token, spent or not, with its grant.
SELECT refresh_token.used_at, refresh_token.created_at, refresh_token.grant_id, app_grant.id, app_grant.client_id,
       app_grant.account_id, app_grant.session_id, app_grant.patient_id, app_grant.scope, app_grant.launch,
       app_grant.online, refresh_token.expires_at
  FROM refresh_token JOIN app_grant ON app_grant.id = refresh_token.grant_id
 WHERE refresh_token.token_hash = :token_hash

-- name: facts_of_account
-- What a token says about the person it speaks for.
SELECT account.id, account.name, account.email, account.role, practitioner.id AS practitioner_id,
       member.organization_id,
       (SELECT holder.patient_id FROM holder WHERE holder.account_id = account.id AND holder.as_what = 'self'
         AND (holder.until IS NULL OR holder.until > :now) ORDER BY holder.since LIMIT 1) AS own_patient
  FROM account
  LEFT JOIN practitioner ON practitioner.account_id = account.id
  LEFT JOIN organization_member AS member ON member.account_id = account.id
 WHERE account.id = :account AND account.disabled_at IS NULL
 LIMIT 1

-- name: patients_in_reach
-- The profiles a person may choose from, with the resource that names them; the person's own first.
SELECT resource.id, resource.json,
       EXISTS (SELECT 1 FROM holder WHERE holder.patient_id = resource.id AND holder.account_id = :account
               AND holder.as_what = 'self') AS own
  FROM resource
 WHERE resource.type = 'Patient' AND NOT resource.deleted AND {reach}
 ORDER BY own DESC, resource.last_updated DESC, resource.id LIMIT 200

-- name: modalities_in_reach
SELECT DISTINCT unnest(study.modalities) AS modality FROM study WHERE {reach} ORDER BY modality

-- name: patient_in_reach
SELECT patient.id FROM patient WHERE patient.id = :patient AND {reach}

-- name: add_pushed_request
INSERT INTO pushed_request (uri_hash, client_id, parameters, expires_at)
VALUES (:uri_hash, :client, :parameters, :expires_at)

-- name: pushed_request
SELECT parameters FROM pushed_request WHERE uri_hash = :uri_hash AND client_id = :client AND expires_at > :now

-- name: drop_pushed_request
DELETE FROM pushed_request WHERE uri_hash = :uri_hash

-- name: forget_pushed_requests
DELETE FROM pushed_request WHERE expires_at < :now

-- name: add_launch
INSERT INTO launch_context (launch_hash, client_id, account_id, patient_id, context, expires_at)
VALUES (:launch_hash, :client, :account, :patient, :context, :expires_at)

-- name: launch
-- What an app was started with: of this client, by this person.
SELECT patient_id, context FROM launch_context
 WHERE launch_hash = :launch_hash AND client_id = :client AND account_id = :account AND expires_at > :now

-- name: apps_to_launch
-- Apps that can be started from here (EHR launch).
SELECT id, name, launch_url, verified FROM client
 WHERE launch_url IS NOT NULL AND disabled_at IS NULL ORDER BY name, id

-- name: forget_launches
DELETE FROM launch_context WHERE expires_at < :now

-- name: forget_backend_grants
-- One row a backend token, of five minutes each; the log keeps what was issued.
DELETE FROM app_grant WHERE account_id IS NULL AND expires_at < :before

-- name: study_in_reach
SELECT true FROM study WHERE study.fhir_id = :id AND {reach}

-- name: studies_in_reach
SELECT study.fhir_id, study.patient_id, study.study_date, study.modalities, study.title_folded
  FROM study WHERE {reach} ORDER BY study.study_day DESC, study.study_time DESC, study.study_uid LIMIT 200

-- name: consents_behind
-- The living shares between a patient and a doctor; the id is that of the Consent.
SELECT id, rights, studies IS NULL AS whole FROM share
 WHERE patient_id = :patient AND practitioner_id = :practitioner AND state = 'active'
   AND (until IS NULL OR until > :now)
 ORDER BY created_at

-- name: forget_refresh_tokens
DELETE FROM refresh_token WHERE expires_at < :now OR used_at < :spent
