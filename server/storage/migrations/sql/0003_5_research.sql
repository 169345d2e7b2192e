-- Research: projects that get images without names, who takes part, what was given, what has to be deleted again.

CREATE TABLE research_project (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    organization text NOT NULL,                -- who does it
    description  text NOT NULL,                -- what for, in words for patients
    purpose      text NOT NULL CHECK (purpose IN ('research-nonprofit', 'research-commercial', 'education')),
    contact      text NOT NULL,                -- e-mail: is told what to delete
    dates        boolean NOT NULL,             -- options of PS3.15, E.3
    characteristics boolean NOT NULL,
    device       boolean NOT NULL,
    descriptors  boolean NOT NULL,
    faces        boolean NOT NULL,
    modalities   text[] NOT NULL DEFAULT '{}', -- none: all
    sealed_key   bytea NOT NULL,               -- pseudonyms, UIDs and dates are made with it
    created_at   timestamptz NOT NULL,
    created_by   uuid REFERENCES account ON DELETE SET NULL,
    approved_at  timestamptz,
    approved_by  uuid REFERENCES account ON DELETE SET NULL,
    until        timestamptz NOT NULL,
    ended_at     timestamptz
);

-- Who takes part: a row each time somebody joins, with the sentence that was shown; it is never changed but for its end.
CREATE TABLE research_member (
    id           uuid PRIMARY KEY,
    patient_id   text NOT NULL REFERENCES patient ON DELETE CASCADE,
    account_id   uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    project_id   uuid NOT NULL REFERENCES research_project ON DELETE CASCADE,
    pseudonym    text NOT NULL,
    joined_at    timestamptz NOT NULL,
    text_hash    bytea NOT NULL,               -- SHA-256 of the sentence and of the project's description
    text_version integer NOT NULL,
    language     text NOT NULL,
    given_at     timestamptz,                  -- something of theirs was handed over
    left_at      timestamptz,
    why          text NOT NULL DEFAULT ''      -- left | permission | merged | parted
);
CREATE UNIQUE INDEX research_member_living ON research_member (patient_id, project_id) WHERE left_at IS NULL;
CREATE INDEX research_member_project ON research_member (project_id);
CREATE INDEX research_member_account ON research_member (account_id);

-- What a project was given at one time. Nothing of it is kept: files are made again from the originals as they go out.
CREATE TABLE research_delivery (
    id          uuid PRIMARY KEY,
    project_id  uuid NOT NULL REFERENCES research_project ON DELETE CASCADE,
    state       text NOT NULL DEFAULT 'proposed' CHECK (state IN ('proposed', 'preparing', 'ready', 'failed')),
    version     integer NOT NULL,              -- of what makes the files
    asked_at    timestamptz NOT NULL,
    asked_by    uuid REFERENCES account ON DELETE SET NULL,
    approved_at timestamptz,
    approved_by uuid REFERENCES account ON DELETE SET NULL,
    ready_at    timestamptz,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX research_delivery_project ON research_delivery (project_id, asked_at DESC);

-- Each image that was looked at: where it stands in the delivery, or why it is not given.
CREATE TABLE research_file (
    patient_id  text NOT NULL REFERENCES patient ON DELETE CASCADE,
    delivery_id uuid NOT NULL REFERENCES research_delivery ON DELETE CASCADE,
    number      bigint NOT NULL,
    member_id   uuid NOT NULL REFERENCES research_member ON DELETE CASCADE,
    sop_uid     text NOT NULL,
    reason      text NOT NULL DEFAULT '',      -- why it is left out
    path        text NOT NULL DEFAULT '',
    size        bigint NOT NULL DEFAULT 0,
    crc         bigint NOT NULL DEFAULT 0,
    sha256      bytea NOT NULL DEFAULT '',
    head_sha256 bytea NOT NULL DEFAULT '',     -- of what is written anew: the same must come out when it is sent
    removal     bytea NOT NULL DEFAULT '',
    PRIMARY KEY (delivery_id, number)
);
CREATE UNIQUE INDEX research_file_once ON research_file (delivery_id, patient_id, sop_uid);
CREATE INDEX research_file_patient ON research_file (patient_id);

-- What was removed from files, attribute by attribute, in counts without values; many files share one row.
CREATE TABLE research_removal (
    delivery_id uuid NOT NULL REFERENCES research_delivery ON DELETE CASCADE,
    digest      bytea NOT NULL,
    counts      jsonb NOT NULL,
    PRIMARY KEY (delivery_id, digest)
);

-- What a project has to delete. No patient stands here: it outlives the record it is about.
CREATE TABLE research_withdrawal (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES research_project ON DELETE CASCADE,
    pseudonym  text NOT NULL,
    noted_at   timestamptz,                    -- filled in by who tells the project
    told_at    timestamptz,
    UNIQUE (project_id, pseudonym)
);

-- However somebody stops taking part, by whatever code (leaving, taking back the permission, erasure, a merger): what
-- was handed over is to be deleted, and what was not is not any more.
CREATE FUNCTION research_member_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.given_at IS NOT NULL THEN
        INSERT INTO research_withdrawal (project_id, pseudonym) VALUES (OLD.project_id, OLD.pseudonym)
            ON CONFLICT (project_id, pseudonym) DO NOTHING;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM research_file WHERE member_id = OLD.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER research_member_left AFTER UPDATE OF left_at ON research_member
    FOR EACH ROW WHEN (OLD.left_at IS NULL AND NEW.left_at IS NOT NULL) EXECUTE FUNCTION research_member_ends();
CREATE TRIGGER research_member_gone AFTER DELETE ON research_member
    FOR EACH ROW WHEN (OLD.left_at IS NULL) EXECUTE FUNCTION research_member_ends();

-- Taking back the permission ends every project of its purpose, in the same transaction; giving it again joins none.
CREATE FUNCTION permission_ends_research() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE research_member SET left_at = NEW.at, why = 'permission'
      FROM research_project AS project
     WHERE project.id = research_member.project_id AND project.purpose = NEW.purpose
       AND research_member.account_id = NEW.account_id AND research_member.left_at IS NULL
       AND research_member.joined_at <= NEW.at; -- a restored backup brings old rows, in any order
    RETURN NULL;
END $$;
CREATE TRIGGER permission_taken_back AFTER INSERT ON permission
    FOR EACH ROW WHEN (NOT NEW.given) EXECUTE FUNCTION permission_ends_research();

-- A record that became part of another one has no page of its own to leave from: its person says yes again in the other.
CREATE FUNCTION merger_ends_research() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE research_member SET left_at = NEW.merged_at, why = 'merged'
     WHERE patient_id = NEW.source_id AND left_at IS NULL AND joined_at <= NEW.merged_at;
    RETURN NULL;
END $$;
CREATE TRIGGER merger_ends_research AFTER INSERT ON merger
    FOR EACH ROW WHEN (NEW.undone_at IS NULL) EXECUTE FUNCTION merger_ends_research();
