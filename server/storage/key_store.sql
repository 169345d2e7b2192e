-- The database of patients' keys, when it is one of its own.

-- name: make_schema
CREATE SCHEMA IF NOT EXISTS key_store

-- name: make_keys
-- A ticket is all that the main database knows of a key. A patient has two rows only while keys are being moved.
CREATE TABLE IF NOT EXISTS key_store.patient_key (
    ticket     bytea PRIMARY KEY,
    patient_id text NOT NULL,
    wrapped    bytea NOT NULL,
    created_at timestamptz NOT NULL
)

-- name: make_index
CREATE INDEX IF NOT EXISTS patient_key_patient ON key_store.patient_key (patient_id)

-- name: make_name
CREATE TABLE IF NOT EXISTS key_store.name (id uuid PRIMARY KEY, alone boolean NOT NULL UNIQUE DEFAULT true CHECK (alone))

-- name: give_name
INSERT INTO key_store.name (id) VALUES (:id) ON CONFLICT (alone) DO NOTHING

-- name: name
SELECT id FROM key_store.name

-- name: add
INSERT INTO key_store.patient_key (ticket, patient_id, wrapped, created_at) VALUES (:ticket, :patient, :wrapped, :now)

-- name: wrapped_of
SELECT wrapped FROM key_store.patient_key WHERE ticket = :ticket

-- name: destroy
DELETE FROM key_store.patient_key WHERE patient_id = :patient

-- name: forget_tickets
DELETE FROM key_store.patient_key WHERE ticket = ANY (:tickets)

-- name: keep_only
-- What an earlier, interrupted move of the same patients left behind.
DELETE FROM key_store.patient_key WHERE patient_id = ANY (:patients) AND ticket <> ALL (:tickets)

-- name: page
SELECT ticket AS id, patient_id, wrapped FROM key_store.patient_key WHERE ticket > :after ORDER BY ticket LIMIT :limit

-- name: rewrap
UPDATE key_store.patient_key SET wrapped = :after WHERE ticket = :id AND wrapped = :before

-- name: held
SELECT ticket FROM key_store.patient_key WHERE ticket = ANY (:tickets)

-- name: count
SELECT count(*) FROM key_store.patient_key

-- name: count_of_patient
SELECT count(*) FROM key_store.patient_key WHERE patient_id = :patient

-- Of the main database:

-- name: attached
SELECT id FROM keys.store

-- name: attach
INSERT INTO keys.store (id, since) VALUES (:id, :now)

-- name: detach
DELETE FROM keys.store

-- name: tickets
SELECT patient_id, wrapped FROM keys.patient_key
 WHERE length(wrapped) = 16 AND wrapped > :after ORDER BY wrapped LIMIT :limit

-- name: any_ticket
-- Whether a key lies in the store: of patients being erased it is gone.
SELECT EXISTS (SELECT FROM keys.patient_key AS key JOIN patient ON patient.id = key.patient_id
                WHERE length(key.wrapped) = 16 AND patient.state <> 'erasing')

-- name: in_place
SELECT patient_id, wrapped FROM keys.patient_key WHERE length(wrapped) <> 16 ORDER BY patient_id LIMIT :limit

-- name: count_in_place
SELECT count(*) FROM keys.patient_key WHERE length(wrapped) <> 16

-- name: put
UPDATE keys.patient_key SET wrapped = :after WHERE patient_id = :patient AND wrapped = :before

-- name: not_active
-- Of patients being erased the key goes first; of others it was gone when it was asked for once more.
SELECT patients.id FROM unnest(:patients::text[]) AS patients (id)
 WHERE NOT EXISTS (SELECT FROM patient JOIN keys.patient_key AS key ON key.patient_id = patient.id
                    WHERE patient.id = patients.id AND patient.state <> 'erasing')
