-- name: add_account
-- Fails on the unique folded address when it is taken.
INSERT INTO account (id, email, email_folded, email_verified_at, name, role, password_hash, created_at, duties)
VALUES (:id, :email, :folded, :verified_at, :name, :role, :password_hash, :now, :duties)
RETURNING *

-- name: account_by_id
SELECT * FROM account WHERE id = :id

-- name: account_by_email
SELECT * FROM account WHERE email_folded = :folded

-- name: set_password
UPDATE account SET password_hash = :password_hash WHERE id = :id

-- name: rehash_password
-- Only while the hash is still the one that was verified: a change meanwhile must not be undone.
UPDATE account SET password_hash = :password_hash WHERE id = :id AND password_hash = :verified

-- name: set_verified
-- The first moment stays.
UPDATE account SET email_verified_at = coalesce(email_verified_at, :now) WHERE id = :id RETURNING *

-- name: set_disabled
UPDATE account SET disabled_at = :now WHERE id = :id AND disabled_at IS NULL

-- name: become_doctor
UPDATE account SET role = 'doctor' WHERE id = :id AND role = 'patient' AND disabled_at IS NULL RETURNING id

-- name: set_duties
UPDATE account SET duties = :duties WHERE id = :id AND role = 'operator'

-- name: operators_with
SELECT * FROM account WHERE role = 'operator' AND :duty = ANY (duties) AND disabled_at IS NULL ORDER BY created_at

-- name: end_grants
-- All that lets apps act for this account; tokens name a grant and end with it.
UPDATE app_grant SET ended_at = :now, ended_why = :why WHERE account_id = :account AND ended_at IS NULL

-- name: end_ways_in
-- Keys of viewers, links to a new password, and a change of address that was not confirmed.
WITH passes AS (
    UPDATE viewer_pass SET ended_at = :now WHERE account_id = :account AND ended_at IS NULL
), links AS (
    DELETE FROM one_time_secret WHERE account_id = :account AND purpose = 'reset-password' AND used_at IS NULL
)
DELETE FROM email_change WHERE account_id = :account AND confirmed_at IS NULL AND undone_at IS NULL

-- name: add_session
INSERT INTO session (id, secret_hash, account_id, csrf_token, user_agent, address, network, factor,
                     created_at, seen_at, confirmed_at, idle_until, expires_at)
VALUES (:id, :secret_hash, :account, :csrf_token, :user_agent, :address, :network, :factor,
        :now, :now, :now, :idle_until, :expires_at)
RETURNING *

-- name: living_session
SELECT session.* FROM session JOIN account ON account.id = session.account_id
 WHERE secret_hash = :secret_hash AND ended_at IS NULL AND idle_until > :now AND expires_at > :now
   AND account.disabled_at IS NULL

-- name: touch_session
-- At most one write a minute, however many requests; a session that has run out stays so.
UPDATE session SET seen_at = :now, idle_until = least(:idle_until, expires_at)
 WHERE id = :id AND seen_at <= :stale AND ended_at IS NULL AND idle_until > :now AND expires_at > :now

-- name: confirm_session
-- The password was typed again.
UPDATE session SET confirmed_at = :now
 WHERE id = :id AND ended_at IS NULL AND idle_until > :now AND expires_at > :now

-- name: end_session
UPDATE session SET ended_at = :now WHERE id = :id AND account_id = :account AND ended_at IS NULL

-- name: end_session_by_secret
UPDATE session SET ended_at = :now WHERE secret_hash = :secret_hash AND ended_at IS NULL

-- name: end_sessions
UPDATE session SET ended_at = :now
 WHERE account_id = :account AND ended_at IS NULL AND id IS DISTINCT FROM CAST(:keep AS uuid)

-- name: sessions_of
SELECT * FROM session
 WHERE account_id = :account AND ended_at IS NULL AND idle_until > :now AND expires_at > :now
 ORDER BY seen_at DESC

-- name: signed_in_from
-- Has this account been signed in to from this network lately?
SELECT EXISTS (SELECT FROM session WHERE account_id = :account AND network = :network AND created_at > :since)

-- name: forget_sessions
DELETE FROM session WHERE expires_at < :before

-- name: set_factor
UPDATE session SET factor = :factor WHERE id = :id AND ended_at IS NULL

-- name: wear_hat
UPDATE session SET hat = :hat, secret_hash = :secret_hash
 WHERE id = :id AND ended_at IS NULL AND idle_until > :now AND expires_at > :now

-- name: whose_secret
SELECT account_id FROM one_time_secret
 WHERE secret_hash = :secret_hash AND purpose = :purpose AND used_at IS NULL AND expires_at > :now

-- name: add_secret
INSERT INTO one_time_secret (secret_hash, account_id, purpose, created_at, expires_at)
VALUES (:secret_hash, :account, :purpose, :now, :expires_at)

-- name: drop_secrets
-- A new letter makes the links of earlier ones dead.
DELETE FROM one_time_secret WHERE account_id = :account AND purpose = :purpose AND used_at IS NULL

-- name: secret_lives
SELECT EXISTS (SELECT FROM one_time_secret
 WHERE secret_hash = :secret_hash AND purpose = :purpose AND used_at IS NULL AND expires_at > :now)

-- name: spend_secret
-- One statement, so that two requests at once cannot both use it.
UPDATE one_time_secret SET used_at = :now
 WHERE secret_hash = :secret_hash AND purpose = :purpose AND used_at IS NULL AND expires_at > :now
RETURNING account_id

-- name: forget_secrets
DELETE FROM one_time_secret WHERE expires_at < :before

-- name: begin_attempt
-- Counts the try before it is made, so that many at once do not all see the same count. No row comes back while
-- the delay of the tries before has not passed; the count begins anew when there was no try for a while.
INSERT INTO attempt AS kept (subject, tries, last_at) VALUES (:subject, 1, :now)
ON CONFLICT (subject) DO UPDATE
   SET tries = CASE WHEN kept.last_at < :forgotten THEN 1 ELSE kept.tries + 1 END, last_at = greatest(kept.last_at, :now)
 WHERE kept.last_at < :forgotten OR kept.tries < :free
    OR kept.last_at + make_interval(secs => least(power(2, least(kept.tries - :free, 30)), :longest)) <= :now
RETURNING tries

-- name: attempt_of
SELECT tries, last_at FROM attempt WHERE subject = :subject

-- name: clear_attempt
DELETE FROM attempt WHERE subject = :subject

-- name: give_back_attempt
-- A try that succeeded does not count, but those before it do.
UPDATE attempt SET tries = greatest(tries - 1, 0) WHERE subject = :subject

-- name: vouch
INSERT INTO attempt (subject, tries, last_at) VALUES (:subject, 0, :now)
ON CONFLICT (subject) DO UPDATE SET last_at = greatest(attempt.last_at, :now)

-- name: forget_attempts
DELETE FROM attempt WHERE last_at < :before
