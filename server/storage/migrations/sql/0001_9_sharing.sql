-- A doctor asked somebody for access by e-mail. Kept apart from shares: whether the address belongs to a patient is
-- not the doctor's to learn, so the same row is written for any address. It becomes a share when there is a profile.

CREATE TABLE access_request (
    id              text PRIMARY KEY,
    practitioner_id text NOT NULL REFERENCES practitioner ON DELETE CASCADE,
    email           text NOT NULL,               -- as the doctor typed it
    email_folded    text NOT NULL,
    rights          text[] NOT NULL,
    message         text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL,
    waits_until     timestamptz NOT NULL,
    share_id        text                         -- the share it became
);
CREATE INDEX access_request_email ON access_request (email_folded) WHERE share_id IS NULL;
CREATE INDEX access_request_practitioner ON access_request (practitioner_id, created_at DESC);

CREATE INDEX share_waiting ON share (waits_until) WHERE state IN ('invited', 'requested');
CREATE INDEX share_until ON share (until) WHERE state = 'active' AND until IS NOT NULL;
CREATE INDEX share_parent ON share (parent_id) WHERE parent_id IS NOT NULL;
