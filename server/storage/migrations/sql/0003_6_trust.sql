-- Patients' keys may lie in a database of their own (LIGHTBOX_KEYS_DATABASE_URL): then `wrapped` holds the ticket that
-- finds the key there, and this table names that database, so that no start takes another one for it.
CREATE TABLE keys.store (
    id    uuid PRIMARY KEY,
    since timestamptz NOT NULL
);
CREATE INDEX patient_key_ticket ON keys.patient_key (wrapped) WHERE length(wrapped) = 16;

-- The key that seals what the system's log says about one account (sign-ins, changes of its address): destroyed with
-- the account, so that its names go and the chain stays whole. Without a reference: the key goes by itself.
CREATE TABLE keys.account_key (
    account_id uuid PRIMARY KEY,
    wrapped    bytea NOT NULL,
    created_at timestamptz NOT NULL
);

-- What retention found, and whether it was removed: numbers by rule, no names.
CREATE TABLE retention_run (
    id     uuid PRIMARY KEY,
    at     timestamptz NOT NULL,
    region text NOT NULL,
    purged boolean NOT NULL,                     -- false: looked only
    found  jsonb NOT NULL                        -- rule -> days, due, held back, removed, oldest
);
CREATE INDEX retention_run_at ON retention_run (at DESC);
