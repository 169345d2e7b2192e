-- Profiles of others: made by a doctor and claimed by the patient, held by a guardian, opened in an emergency.

-- Codes that open a way to a profile, one of each purpose; stored as SHA-256 of 60 random bits, few tries.
CREATE TABLE profile_code (
    patient_id   text NOT NULL REFERENCES patient ON DELETE CASCADE,
    purpose      text NOT NULL CHECK (purpose IN ('claim', 'guardian', 'emergency')),
    code_hash    bytea NOT NULL UNIQUE,
    email_folded text NOT NULL DEFAULT '',       -- whose verified address opens it without the code (claim)
    made_by      uuid REFERENCES account ON DELETE SET NULL,
    made_at      timestamptz NOT NULL,
    until        timestamptz,
    tries        integer NOT NULL DEFAULT 0,     -- right codes with a wrong birth date
    PRIMARY KEY (patient_id, purpose)
);
CREATE INDEX profile_code_email ON profile_code (email_folded) WHERE email_folded <> '';

-- Whose record the portal shows, where a person holds several.
ALTER TABLE session ADD COLUMN patient_id text REFERENCES patient ON DELETE SET NULL;
