-- Links for people without an account.

-- name: lock_patient
-- Within reach, kept from being erased meanwhile.
SELECT patient.id FROM patient WHERE patient.id = :patient AND {reach} FOR SHARE

-- name: profile
-- The Patient resource, for the birth date.
SELECT json FROM resource WHERE patient_id = :patient AND type = 'Patient' AND id = :patient AND NOT deleted

-- name: add_link
INSERT INTO guest_link (id, patient_id, name, email, rights, studies, created_at, until)
VALUES (:id, :patient, :name, :email, :rights, :studies, :now, :until)
RETURNING *

-- name: links_of_patient
SELECT guest_link.* FROM guest_link JOIN patient ON patient.id = guest_link.patient_id
 WHERE guest_link.patient_id = :patient AND {reach}
 ORDER BY guest_link.created_at DESC LIMIT 500

-- name: link_of_patient
SELECT guest_link.* FROM guest_link JOIN patient ON patient.id = guest_link.patient_id
 WHERE guest_link.id = :id AND {reach}

-- name: lock_link_of_patient
SELECT guest_link.* FROM guest_link JOIN patient ON patient.id = guest_link.patient_id
 WHERE guest_link.id = :id AND {reach} FOR UPDATE OF guest_link

-- name: end_link
-- Once only; what is over stays as it is.
UPDATE guest_link SET ended_at = :now, ended_why = :why, noted_at = :now
 WHERE id = :id AND ended_at IS NULL AND until > :now
RETURNING *

-- name: living_link
-- What the address leads to, for whoever comes with it.
SELECT guest_link.* FROM guest_link JOIN patient ON patient.id = guest_link.patient_id AND patient.state = 'active'
 WHERE guest_link.id = :id AND guest_link.ended_at IS NULL AND guest_link.until > :now

-- name: lock_living_link
-- The same, kept from changing: tries of several browsers at once are counted one after another.
SELECT guest_link.* FROM guest_link JOIN patient ON patient.id = guest_link.patient_id AND patient.state = 'active'
 WHERE guest_link.id = :id AND guest_link.ended_at IS NULL AND guest_link.until > :now
   FOR UPDATE OF guest_link

-- name: count_try
UPDATE guest_link SET tries = tries + 1 WHERE id = :id RETURNING tries

-- name: count_code
UPDATE guest_link SET codes = codes + 1 WHERE id = :id AND codes < :most RETURNING codes

-- name: add_visit
INSERT INTO guest_visit (id, link_id, patient_id, secret_hash, code_hash, created_at, until)
VALUES (:id, :link, :patient, :secret_hash, :code_hash, :now, :until)

-- name: waiting_visit
-- Of a browser that knew the birth date and owes the code.
SELECT id, code_hash FROM guest_visit
 WHERE link_id = :link AND secret_hash = :secret_hash AND opened_at IS NULL AND ended_at IS NULL AND until > :now

-- name: open_visit
-- The code is spent, and the cookie changes.
UPDATE guest_visit SET opened_at = :now, code_hash = NULL, secret_hash = :new_hash, until = :until
 WHERE id = :id AND opened_at IS NULL
RETURNING id

-- name: end_visit
UPDATE guest_visit SET ended_at = :now WHERE link_id = :link AND secret_hash = :secret_hash AND ended_at IS NULL

-- name: note_visit_look
UPDATE guest_link SET last_looked_at = :now
 WHERE id = :id AND (last_looked_at IS NULL OR last_looked_at < :stale)

-- name: links_due
-- Ran out and not written down, or from before a link had a Consent.
SELECT guest_link.id FROM guest_link JOIN patient ON patient.id = guest_link.patient_id AND patient.state <> 'erasing'
 WHERE guest_link.noted_at IS NULL AND (guest_link.until <= :now OR guest_link.ended_at IS NOT NULL OR NOT EXISTS (
       SELECT FROM resource WHERE resource.patient_id = guest_link.patient_id AND resource.type = 'Consent'
          AND resource.id = guest_link.id))
 ORDER BY guest_link.until LIMIT :most

-- name: note_link
-- Its end is written down once.
UPDATE guest_link SET noted_at = CASE WHEN ended_at IS NOT NULL OR until <= :now THEN :now::timestamptz END
 WHERE id = :id AND noted_at IS NULL
RETURNING *

-- name: forget_visits
DELETE FROM guest_visit WHERE until < :before
