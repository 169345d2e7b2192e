-- Signing in beyond the password, the safety of an account, duties of operators, and what the watch over the log found.

-- What an operator may do: support, privacy, verifier, security. Those there are keep all of it.
ALTER TABLE account ADD COLUMN duties text[] NOT NULL DEFAULT '{}';
UPDATE account SET duties = '{support,privacy,verifier,security}' WHERE role = 'operator';

ALTER TABLE session ADD COLUMN factor text NOT NULL DEFAULT ''   -- what stood beside the password; '': nothing
    CHECK (factor IN ('', 'passkey', 'totp', 'recovery'));

ALTER TABLE one_time_secret DROP CONSTRAINT one_time_secret_purpose_check;
ALTER TABLE one_time_secret ADD CONSTRAINT one_time_secret_purpose_check
    CHECK (purpose IN ('verify-email', 'reset-password', 'factor-lost', 'factor-kept'));

CREATE TABLE passkey (
    id            uuid PRIMARY KEY,
    account_id    uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    credential_id bytea NOT NULL UNIQUE,
    public_key    bytea NOT NULL,                -- COSE
    sign_count    bigint NOT NULL,
    place         text NOT NULL,                 -- the relying party id it was made for
    name          text NOT NULL,                 -- as its owner calls it
    created_at    timestamptz NOT NULL,
    used_at       timestamptz
);
CREATE INDEX passkey_account ON passkey (account_id);

-- One ceremony of a passkey, begun: answered once, within minutes.
CREATE TABLE passkey_challenge (
    challenge_hash bytea PRIMARY KEY,
    purpose        text NOT NULL CHECK (purpose IN ('register', 'sign-in', 'second', 'confirm')),
    account_id     uuid REFERENCES account ON DELETE CASCADE,   -- null: whoever signs in
    expires_at     timestamptz NOT NULL
);

CREATE TABLE totp (
    account_id   uuid PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    sealed       bytea NOT NULL,                 -- the shared secret, sealed with the system's key
    created_at   timestamptz NOT NULL,
    last_step    bigint NOT NULL DEFAULT 0       -- a code of this half minute or an earlier one is spent
);

CREATE TABLE recovery_code (
    account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    code_hash  bytea NOT NULL,                   -- SHA-256: the codes are random
    created_at timestamptz NOT NULL,
    used_at    timestamptz,
    PRIMARY KEY (account_id, code_hash)
);

-- The password was right, and something is still to be shown or set up: no session, nothing can be reached with it.
CREATE TABLE sign_in_step (
    id          uuid PRIMARY KEY,
    secret_hash bytea NOT NULL UNIQUE,           -- of the cookie
    account_id  uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('second', 'set-up')),
    csrf_token  text NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz
);

-- Both, the second factor and the recovery codes, are lost: after some days of waiting, with a mail, it can be taken off.
CREATE TABLE factor_loss (
    id           uuid PRIMARY KEY,
    account_id   uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    asked_at     timestamptz NOT NULL,
    ripe_at      timestamptz NOT NULL,
    mailed_at    timestamptz,                    -- the link that takes it off
    cancelled_at timestamptz,
    done_at      timestamptz
);
CREATE UNIQUE INDEX factor_loss_open ON factor_loss (account_id) WHERE cancelled_at IS NULL AND done_at IS NULL;

-- Another e-mail address: confirmed from the new one, taken back from the old one for some days.
CREATE TABLE email_change (
    id           uuid PRIMARY KEY,
    account_id   uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    old_email    text NOT NULL,
    new_email    text NOT NULL,
    confirm_hash bytea NOT NULL UNIQUE,
    undo_hash    bytea NOT NULL UNIQUE,
    asked_at     timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    confirmed_at timestamptz,
    undo_until   timestamptz NOT NULL,
    undone_at    timestamptz
);
CREATE INDEX email_change_account ON email_change (account_id, asked_at DESC);

-- What an operator said of a doctor, in order.
CREATE TABLE verification_act (
    id              uuid PRIMARY KEY,
    practitioner_id text NOT NULL REFERENCES practitioner ON DELETE CASCADE,
    state           text NOT NULL CHECK (state IN ('unverified', 'verified', 'suspended')),
    reason          text NOT NULL,
    at              timestamptz NOT NULL,
    by_account      uuid REFERENCES account ON DELETE SET NULL
);
CREATE INDEX verification_act_of ON verification_act (practitioner_id, at DESC);

