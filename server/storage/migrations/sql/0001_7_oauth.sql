-- The authorization server's own short-lived things. Secrets are stored as SHA-256 of 256 random bits.

-- A code lives a minute and is spent once, by one UPDATE. The grant it makes has its id from the start, so that a
-- second use can end it.
CREATE TABLE authorization_code (
    code_hash    bytea PRIMARY KEY,
    client_id    text NOT NULL REFERENCES client ON DELETE CASCADE,
    grant_id     uuid NOT NULL,
    account_id   uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    session_id   uuid REFERENCES session ON DELETE CASCADE,
    patient_id   text REFERENCES patient ON DELETE CASCADE,
    redirect_uri text NOT NULL,
    challenge    text NOT NULL,                   -- PKCE, S256 always
    scope        text NOT NULL,
    nonce        text NOT NULL DEFAULT '',
    launch       jsonb NOT NULL DEFAULT '{}',
    grant_until  timestamptz,                     -- how long the person allowed
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz,
    replayed_at  timestamptz                      -- came a second time: no grant is made of it any more
);
CREATE INDEX authorization_code_expires ON authorization_code (expires_at);

-- The family of a refresh token is its grant: rotation adds a row, a second use of an old one ends the grant.
CREATE TABLE refresh_token (
    token_hash bytea PRIMARY KEY,
    grant_id   uuid NOT NULL REFERENCES app_grant ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX refresh_token_grant ON refresh_token (grant_id);

-- JWT ids of client assertions (RFC 7523): each is taken once while it could still be valid.
CREATE TABLE used_jti (
    client_id  text NOT NULL REFERENCES client ON DELETE CASCADE,
    jti        text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (client_id, jti)
);
CREATE INDEX used_jti_expires ON used_jti (expires_at);

-- Authorization requests kept on the server: pushed (RFC 9126), or posted by a form that came from elsewhere.
CREATE TABLE pushed_request (
    uri_hash   bytea PRIMARY KEY,
    client_id  text NOT NULL REFERENCES client ON DELETE CASCADE,
    parameters jsonb NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX pushed_request_expires ON pushed_request (expires_at);

-- EHR launch: what the app gets to know about where it was started from.
CREATE TABLE launch_context (
    launch_hash bytea PRIMARY KEY,
    client_id   text NOT NULL REFERENCES client ON DELETE CASCADE,
    account_id  uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    patient_id  text NOT NULL REFERENCES patient ON DELETE CASCADE,
    context     jsonb NOT NULL DEFAULT '{}',      -- encounter, fhirContext, need_patient_banner
    expires_at  timestamptz NOT NULL
);

-- Registered by the app itself (RFC 7591): the token that manages the registration (RFC 7592).
ALTER TABLE client ADD COLUMN registration_token_hash bytea;
