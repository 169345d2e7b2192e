-- FHIR resources as they were sent, every version of them, and the rows that searches ask.

CREATE TABLE resource (
    patient_id   text NOT NULL DEFAULT '',       -- the compartment's patient; '' where the type has none
    type         text NOT NULL,
    id           text NOT NULL,
    key          bigint GENERATED ALWAYS AS IDENTITY UNIQUE, -- what the index tables below point to
    version      integer NOT NULL,
    deleted      boolean NOT NULL DEFAULT false,
    last_updated timestamptz NOT NULL,
    happened     timestamptz,                    -- the type's own date (started, effective ...), to sort by
    study_uid    text,                           -- the study it is, or is about
    author       text NOT NULL DEFAULT '',       -- 'account:<id>' | 'client:<id>' | 'organization:<id>' | 'server'
    content_hash bytea NOT NULL DEFAULT '',      -- SHA-256 of the content less version and date: no change, no version
    json         bytea NOT NULL,                 -- with id and meta, UTF-8; empty when deleted
    PRIMARY KEY (patient_id, type, id),
    UNIQUE (type, id)
);
-- Searches go through one patient, or through all: newest first by `key`, which never changes (stable pages).
CREATE INDEX resource_patient ON resource (patient_id, type, key DESC);
CREATE INDEX resource_patient_recent ON resource (patient_id, type, last_updated DESC, key DESC);
CREATE INDEX resource_patient_happened ON resource (patient_id, type, happened DESC NULLS LAST, key DESC);
CREATE INDEX resource_type ON resource (type, key DESC);
CREATE INDEX resource_type_recent ON resource (type, last_updated DESC, key DESC);
CREATE INDEX resource_type_happened ON resource (type, happened DESC NULLS LAST, key DESC);
CREATE INDEX resource_study ON resource (patient_id, study_uid) WHERE study_uid IS NOT NULL;

-- Every version, the current one too: history and vread ask one table.
CREATE TABLE resource_version (
    patient_id   text NOT NULL DEFAULT '',
    type         text NOT NULL,
    id           text NOT NULL,
    version      integer NOT NULL,
    deleted      boolean NOT NULL DEFAULT false,
    last_updated timestamptz NOT NULL,
    study_uid    text,
    author       text NOT NULL DEFAULT '',
    method       text NOT NULL CHECK (method IN ('POST', 'PUT', 'PATCH', 'DELETE')),
    json         bytea NOT NULL,
    PRIMARY KEY (patient_id, type, id, version)
);
CREATE INDEX resource_version_id ON resource_version (type, id, version DESC);
CREATE INDEX resource_version_recent ON resource_version (type, last_updated DESC, id);
CREATE INDEX resource_version_patient ON resource_version (patient_id, last_updated DESC, type, id);

-- What a search asks. `param` is 'Type.parameter'; a modifier that needs another extraction has rows of its own
-- ('Patient.identifier:of-type'). Each table has two orders: by value (who has it?) and by resource (has it?).

CREATE TABLE index_token (
    patient_id text NOT NULL,
    key        bigint NOT NULL REFERENCES resource (key) ON DELETE CASCADE,
    param      text NOT NULL,
    code       text NOT NULL,
    system     text NOT NULL                     -- '' = none
);
CREATE INDEX index_token_value ON index_token (param, code, system, key);
CREATE INDEX index_token_key ON index_token (key, param);
CREATE STATISTICS index_token_together (mcv, dependencies) ON param, code FROM index_token;

CREATE TABLE index_string (
    patient_id text NOT NULL,
    key        bigint NOT NULL REFERENCES resource (key) ON DELETE CASCADE,
    param      text NOT NULL,
    folded     text NOT NULL,                    -- accents and case folded in Python
    value      text NOT NULL
);
CREATE INDEX index_string_value ON index_string (param, folded text_pattern_ops, key);
CREATE INDEX index_string_key ON index_string (key, param);

CREATE TABLE index_date (
    patient_id text NOT NULL,
    key        bigint NOT NULL REFERENCES resource (key) ON DELETE CASCADE,
    param      text NOT NULL,
    low        timestamptz NOT NULL,             -- the first moment it may be
    high       timestamptz NOT NULL              -- the first moment after it
);
CREATE INDEX index_date_low ON index_date (param, low, key);
CREATE INDEX index_date_high ON index_date (param, high, key);
CREATE INDEX index_date_key ON index_date (key, param);

CREATE TABLE index_reference (
    patient_id  text NOT NULL,
    key         bigint NOT NULL REFERENCES resource (key) ON DELETE CASCADE,
    param       text NOT NULL,
    target_type text NOT NULL,                   -- '' = no address of a resource (urn:, canonical), whole in target_id
    target_id   text NOT NULL,
    base        text NOT NULL                    -- '' = relative, here
);
CREATE INDEX index_reference_value ON index_reference (param, target_id, target_type, key);
CREATE INDEX index_reference_key ON index_reference (key, param);

CREATE TABLE index_uri (
    patient_id text NOT NULL,
    key        bigint NOT NULL REFERENCES resource (key) ON DELETE CASCADE,
    param      text NOT NULL,
    value      text NOT NULL
);
CREATE INDEX index_uri_value ON index_uri (param, value text_pattern_ops, key);
CREATE INDEX index_uri_key ON index_uri (key, param);

CREATE TABLE index_quantity (                    -- numbers too: without system and code
    patient_id text NOT NULL,
    key        bigint NOT NULL REFERENCES resource (key) ON DELETE CASCADE,
    param      text NOT NULL,
    low        numeric NOT NULL,
    high       numeric NOT NULL,
    system     text NOT NULL,
    code       text NOT NULL,
    unit       text NOT NULL
);
CREATE INDEX index_quantity_value ON index_quantity (param, low, key);
CREATE INDEX index_quantity_key ON index_quantity (key, param);
