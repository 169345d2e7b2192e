-- Work to do later: written in the transaction it follows from, done at least once.

CREATE TABLE job (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL,
    payload    jsonb NOT NULL,                    -- whatever is secret or personal in it is sealed
    created_at timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,              -- not before; moved on while somebody works on it, and after a failure
    tries      integer NOT NULL DEFAULT 0,
    dead_at    timestamptz,                       -- given up: kept for the operator
    problem    text NOT NULL DEFAULT ''           -- what kind of failure the last one was; no content
);
CREATE INDEX job_due ON job (due_at) WHERE dead_at IS NULL;

-- What is done again and again: whoever moves the date does it.
CREATE TABLE periodic (
    name   text PRIMARY KEY,
    due_at timestamptz NOT NULL
);
