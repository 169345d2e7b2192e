-- The chained log. A chain per patient and one for the system; names only as random pseudonyms, so that erasing
-- a patient breaks no chain; details are sealed with the patient's key.

CREATE TABLE pseudonym (
    subject   text PRIMARY KEY,                  -- 'patient:<id>', 'account:<id>', 'client:<id>'
    pseudonym uuid NOT NULL UNIQUE
);

CREATE TABLE audit_head (
    chain uuid PRIMARY KEY,                      -- the patient's pseudonym; all zeros: the system's own
    seq   bigint NOT NULL,
    hash  bytea NOT NULL
);

CREATE TABLE audit_event (
    chain    uuid NOT NULL,
    seq      bigint NOT NULL,
    id       uuid NOT NULL UNIQUE,
    at       timestamptz NOT NULL,
    event    text NOT NULL,
    outcome  text NOT NULL,
    actor    uuid,                               -- pseudonym of the account or client that acted
    client   uuid,                               -- pseudonym of the app it acted through
    payload  bytea NOT NULL,                     -- canonical JSON: all that is hashed
    hash     bytea NOT NULL,                     -- SHA-256(previous hash || payload)
    fold     text UNIQUE,                        -- 'viewed' events of one caller, study and hour are one
    PRIMARY KEY (chain, seq)
);
CREATE INDEX audit_event_at ON audit_event (chain, at DESC);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$;
CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
