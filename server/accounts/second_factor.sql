-- name: factors_of
-- What the account has beside its password.
SELECT EXISTS (SELECT FROM totp WHERE account_id = :account) AS totp,
       (SELECT count(*) FROM passkey WHERE account_id = :account) AS passkeys,
       (SELECT count(*) FROM recovery_code WHERE account_id = :account AND used_at IS NULL) AS codes

-- name: remove_factors
-- All of them: the way back for who lost them.
WITH keys AS (DELETE FROM passkey WHERE account_id = :account),
     codes AS (DELETE FROM recovery_code WHERE account_id = :account)
DELETE FROM totp WHERE account_id = :account

-- name: add_totp
INSERT INTO totp (account_id, sealed, created_at, last_step) VALUES (:account, :sealed, :now, :step)
ON CONFLICT DO NOTHING RETURNING account_id

-- name: totp_of
SELECT sealed FROM totp WHERE account_id = :account

-- name: spend_totp
-- One statement: of two requests with the same code, one gets a row back.
UPDATE totp SET last_step = :step
 WHERE account_id = :account AND last_step < :step RETURNING account_id

-- name: remove_totp
DELETE FROM totp WHERE account_id = :account

-- name: drop_codes
DELETE FROM recovery_code WHERE account_id = :account

-- name: add_code
INSERT INTO recovery_code (account_id, code_hash, created_at) VALUES (:account, :code_hash, :now)

-- name: spend_code
UPDATE recovery_code SET used_at = :now
 WHERE account_id = :account AND code_hash = :code_hash AND used_at IS NULL RETURNING account_id

-- name: add_challenge
INSERT INTO passkey_challenge (challenge_hash, purpose, account_id, expires_at)
VALUES (:challenge_hash, :purpose, :account, :expires_at)

-- name: spend_challenge
-- Answered once, for what it was asked and by whom.
DELETE FROM passkey_challenge
 WHERE challenge_hash = :challenge_hash AND purpose = :purpose AND account_id IS NOT DISTINCT FROM CAST(:account AS uuid)
   AND expires_at > :now
RETURNING challenge_hash

-- name: forget_challenges
DELETE FROM passkey_challenge WHERE expires_at < :now

-- name: add_passkey
INSERT INTO passkey (id, account_id, credential_id, public_key, sign_count, place, name, created_at)
VALUES (:id, :account, :credential_id, :public_key, :sign_count, :place, :name, :now)

-- name: passkeys_of
SELECT id, credential_id, name, created_at, used_at FROM passkey WHERE account_id = :account ORDER BY created_at

-- name: passkey_by_credential
SELECT id, account_id, credential_id, public_key, sign_count FROM passkey
 WHERE credential_id = :credential_id AND place = :place

-- name: used_passkey
-- A counter that runs backwards is a copy: the library has refused it, and two at once do not both pass.
UPDATE passkey SET sign_count = :sign_count, used_at = :now WHERE id = :id AND sign_count = :before RETURNING id

-- name: remove_passkey
DELETE FROM passkey WHERE id = :id AND account_id = :account

-- name: add_step
INSERT INTO sign_in_step (id, secret_hash, account_id, kind, csrf_token, created_at, expires_at)
VALUES (:id, :secret_hash, :account, :kind, :csrf_token, :now, :expires_at)

-- name: living_step
SELECT sign_in_step.id, sign_in_step.account_id, sign_in_step.kind, sign_in_step.csrf_token
  FROM sign_in_step JOIN account ON account.id = sign_in_step.account_id AND account.disabled_at IS NULL
 WHERE secret_hash = :secret_hash AND used_at IS NULL AND expires_at > :now

-- name: spend_step
UPDATE sign_in_step SET used_at = :now
 WHERE id = :id AND used_at IS NULL AND expires_at > :now RETURNING account_id

-- name: end_steps
-- A changed password ends what was half signed in too.
UPDATE sign_in_step SET used_at = :now WHERE account_id = :account AND used_at IS NULL

-- name: forget_steps
DELETE FROM sign_in_step WHERE expires_at < :before

-- name: ask_loss
INSERT INTO factor_loss (id, account_id, asked_at, ripe_at) VALUES (:id, :account, :now, :ripe_at)
ON CONFLICT (account_id) WHERE cancelled_at IS NULL AND done_at IS NULL DO NOTHING
RETURNING id

-- name: ripe_losses
-- Whose days of waiting are over: each is mailed once.
UPDATE factor_loss SET mailed_at = :now
 WHERE mailed_at IS NULL AND cancelled_at IS NULL AND done_at IS NULL AND ripe_at <= :now RETURNING account_id

-- name: cancel_loss
UPDATE factor_loss SET cancelled_at = :now
 WHERE account_id = :account AND cancelled_at IS NULL AND done_at IS NULL RETURNING id

-- name: finish_loss
-- Only what has waited its days.
UPDATE factor_loss SET done_at = :now
 WHERE account_id = :account AND cancelled_at IS NULL AND done_at IS NULL AND ripe_at <= :now RETURNING id
