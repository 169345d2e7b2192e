-- name: client
SELECT id, name, type, secret_hash, redirect_uris, scope, jwks, jwks_uri, launch_url, logo_uri, contact,
       organization_id, trusted, verified, registered_by, created_at, client_uri, policy_uri, tos_uri, logo
  FROM client WHERE id = :id AND disabled_at IS NULL

-- name: add_client
INSERT INTO client (id, name, type, secret_hash, redirect_uris, scope, jwks, jwks_uri, launch_url, logo_uri,
                    contact, organization_id, trusted, verified, registered_by, created_at, registration_token_hash,
                    client_uri, policy_uri, tos_uri)
VALUES (:id, :name, :type, :secret_hash, :redirect_uris, :scope, :jwks, :jwks_uri, :launch_url, :logo_uri,
        :contact, :organization, :trusted, :verified, :registered_by, :now, :registration_token_hash,
        :client_uri, :policy_uri, :tos_uri)

-- name: replace_client
-- RFC 7592, 2.2: the whole registration anew. Its secret stays unless it needs one it never had; a changed name or
-- maker takes the operator's word that it is known away.
UPDATE client SET name = :name, type = :type, secret_hash = :secret_hash, redirect_uris = :redirect_uris,
       scope = :scope, jwks = :jwks, jwks_uri = :jwks_uri, launch_url = :launch_url, logo_uri = :logo_uri,
       contact = :contact, client_uri = :client_uri, policy_uri = :policy_uri, tos_uri = :tos_uri,
       verified = verified AND name = :name AND redirect_uris = :redirect_uris, logo = CASE WHEN logo_uri = :logo_uri THEN logo END,
       registration_token_hash = :registration_token_hash
 WHERE id = :id AND registration_token_hash = :presented AND disabled_at IS NULL
RETURNING id

-- name: forget_registration_token
UPDATE client SET registration_token_hash = NULL WHERE id = :id

-- name: forget_state_of_client
DELETE FROM app_state WHERE client_id = :client

-- name: set_logo
UPDATE client SET logo = :logo WHERE id = :id AND logo_uri = :logo_uri

-- name: enable_client
UPDATE client SET disabled_at = NULL WHERE id = :id AND disabled_at IS NOT NULL

-- name: clients
-- For the operator: every client, with what lives of it.
SELECT client.id, client.name, client.type, client.registered_by, client.verified, client.trusted,
       client.created_at, client.disabled_at,
       (SELECT count(*) FROM app_grant WHERE app_grant.client_id = client.id AND app_grant.ended_at IS NULL
         AND (app_grant.expires_at IS NULL OR app_grant.expires_at > :now)) AS grants
  FROM client ORDER BY client.created_at, client.id

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
                                challenge, scope, nonce, launch, grant_until, created_at, expires_at, auth_time)
VALUES (:code_hash, :client, :grant, :account, :session, :patient, :redirect_uri,
        :challenge, :scope, :nonce, :launch, :grant_until, :now, :expires_at, :auth_time)

-- name: spend_code
-- One statement, so that two requests at once cannot both get an answer. The session it was given in must live.
UPDATE authorization_code AS code SET used_at = :now
 WHERE code_hash = :code_hash AND client_id = :client AND used_at IS NULL AND expires_at > :now
   AND EXISTS (SELECT 1 FROM session WHERE session.id = code.session_id AND session.ended_at IS NULL)
RETURNING grant_id, client_id, account_id, session_id, patient_id, redirect_uri, challenge, scope, nonce, launch,
          grant_until, auth_time

-- name: replay_code
-- A code that was spent before came again; the grant behind it must not live, made already or not yet.
UPDATE authorization_code SET replayed_at = :now WHERE code_hash = :code_hash AND used_at IS NOT NULL
RETURNING grant_id, client_id, account_id, patient_id

-- name: forget_codes
DELETE FROM authorization_code WHERE expires_at < :before

-- name: code_still_good
-- Holds the row, so that a replay at this moment waits and then finds the grant; and that of the session, so that a
-- new password does: it ends sessions first and then what apps may do.
SELECT true FROM authorization_code AS code
  JOIN session ON session.id = code.session_id AND session.ended_at IS NULL
 WHERE code.grant_id = :grant AND code.replayed_at IS NULL
   FOR UPDATE OF code FOR SHARE OF session

-- name: add_grant
INSERT INTO app_grant (id, client_id, account_id, session_id, patient_id, scope, launch, online, created_at,
                       used_at, expires_at, auth_time)
VALUES (:id, :client, :account, :session, :patient, :scope, :launch, :online, :now, :now, :expires_at, :auth_time)

-- name: use_grant
-- The grant lives and is of this client; notes the use.
UPDATE app_grant SET used_at = :now WHERE app_grant.id = :grant AND client_id = :client AND {alive}
RETURNING id, client_id, account_id, session_id, patient_id, scope, launch, online, expires_at, auth_time

-- name: end_grant
UPDATE app_grant SET ended_at = :now, ended_why = :why WHERE id = :grant AND ended_at IS NULL
RETURNING client_id, account_id, patient_id

