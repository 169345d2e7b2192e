-- name: add_patient
INSERT INTO patient (id, created_at, created_by_organization, claimed_at)
VALUES (:id, :now, :organization, :claimed_at)

-- name: add_key
INSERT INTO keys.patient_key (patient_id, wrapped, created_at) VALUES (:id, :wrapped, :now)

-- name: add_unclaimed
-- Many profiles with their keys.
WITH patients AS (
    INSERT INTO patient (id, created_at, created_by_organization)
    SELECT id, :now, :organization FROM unnest(:ids::text[]) AS row (id)
)
INSERT INTO keys.patient_key (patient_id, wrapped, created_at)
SELECT id, wrapped, :now FROM unnest(:ids::text[], :wrapped::bytea[]) AS row (id, wrapped)

-- name: add_holder
INSERT INTO holder (patient_id, account_id, since) VALUES (:id, :account, :now)

-- name: add_practitioner
INSERT INTO practitioner (id, account_id, name, specialty, organization_name, registration_number, authority,
                          verification, created_at)
VALUES (:id, :account, :name, :specialty, :organization_name, :number, :authority, :verification, :now)

-- name: add_organization
INSERT INTO organization (id, name, identifier_system, issuers, created_at)
VALUES (:id, :name, :system, :issuers, :now)

-- name: add_member
INSERT INTO organization_member (organization_id, account_id) VALUES (:id, :account)

-- name: organization_named
-- The oldest, should two share a name.
SELECT id FROM organization WHERE lower(name) = lower(:name) ORDER BY created_at LIMIT 1

-- name: change_practitioner
-- What a doctor says of being one, and the resource as it stands.
UPDATE practitioner SET specialty = :specialty, organization_name = :organization_name, registration_number = :number,
       authority = :authority
 WHERE id = :id
RETURNING name, (SELECT json FROM resource WHERE resource.type = 'Practitioner' AND resource.id = practitioner.id
                    AND resource.patient_id = '' AND NOT resource.deleted) AS json

-- name: patient_of_account
SELECT holder.patient_id FROM holder JOIN patient ON patient.id = holder.patient_id
 WHERE holder.account_id = :account AND holder.as_what = 'self' AND (holder.until IS NULL OR holder.until > :now)
   AND patient.state IN ('active', 'restricted')
 ORDER BY holder.since LIMIT 1

-- name: fhir_id_of_account
-- What fhirUser is: the own profile, the practitioner, or the organization a person manages.
SELECT coalesce(
    (SELECT id FROM practitioner WHERE account_id = :account),
    (SELECT organization_id FROM organization_member WHERE account_id = :account LIMIT 1),
    (SELECT patient_id FROM holder WHERE account_id = :account AND as_what = 'self'
        AND (until IS NULL OR until > :now) ORDER BY since LIMIT 1))
