-- Rights of the people whose data this is: erasure, restriction, export, holds, disclosures, policy versions; and
-- what proves the log: signing keys of its heads, what of them was exported.

-- An erasure on its way, and the tombstone it leaves: a random id that says nothing. No foreign key to the patient:
-- this row outlives it, without its id.
CREATE TABLE erasure (
    id            uuid PRIMARY KEY,
    patient_id    text,                          -- null once nothing is left; or never, for an account without profile
    account_id    uuid,                          -- the account goes with its last profile; null: the profile only
    digest        bytea,                         -- SHA-256(id || patient id): whoever knows the patient's id can ask
    chain         uuid,                          -- of the audit events that stay, without a name
    step          text NOT NULL CHECK (step IN ('waiting', 'taken-back', 'closed', 'key', 'rows', 'objects', 'done')),
    requested_at  timestamptz NOT NULL,
    due_at        timestamptz NOT NULL,          -- after the cooling-off
    done_at       timestamptz,
    steps         jsonb NOT NULL DEFAULT '{}',   -- when each step was done, and how much there was
    packs         uuid[] NOT NULL DEFAULT '{}',  -- files that held objects of the patient
    told          integer NOT NULL DEFAULT 0,    -- recipients who were told
    sealed        bytea,                         -- where the proof is sent; gone with it
    proof         bytea,                         -- signed, no name in it
    signature     bytea
);
CREATE INDEX erasure_patient ON erasure (patient_id) WHERE patient_id IS NOT NULL;
CREATE INDEX erasure_account ON erasure (account_id) WHERE account_id IS NOT NULL;

-- Restriction: stored only (GDPR, art. 18). The state is in patient.state; who asked for it, and why, is here.
ALTER TABLE patient ADD COLUMN restricted_at timestamptz;
ALTER TABLE patient ADD COLUMN restricted_by text NOT NULL DEFAULT '';   -- patient | operator
ALTER TABLE patient ADD COLUMN restricted_why text NOT NULL DEFAULT '';

-- An authority or a law demands that something is kept: it beats erasure, and the patient is told so.
CREATE TABLE hold (
    id           uuid PRIMARY KEY,
    patient_id   text NOT NULL REFERENCES patient ON DELETE CASCADE,
    authority    text NOT NULL,
    scope        text NOT NULL,                  -- which part, in words the patient is shown
    reason       text NOT NULL,
    placed_at    timestamptz NOT NULL,
    placed_by    uuid REFERENCES account ON DELETE SET NULL,
    review_at    timestamptz NOT NULL,
    released_by  uuid REFERENCES account ON DELETE SET NULL,
    released_at  timestamptz
);
CREATE INDEX hold_patient ON hold (patient_id) WHERE released_at IS NULL;

-- What was given to an authority: accounting for six years (HIPAA 164.528), and the notice to the patient.
CREATE TABLE disclosure (
    id              uuid PRIMARY KEY,
    patient_id      text NOT NULL REFERENCES patient ON DELETE CASCADE,
    disclosed_at    timestamptz NOT NULL,
    recipient       text NOT NULL,
    description     text NOT NULL,
    purpose         text NOT NULL,
    legal_basis     text NOT NULL,
    recorded_at     timestamptz NOT NULL,
    recorded_by     uuid REFERENCES account ON DELETE SET NULL,
    suspended_until timestamptz,                 -- no notice before
    suspended_by    text NOT NULL DEFAULT '',    -- the authority that demands it
    notified_at     timestamptz,                 -- the mail was handed to the queue
    notified_to     integer NOT NULL DEFAULT 0   -- how many addresses; 0 with a date: nobody could be reached
);
CREATE INDEX disclosure_patient ON disclosure (patient_id, disclosed_at DESC);
CREATE INDEX disclosure_waiting ON disclosure (suspended_until) WHERE notified_at IS NULL;

-- A copy of everything, as it was planned: the same bytes however often and from wherever it is fetched.
CREATE TABLE data_export (
    id          uuid PRIMARY KEY,
    patient_id  text NOT NULL REFERENCES patient ON DELETE CASCADE,
    account_id  uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    state       text NOT NULL CHECK (state IN ('preparing', 'ready', 'failed')),
    created_at  timestamptz NOT NULL,
    ready_at    timestamptz,
    expires_at  timestamptz NOT NULL,
    files       integer NOT NULL DEFAULT 0,
    size        bigint NOT NULL DEFAULT 0        -- of the whole ZIP
);
CREATE INDEX data_export_account ON data_export (account_id, created_at DESC);

-- One file of it: an original image (by its UID), or content made for it, in parts sealed with the patient's key.
CREATE TABLE data_export_file (
    patient_id  text NOT NULL REFERENCES patient ON DELETE CASCADE,
    export_id   uuid NOT NULL REFERENCES data_export ON DELETE CASCADE,
    number      integer NOT NULL,
    path        text NOT NULL,
    sop_uid     text,                            -- null: the parts below
    size        bigint NOT NULL,
    sha256      bytea NOT NULL,
    crc         bigint NOT NULL,                 -- CRC-32, as a ZIP wants it before the content
    PRIMARY KEY (export_id, number)
);
CREATE TABLE data_export_part (
    patient_id  text NOT NULL REFERENCES patient ON DELETE CASCADE,
    export_id   uuid NOT NULL REFERENCES data_export ON DELETE CASCADE,
    file        integer NOT NULL,
    number      integer NOT NULL,
    sealed      bytea NOT NULL,
    PRIMARY KEY (export_id, file, number)
);

-- Which version of the policy was announced, and what each person answered. Append-only.
CREATE TABLE policy_announced (
    version      integer PRIMARY KEY,
    announced_at timestamptz NOT NULL,
    told_up_to   timestamptz                     -- accounts made before this were mailed; null: none yet
);
CREATE TABLE policy_answer (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    version    integer NOT NULL,
    agreed     boolean NOT NULL,
    at         timestamptz NOT NULL,
    language   text NOT NULL,
    text_hash  bytea NOT NULL
);
CREATE INDEX policy_answer_account ON policy_answer (account_id, version, at DESC);

-- That a copy of the master key was seen elsewhere: by the digest of a key, never the key.
CREATE TABLE keys.confirmed_copy (
    fingerprint  bytea PRIMARY KEY,
    confirmed_at timestamptz NOT NULL
);

-- The keys that sign the heads of the log; the private half is sealed with the master key.
CREATE TABLE audit_key (
    kid        text PRIMARY KEY,
    public     bytea NOT NULL,                   -- Ed25519, raw
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL
);

-- How far each chain was exported with a signature.
CREATE TABLE audit_exported (
    chain uuid PRIMARY KEY,
    seq   bigint NOT NULL
);
