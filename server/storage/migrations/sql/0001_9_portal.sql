-- What people say on the portal's own pages: permissions, and messages to the people who run this.

-- Append-only: the last row of a purpose is the word that holds.
CREATE TABLE permission (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    purpose      text NOT NULL,
    given        boolean NOT NULL,
    at           timestamptz NOT NULL,
    text_hash    bytea NOT NULL,                 -- SHA-256 of the sentence that was shown
    text_version integer NOT NULL,
    language     text NOT NULL,
    channel      text NOT NULL                   -- sign-up | account
);
CREATE INDEX permission_account ON permission (account_id, at DESC);

CREATE TABLE help_message (
    id         uuid PRIMARY KEY,
    account_id uuid REFERENCES account ON DELETE SET NULL,
    subject    text NOT NULL,
    sealed     bytea NOT NULL,                   -- name, address, text: people write health data to us, whatever we ask
    created_at timestamptz NOT NULL,
    answer_by  timestamptz NOT NULL,
    closed_at  timestamptz
);
CREATE INDEX help_message_open ON help_message (answer_by) WHERE closed_at IS NULL;