-- name: end_grants_of_person
-- All that one app may do for one account, or what one press of Allow gave.
UPDATE app_grant SET ended_at = :now, ended_why = :why
 WHERE account_id = :account AND client_id = :client AND ended_at IS NULL
   AND (CAST(:grant AS uuid) IS NULL OR id = CAST(:grant AS uuid))
RETURNING id, patient_id

-- name: living_grants
-- What apps may do for an account, for the person to see.
SELECT app_grant.id, app_grant.client_id, app_grant.patient_id, app_grant.scope, app_grant.created_at,
       app_grant.used_at, app_grant.expires_at, app_grant.online, client.name, client.verified, client.logo
  FROM app_grant JOIN client ON client.id = app_grant.client_id
 WHERE app_grant.account_id = :account AND app_grant.ended_at IS NULL AND client.disabled_at IS NULL
   AND (app_grant.expires_at IS NULL OR app_grant.expires_at > :now)
   AND (NOT app_grant.online OR EXISTS (SELECT 1 FROM session WHERE session.id = app_grant.session_id
        AND session.ended_at IS NULL AND session.expires_at > :now))
 ORDER BY app_grant.created_at DESC

-- name: grant_by_id
SELECT id, client_id, account_id, session_id, patient_id, scope, launch, online, expires_at, auth_time
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
       app_grant.online, app_grant.auth_time, refresh_token.expires_at
  FROM refresh_token JOIN app_grant ON app_grant.id = refresh_token.grant_id
 WHERE refresh_token.token_hash = :token_hash

-- name: facts_of_account
-- What a token says about the person it speaks for. A doctor who holds the record in context is its patient there.
SELECT account.id, account.name, account.email, practitioner.id AS practitioner_id,
       CASE WHEN account.role = 'doctor' AND EXISTS (
            SELECT FROM holder WHERE holder.account_id = account.id AND holder.patient_id = :patient
               AND (holder.until IS NULL OR holder.until > :now)) THEN 'patient' ELSE account.role END AS role,
       member.organization_id,
       (SELECT holder.patient_id FROM holder WHERE holder.account_id = account.id AND holder.as_what = 'self'
         AND (holder.until IS NULL OR holder.until > :now) ORDER BY holder.since LIMIT 1) AS own_patient,
       (SELECT guardian.id FROM related_person AS guardian
          JOIN holder ON holder.patient_id = guardian.patient_id AND holder.account_id = guardian.account_id
         WHERE guardian.account_id = account.id AND guardian.patient_id = :patient AND holder.as_what = 'guardian'
           AND (holder.until IS NULL OR holder.until > :now)) AS related_person
  FROM account
  LEFT JOIN practitioner ON practitioner.account_id = account.id
  LEFT JOIN organization_member AS member ON member.account_id = account.id
 WHERE account.id = :account AND account.disabled_at IS NULL
 LIMIT 1

-- name: patients_in_reach
-- The profiles a person may choose from, with the resource that names them; the person's own first, the oldest of
-- them before the others. One that was merged into another is none any more.
SELECT resource.id, resource.json,
       coalesce(holder.as_what = 'self', false) AS own, coalesce(holder.as_what = 'guardian', false) AS guardian
  FROM resource
  LEFT JOIN holder ON holder.patient_id = resource.id AND holder.account_id = :account
 WHERE resource.type = 'Patient' AND NOT resource.deleted AND resource.id = resource.patient_id AND {reach}
 ORDER BY own DESC, guardian DESC, holder.since, resource.last_updated DESC, resource.id LIMIT 1000

-- name: modalities_in_reach
SELECT DISTINCT unnest(study.modalities) AS modality FROM study WHERE {reach} ORDER BY modality

-- name: patient_in_reach
SELECT patient.id FROM patient WHERE patient.id = :patient AND {reach}

-- name: add_pushed_request
INSERT INTO pushed_request (uri_hash, client_id, parameters, expires_at)
VALUES (:uri_hash, :client, :parameters, :expires_at)

-- name: pushed_request
SELECT parameters FROM pushed_request WHERE uri_hash = :uri_hash AND client_id = :client AND expires_at > :now

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

-- name: visits_in_reach
SELECT resource.id, resource.json FROM resource
 WHERE resource.type = 'Encounter' AND NOT resource.deleted AND {reach}
 ORDER BY resource.happened DESC NULLS LAST, resource.id LIMIT 50

-- name: visit_in_reach
SELECT true FROM resource
 WHERE resource.type = 'Encounter' AND resource.id = :id AND NOT resource.deleted AND {reach}

-- name: held_as_guardian
SELECT true FROM holder WHERE patient_id = :patient AND account_id = :account AND as_what = 'guardian'
   AND (until IS NULL OR until > :now)

-- name: add_related_person
INSERT INTO related_person (patient_id, account_id, id) VALUES (:patient, :account, :id)
ON CONFLICT (patient_id, account_id) DO NOTHING RETURNING id
