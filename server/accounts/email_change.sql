-- name: ask_change
INSERT INTO email_change (id, account_id, old_email, new_email, confirm_hash, undo_hash, asked_at, expires_at, undo_until)
VALUES (:id, :account, :old, :new, :confirm_hash, :undo_hash, :now, :expires_at, :undo_until)

-- name: drop_waiting
-- A new wish replaces one that was not confirmed.
DELETE FROM email_change WHERE account_id = :account AND confirmed_at IS NULL AND undone_at IS NULL

-- name: change_lives
SELECT new_email FROM email_change
 WHERE confirm_hash = :hash AND confirmed_at IS NULL AND undone_at IS NULL AND expires_at > :now

-- name: confirm_change
UPDATE email_change SET confirmed_at = :now
 WHERE confirm_hash = :hash AND confirmed_at IS NULL AND undone_at IS NULL AND expires_at > :now
RETURNING id, account_id, old_email, new_email

-- name: new_undo
-- The letter to the old address after the change carries a link of its own.
UPDATE email_change SET undo_hash = :undo_hash WHERE id = :id

-- name: undo_lives
SELECT old_email FROM email_change WHERE undo_hash = :hash AND undone_at IS NULL AND undo_until > :now

-- name: undo_change
UPDATE email_change SET undone_at = :now
 WHERE undo_hash = :hash AND undone_at IS NULL AND undo_until > :now
RETURNING account_id, old_email, confirmed_at

-- name: undo_later
-- What came after it is undone with it: a thief may have changed the address twice.
UPDATE email_change SET undone_at = :now
 WHERE account_id = :account AND undone_at IS NULL
   AND asked_at > (SELECT asked_at FROM email_change WHERE undo_hash = :hash)

-- name: waiting_change
SELECT new_email, expires_at FROM email_change
 WHERE account_id = :account AND confirmed_at IS NULL AND undone_at IS NULL AND expires_at > :now

-- name: set_email
UPDATE account SET email = :email, email_folded = :folded, email_verified_at = :now WHERE id = :account RETURNING *

-- name: forget_changes
DELETE FROM email_change WHERE undo_until < :before
