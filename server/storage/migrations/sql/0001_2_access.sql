-- Who there is to have a right: patients, practitioners, organizations; and what lets an app act for them.
-- These rows are what access/reach.py asks inside every statement that touches patient data.

CREATE TABLE organization (
    id                text PRIMARY KEY,          -- FHIR id
    name              text NOT NULL,
    identifier_system text NOT NULL UNIQUE,      -- the one system its patient identifiers live in
    issuers           text[] NOT NULL DEFAULT '{}', -- its DICOM Issuer of Patient ID (0010,0021) strings, folded
    runs_this_server  boolean NOT NULL DEFAULT false,
    created_at        timestamptz NOT NULL
);

-- Persons who manage an organization (accounts of role provider).
CREATE TABLE organization_member (
    organization_id text NOT NULL REFERENCES organization,
    account_id      uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    PRIMARY KEY (organization_id, account_id)
);

CREATE TABLE patient (
    id                      text PRIMARY KEY,    -- FHIR id
    state                   text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'restricted', 'erasing')),
    created_at              timestamptz NOT NULL,
    created_by_organization text REFERENCES organization,
    created_by_account      uuid REFERENCES account ON DELETE SET NULL,
    claimed_at              timestamptz          -- null: nobody owns this profile yet
);

-- Who holds a profile: the patient, or a guardian. Ownership is this row, nothing else.
CREATE TABLE holder (
    patient_id text NOT NULL REFERENCES patient ON DELETE CASCADE,
    account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    as_what    text NOT NULL DEFAULT 'self' CHECK (as_what IN ('self', 'guardian')),
    since      timestamptz NOT NULL,
    until      timestamptz,
    PRIMARY KEY (patient_id, account_id)
);
CREATE INDEX holder_account ON holder (account_id);

-- Identifiers that an organization or an operator asserted: the only ones a provider's store matches (decision 6).
CREATE TABLE patient_identifier (
    organization_id text NOT NULL REFERENCES organization,
    value           text NOT NULL,
    patient_id      text NOT NULL REFERENCES patient ON DELETE CASCADE,
    PRIMARY KEY (organization_id, value)
);
CREATE INDEX patient_identifier_patient ON patient_identifier (patient_id);

-- The key of each patient, wrapped by the master key. In a schema of its own, with a backup of its own:
-- destroying the row makes everything sealed with it unreadable.
CREATE SCHEMA keys;
CREATE TABLE keys.patient_key (
    patient_id text PRIMARY KEY,
    wrapped    bytea NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE practitioner (
    id                  text PRIMARY KEY,        -- FHIR id
    account_id          uuid UNIQUE REFERENCES account ON DELETE SET NULL,
    name                text NOT NULL,
    specialty           text NOT NULL DEFAULT '',
    organization_name   text NOT NULL DEFAULT '',
    registration_number text NOT NULL DEFAULT '',
    authority           text NOT NULL DEFAULT '',
    verification        text NOT NULL DEFAULT 'unverified'
                        CHECK (verification IN ('unverified', 'verified', 'suspended')),
    created_at          timestamptz NOT NULL
);

-- A patient's share of the record with one practitioner or organization; each has a Consent resource beside it.
CREATE TABLE share (
    patient_id      text NOT NULL REFERENCES patient ON DELETE CASCADE,
    id              text NOT NULL UNIQUE,        -- the FHIR id of its Consent
    practitioner_id text REFERENCES practitioner, -- null until someone accepted
    organization_id text REFERENCES organization,
    name            text NOT NULL,               -- of the doctor, as the patient typed it
    email           text NOT NULL DEFAULT '',
    email_folded    text NOT NULL DEFAULT '',
    state           text NOT NULL CHECK (state IN
                    ('requested', 'invited', 'active', 'declined', 'withdrawn', 'expired', 'ended')),
    rights          text[] NOT NULL,             -- of images, reports, download, add, pass-on
    studies         text[],                      -- Study Instance UIDs; null: the whole profile, later ones too
    message         text NOT NULL DEFAULT '',
    secret_hash     bytea,                       -- of the invitation link
    created_at      timestamptz NOT NULL,
    waits_until     timestamptz,                 -- an invitation waits 336 hours
    accepted_at     timestamptz,
    until           timestamptz,                 -- chosen end
    ended_at        timestamptz,
    last_looked_at  timestamptz,
    parent_id       text,                        -- passed on by whom
    PRIMARY KEY (patient_id, id)
);
CREATE INDEX share_practitioner ON share (practitioner_id, patient_id) WHERE state = 'active';
CREATE INDEX share_organization ON share (organization_id, patient_id) WHERE state = 'active';
CREATE UNIQUE INDEX share_secret ON share (secret_hash) WHERE secret_hash IS NOT NULL;
CREATE INDEX share_email ON share (email_folded) WHERE state IN ('invited', 'requested');

CREATE TABLE client (
    id              text PRIMARY KEY,            -- client_id
    name            text NOT NULL,
    type            text NOT NULL CHECK (type IN
                    ('public', 'confidential-symmetric', 'confidential-asymmetric', 'backend')),
    secret_hash     bytea,
    redirect_uris   text[] NOT NULL DEFAULT '{}',
    scope           text NOT NULL DEFAULT '',
    jwks            jsonb,
    jwks_uri        text,
    launch_url      text,
    logo_uri        text,
    contact         text NOT NULL DEFAULT '',
    organization_id text REFERENCES organization,
    trusted         boolean NOT NULL DEFAULT false,  -- reaches everything: an operator's decision (decision 2)
    verified        boolean NOT NULL DEFAULT false,
    registered_by   text NOT NULL DEFAULT 'operator', -- operator | dynamic
    created_at      timestamptz NOT NULL,
    disabled_at     timestamptz
);

-- What lets an app act: one row a consent given (or a backend token issued). Tokens name it; when it ends, they end.
CREATE TABLE app_grant (
    id           uuid PRIMARY KEY,
    client_id    text NOT NULL REFERENCES client ON DELETE CASCADE,
    account_id   uuid REFERENCES account ON DELETE CASCADE,   -- null: a backend client for itself
    session_id   uuid REFERENCES session ON DELETE SET NULL,  -- online_access dies with it
    patient_id   text REFERENCES patient ON DELETE CASCADE,   -- the patient in context
    scope        text NOT NULL,
    launch       jsonb NOT NULL DEFAULT '{}',                 -- encounter, fhirContext, ...
    online       boolean NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL,
    used_at      timestamptz,
    expires_at   timestamptz,
    ended_at     timestamptz,
    ended_why    text NOT NULL DEFAULT ''
);
CREATE INDEX app_grant_account ON app_grant (account_id) WHERE ended_at IS NULL;
CREATE INDEX app_grant_client ON app_grant (client_id) WHERE ended_at IS NULL;
CREATE INDEX app_grant_patient ON app_grant (patient_id) WHERE ended_at IS NULL;

-- Keys that sign tokens; the private half is sealed with the master key.
CREATE TABLE signing_key (
    kid        text PRIMARY KEY,
    algorithm  text NOT NULL CHECK (algorithm IN ('ES256', 'RS256')),
    public     jsonb NOT NULL,
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz                        -- verifies, signs no more
);
