-- Keys that sign tokens.

-- name: signing_keys
-- All that may still verify, the newest first.
SELECT kid, algorithm, public, sealed, created_at, retired_at FROM signing_key ORDER BY created_at DESC, kid

-- name: lock_signing_keys
-- One process at a time makes keys; the others wait and find them made.
SELECT pg_advisory_xact_lock(hashtext('lightbox:signing_key'))

-- name: has_signing_key
SELECT true FROM signing_key WHERE algorithm = :algorithm AND retired_at IS NULL AND created_at > :than

-- name: add_signing_key
INSERT INTO signing_key (kid, algorithm, public, sealed, created_at)
VALUES (:kid, :algorithm, :public, :sealed, :now)

-- name: retire_signing_keys
-- They sign no more, and verify what they signed.
UPDATE signing_key SET retired_at = :now WHERE algorithm = :algorithm AND retired_at IS NULL AND kid <> :kid

-- name: forget_signing_keys
-- Nothing lives that these signed.
DELETE FROM signing_key WHERE retired_at < :before
