-- What people do on the portal beyond the foundation: guest links, passes for viewers on a desktop, the wish to be
-- told of each access, uploads that go on after a reload.

-- A link for somebody without an account. Its id stands in the address and is no secret; the secret is the code that
-- is mailed, and the visit that follows from it.
CREATE TABLE guest_link (
    id             text PRIMARY KEY,
    patient_id     text NOT NULL REFERENCES patient ON DELETE CASCADE,
    name           text NOT NULL,               -- of the guest, as the patient typed it
    email          text NOT NULL,
    rights         text[] NOT NULL,             -- of images, reports, download
    studies        text[],                      -- Study Instance UIDs; null: the whole profile, later ones too
    created_at     timestamptz NOT NULL,
    until          timestamptz NOT NULL,
    tries          integer NOT NULL DEFAULT 0,  -- wrong birth dates and wrong codes, together
    codes          integer NOT NULL DEFAULT 0,  -- mailed so far
    last_looked_at timestamptz,
    ended_at       timestamptz,
    ended_why      text NOT NULL DEFAULT '' CHECK (ended_why IN ('', 'revoked', 'tries'))
);
CREATE INDEX guest_link_patient ON guest_link (patient_id, created_at DESC);

-- A guest's browser: it knew the birth date (a code was mailed), and then the code (`opened_at`).
CREATE TABLE guest_visit (
    id          uuid PRIMARY KEY,
    link_id     text NOT NULL REFERENCES guest_link ON DELETE CASCADE,
    patient_id  text NOT NULL REFERENCES patient ON DELETE CASCADE,
    secret_hash bytea NOT NULL UNIQUE,           -- of the cookie
    code_hash   bytea,
    created_at  timestamptz NOT NULL,
    opened_at   timestamptz,
    until       timestamptz NOT NULL,
    ended_at    timestamptz
);
CREATE INDEX guest_visit_link ON guest_visit (link_id);
CREATE INDEX guest_visit_until ON guest_visit (until);

-- Weasis, 3D Slicer: a key to one study, for reading, an hour long. It opens what its person may see, never more.
CREATE TABLE viewer_pass (
    id          uuid PRIMARY KEY,
    patient_id  text NOT NULL REFERENCES patient ON DELETE CASCADE,
    account_id  uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    study_uid   text NOT NULL,
    viewer      text NOT NULL,                   -- weasis | slicer
    secret_hash bytea NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    ended_at    timestamptz
);
CREATE INDEX viewer_pass_account ON viewer_pass (account_id, created_at DESC);
CREATE INDEX viewer_pass_patient ON viewer_pass (patient_id, created_at DESC);

-- How somebody who holds a profile wants to be told that others looked.
CREATE TABLE access_notice (
    patient_id text NOT NULL REFERENCES patient ON DELETE CASCADE,
    account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    how        text NOT NULL CHECK (how IN ('each', 'daily', 'off')),
    told_until timestamptz NOT NULL,             -- looks before this moment are told of
    PRIMARY KEY (patient_id, account_id)
);

-- One disc on its way in: what it holds, to say what is missing after a reload or a crash.
CREATE TABLE upload (
    id         uuid PRIMARY KEY,
    patient_id text NOT NULL REFERENCES patient ON DELETE CASCADE,
    account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    uids       text[] NOT NULL,                  -- SOP Instance UIDs chosen to be sent
    studies    integer NOT NULL,
    listed     integer,                          -- images that the disc's own list (DICOMDIR) names
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    done_at    timestamptz
);
CREATE INDEX upload_open ON upload (patient_id, created_at DESC) WHERE done_at IS NULL;