-- Requests that came through contact: what they ask for, how the person was recognised, how it ended.
ALTER TABLE help_message ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;
ALTER TABLE help_message ADD COLUMN kind text NOT NULL DEFAULT '';
ALTER TABLE help_message ADD COLUMN identity_how text NOT NULL DEFAULT '';
ALTER TABLE help_message ADD COLUMN identity_at timestamptz;
ALTER TABLE help_message ADD COLUMN extended_why text NOT NULL DEFAULT '';
ALTER TABLE help_message ADD COLUMN outcome text NOT NULL DEFAULT '';

CREATE TABLE request_note (
    id         uuid PRIMARY KEY,
    message_id uuid NOT NULL REFERENCES help_message ON DELETE CASCADE,
    at         timestamptz NOT NULL,
    by_account uuid REFERENCES account ON DELETE SET NULL,
    act        text NOT NULL,
    sealed     bytea NOT NULL
);
CREATE INDEX request_note_of ON request_note (message_id, at);

-- Four eyes: what one operator proposes and another one does.
CREATE TABLE proposal (
    id          uuid PRIMARY KEY,
    kind        text NOT NULL,
    patient_id  text REFERENCES patient ON DELETE CASCADE,
    sealed      bytea NOT NULL,                  -- what exactly, and why
    proposed_at timestamptz NOT NULL,
    proposed_by uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    expires_at  timestamptz NOT NULL,
    decided_at  timestamptz,
    decided_by  uuid REFERENCES account ON DELETE SET NULL,
    decision    text NOT NULL DEFAULT '' CHECK (decision IN ('', 'done', 'refused'))
);
CREATE INDEX proposal_open ON proposal (proposed_at) WHERE decided_at IS NULL;

-- An operator looks into one record, with a reason, for a while; the patient is told at once.
CREATE TABLE emergency_access (
    id         uuid PRIMARY KEY,
    patient_id text NOT NULL REFERENCES patient ON DELETE CASCADE,
    account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    reason     text NOT NULL,
    begun_at   timestamptz NOT NULL,
    until      timestamptz NOT NULL,
    ended_at   timestamptz
);
CREATE INDEX emergency_access_of ON emergency_access (account_id, patient_id, until);

-- What looks wrong, found by the watch over the log or written down by an operator. No names: pseudonyms and numbers.
CREATE TABLE incident (
    id         uuid PRIMARY KEY,
    number     bigint GENERATED ALWAYS AS IDENTITY,
    rule       text NOT NULL,                    -- of the watch; 'reported': by an operator
    key        text UNIQUE,                      -- the same finding again is the same incident
    actor      uuid,                             -- pseudonym of the account or client
    account_id uuid REFERENCES account ON DELETE SET NULL,
    client_id  text REFERENCES client ON DELETE SET NULL,
    count      bigint NOT NULL DEFAULT 0,
    words      text NOT NULL DEFAULT '',
    opened_at  timestamptz NOT NULL,
    seen_until timestamptz NOT NULL,             -- of what was counted
    breach_at  timestamptz,                      -- when it was known to be one: 72 hours and 60 days run from here
    told_authority_at timestamptz,
    told_people_at    timestamptz,
    closed_at  timestamptz,
    closed_by  uuid REFERENCES account ON DELETE SET NULL,
    outcome    text NOT NULL DEFAULT ''
);
CREATE INDEX incident_open ON incident (opened_at DESC) WHERE closed_at IS NULL;

CREATE TABLE incident_patient (
    incident_id uuid NOT NULL REFERENCES incident ON DELETE CASCADE,
    patient_id  text NOT NULL REFERENCES patient ON DELETE CASCADE,
    PRIMARY KEY (incident_id, patient_id)
);

CREATE TABLE incident_note (
    id          uuid PRIMARY KEY,
    incident_id uuid NOT NULL REFERENCES incident ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    by_account  uuid REFERENCES account ON DELETE SET NULL,
    words       text NOT NULL
);

-- What an account's owner reads of their own sign-ins.
CREATE INDEX audit_event_account ON audit_event (actor, at DESC) WHERE event LIKE 'account:%';

-- The watch reads the log by time; rows come in about that order.
CREATE INDEX audit_event_time ON audit_event USING brin (at) WITH (pages_per_range = 16);
