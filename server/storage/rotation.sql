-- Patients' keys, wrapped anew.

-- name: patient_keys
SELECT patient_id, wrapped FROM keys.patient_key WHERE patient_id > :after ORDER BY patient_id LIMIT :limit

-- name: rewrap
-- Not of a patient erased meanwhile, nor of one whose key somebody else wrapped anew.
UPDATE keys.patient_key SET wrapped = :after WHERE patient_id = :patient AND wrapped = :before

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
