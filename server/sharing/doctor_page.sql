-- A doctor's own page: patients who come by it give the doctor access.

-- name: page_of
-- The living page of this account's doctor.
SELECT page.id, page.created_at FROM doctor_page AS page
 WHERE page.account_id = :account AND page.ended_at IS NULL AND {alive}

-- name: lock_doctor
-- Two resets at once make one page; only of a doctor who can be shared with.
SELECT practitioner.id FROM practitioner JOIN account ON account.id = practitioner.account_id
 WHERE account.id = :account AND account.role = 'doctor' AND account.disabled_at IS NULL
   AND account.email_verified_at IS NOT NULL AND practitioner.verification <> 'suspended' AND {alive}
   FOR NO KEY UPDATE OF practitioner

-- name: end_page
UPDATE doctor_page SET ended_at = :now WHERE account_id = :account AND ended_at IS NULL RETURNING id

-- name: add_page
INSERT INTO doctor_page (id, practitioner_id, account_id, created_at) VALUES (:id, :practitioner, :account, :now)

-- name: doctor_behind
-- What whoever comes by the page may know; no row for a page that is over, or a doctor who is not one now.
SELECT page.id AS page_id, page.account_id, practitioner.id, practitioner.name, practitioner.specialty,
       practitioner.organization_name, practitioner.registration_number, practitioner.authority,
       practitioner.verification, account.email
  FROM doctor_page AS page
  JOIN practitioner ON practitioner.id = page.practitioner_id AND practitioner.verification <> 'suspended'
  JOIN account ON account.id = page.account_id AND account.disabled_at IS NULL AND account.role = 'doctor'
   AND account.email_verified_at IS NOT NULL
 WHERE page.id = :id AND page.ended_at IS NULL

-- name: hold_page
-- Kept from being reset until who gives has given: what was reset before opens nothing.
SELECT id FROM doctor_page WHERE id = :id AND ended_at IS NULL FOR SHARE

-- name: living_with
-- The patient's own share with this doctor that holds or waits, asked for, invited by address or given.
SELECT * FROM share
 WHERE patient_id = :patient AND parent_id IS NULL
   AND (practitioner_id = :practitioner OR state = 'invited' AND email_folded = :folded)
   AND (state = 'invited' OR (state = 'requested' AND waits_until > :now)
        OR (state = 'active' AND (until IS NULL OR until > :now)))
 ORDER BY state = 'active' DESC, state = 'requested' DESC, created_at DESC LIMIT 1 FOR UPDATE

-- name: given_to
-- The same, for the patient to read.
SELECT share.* FROM share JOIN patient ON patient.id = share.patient_id
 WHERE share.patient_id = :patient AND share.practitioner_id = :practitioner AND share.parent_id IS NULL
   AND share.state = 'active' AND (share.until IS NULL OR share.until > :now) AND {reach}
 ORDER BY share.created_at DESC LIMIT 1

-- name: add_use
INSERT INTO doctor_page_use (patient_id, share_id, page_id, used_at) VALUES (:patient, :share, :page, :now)
    ON CONFLICT (patient_id, share_id, page_id) DO UPDATE SET used_at = excluded.used_at

-- name: uses_of
-- Whose share came by one of this doctor's pages; of those that are over nothing is told but that they were.
SELECT CASE WHEN living.yes THEN share.patient_id END AS patient_id, use.used_at, page.ended_at IS NULL AS by_this
  FROM doctor_page_use AS use
  JOIN doctor_page AS page ON page.id = use.page_id
  JOIN share ON share.patient_id = use.patient_id AND share.id = use.share_id
  JOIN practitioner ON practitioner.id = page.practitioner_id
  JOIN patient ON patient.id = use.patient_id
  CROSS JOIN LATERAL (SELECT share.state = 'active' AND (share.until IS NULL OR share.until > :now)
                         AND patient.state = 'active' AND practitioner.verification <> 'suspended' AS yes) AS living
 WHERE page.account_id = :account AND {alive}
 ORDER BY use.used_at DESC LIMIT 500
