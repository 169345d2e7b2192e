-- What the authorization server needed beyond the foundation.

-- Who stands behind an app, for people to read before they allow it; the logo is fetched once and kept as a PNG.
ALTER TABLE client ADD COLUMN client_uri text;
ALTER TABLE client ADD COLUMN policy_uri text;
ALTER TABLE client ADD COLUMN tos_uri text;
ALTER TABLE client ADD COLUMN logo bytea;

-- When the person proved who they are (OpenID Connect Core, 2: auth_time), from the code on to every id_token.
ALTER TABLE authorization_code ADD COLUMN auth_time timestamptz;
ALTER TABLE app_grant ADD COLUMN auth_time timestamptz;

-- The person who acts for a child, as a FHIR RelatedPerson of that record: one for each guardian and child.
CREATE TABLE related_person (
    patient_id text NOT NULL REFERENCES patient ON DELETE CASCADE,
    account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    id         text NOT NULL UNIQUE,             -- FHIR id
    PRIMARY KEY (patient_id, account_id)
);

-- App State (SMART App Launch 2.2): what an app keeps here for itself. About a patient, a person who signs in, or
-- (both null) the app as a whole. The resource is sealed, for it may hold keys. A deleted one keeps its row: its id
-- fails every precondition from then on.
CREATE TABLE app_state (
    id         text PRIMARY KEY,
    client_id  text NOT NULL REFERENCES client ON DELETE CASCADE,
    patient_id text REFERENCES patient ON DELETE CASCADE,
    account_id uuid REFERENCES account ON DELETE CASCADE,
    subject    text NOT NULL DEFAULT '',         -- the absolute reference, as given
    system     text NOT NULL,                    -- of the one Coding
    code       text NOT NULL,
    version    integer NOT NULL DEFAULT 1,
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE INDEX app_state_of_client ON app_state (client_id, code, subject) WHERE deleted_at IS NULL;
CREATE INDEX app_state_of_patient ON app_state (patient_id);
CREATE INDEX app_state_of_account ON app_state (account_id);
