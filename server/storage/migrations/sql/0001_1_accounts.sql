-- People who can sign in, and the sessions they have open.

CREATE TABLE account (
    id                uuid PRIMARY KEY,
    email             text NOT NULL,            -- as typed
    email_folded      text NOT NULL UNIQUE,     -- trimmed, in lower case (Python; no citext here)
    email_verified_at timestamptz,
    name              text NOT NULL,
    role              text NOT NULL CHECK (role IN ('patient', 'doctor', 'provider', 'operator')),
    password_hash     text NOT NULL,
    language          text NOT NULL DEFAULT 'en',
    created_at        timestamptz NOT NULL,
    disabled_at       timestamptz
);

CREATE TABLE session (
    id           uuid PRIMARY KEY,
    secret_hash  bytea NOT NULL UNIQUE,          -- SHA-256 of the cookie's 256-bit value
    account_id   uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    csrf_token   text NOT NULL,
    user_agent   text NOT NULL DEFAULT '',
    address      text NOT NULL DEFAULT '',
    network      text NOT NULL DEFAULT '',       -- of the address; tries from where the owner signs in wait less
    created_at   timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL,
    confirmed_at timestamptz NOT NULL,           -- when the password was last typed (step-up)
    idle_until   timestamptz NOT NULL,           -- 30 minutes after the last use
    expires_at   timestamptz NOT NULL,           -- 12 hours, whatever happens
    ended_at     timestamptz
);
CREATE INDEX session_account ON session (account_id) WHERE ended_at IS NULL;
CREATE INDEX session_network ON session (account_id, network, created_at);

-- One-time secrets that go out by mail: verify an address, reset a password.
CREATE TABLE one_time_secret (
    secret_hash bytea PRIMARY KEY,
    account_id  uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    purpose     text NOT NULL CHECK (purpose IN ('verify-email', 'reset-password')),
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz
);

-- Failed tries by account and by address: a growing delay, never a lock-out.
CREATE TABLE attempt (
    subject text PRIMARY KEY,                    -- a word for what is tried, and a digest of whose or from where
    tries   integer NOT NULL,
    last_at timestamptz NOT NULL
);
