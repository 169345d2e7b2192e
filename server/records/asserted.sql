-- name: identifier_system
SELECT identifier_system FROM organization WHERE id = :organization;

-- name: assert_identifier
-- Whose it is from now on, or already was.
INSERT INTO patient_identifier (organization_id, value, patient_id) VALUES (:organization, :value, :patient)
    ON CONFLICT (organization_id, value) DO UPDATE SET patient_id = patient_identifier.patient_id
RETURNING patient_id;

-- name: take_back_others
-- What the organization does not say of this patient any more.
DELETE FROM patient_identifier
 WHERE organization_id = :organization AND patient_id = :patient AND NOT value = ANY (:values::text[]);
