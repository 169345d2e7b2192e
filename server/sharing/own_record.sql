-- A doctor's own record.

-- name: lock_account
-- Two presses at once make one record.
SELECT id FROM account WHERE id = :account FOR NO KEY UPDATE

-- name: holds_own
SELECT EXISTS (SELECT FROM holder JOIN patient ON patient.id = holder.patient_id AND patient.state IN ('active', 'restricted')
 WHERE holder.account_id = :account AND holder.as_what = 'self' AND (holder.until IS NULL OR holder.until > :now))
