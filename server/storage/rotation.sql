-- Patients' keys, wrapped anew.

-- name: patient_keys
-- Those that lie here; in the place of others is a ticket (key_store.py).
SELECT patient_id AS id, wrapped FROM keys.patient_key
 WHERE patient_id > :after AND length(wrapped) <> 16 ORDER BY patient_id LIMIT :limit

-- name: rewrap
-- Not of a patient erased meanwhile, nor of one whose key somebody else wrapped anew.
UPDATE keys.patient_key SET wrapped = :after WHERE patient_id = :id AND wrapped = :before

-- name: account_keys
SELECT account_id AS id, wrapped FROM keys.account_key WHERE account_id > :after ORDER BY account_id LIMIT :limit

-- name: rewrap_account
UPDATE keys.account_key SET wrapped = :after WHERE account_id = :id AND wrapped = :before

-- name: this_transaction
SELECT pg_current_xact_id()::text::bigint

-- name: oldest_transaction
-- The oldest that has written something and has not ended.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint

-- name: copy_confirmed
SELECT confirmed_at FROM keys.confirmed_copy WHERE fingerprint = :fingerprint

-- name: confirm_copy
INSERT INTO keys.confirmed_copy (fingerprint, confirmed_at) VALUES (:fingerprint, :now)
    ON CONFLICT (fingerprint) DO UPDATE SET confirmed_at = excluded.confirmed_at
