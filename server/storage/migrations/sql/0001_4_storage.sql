-- Files of encrypted objects. A row is 'pending' before the file exists, 'ready' in the transaction that makes
-- its objects visible; what stays pending is swept.

CREATE TABLE pack (
    id         uuid PRIMARY KEY,
    state      text NOT NULL CHECK (state IN ('pending', 'ready')),
    size       bigint NOT NULL DEFAULT 0,         -- bytes on disk
    created_at timestamptz NOT NULL,
    alive_at   timestamptz NOT NULL               -- while pending: when its writer last said that it lives
);
CREATE INDEX pack_pending ON pack (alive_at) WHERE state = 'pending';
