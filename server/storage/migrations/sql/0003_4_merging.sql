-- Two records that turn out to be one person's: what is of the one goes to the other, and every row that went is
-- written down, so that an operator can part them again (decision 7).

-- A record that was merged into another one stays as a row: its key opens what stayed behind, its chain of the log
-- goes on to be read, its id leads on. Nothing reaches it.
ALTER TABLE patient DROP CONSTRAINT patient_state_check;
ALTER TABLE patient ADD CONSTRAINT patient_state_check
    CHECK (state IN ('active', 'restricted', 'erasing', 'merged'));

-- A study that goes to another patient takes along what hangs on it.
DO $$
DECLARE held record;
BEGIN
    FOR held IN SELECT conname, conrelid::regclass AS child, pg_get_constraintdef(oid) AS said FROM pg_constraint
                 WHERE contype = 'f' AND confrelid IN ('study'::regclass, 'series'::regclass) AND confupdtype <> 'c'
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', held.child, held.conname);
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s ON UPDATE CASCADE', held.child, held.conname, held.said);
    END LOOP;
END $$;

CREATE TABLE merger (
    id         uuid PRIMARY KEY,
    patient_id text NOT NULL REFERENCES patient ON DELETE CASCADE,  -- the record that goes on
    source_id  text NOT NULL REFERENCES patient ON DELETE CASCADE,  -- the one that went into it
    claimed_at timestamptz,                      -- of the source, before: null where nobody owned it
    merged_at  timestamptz NOT NULL,
    merged_by  uuid REFERENCES account ON DELETE SET NULL,
    undone_at  timestamptz,
    undone_by  uuid REFERENCES account ON DELETE SET NULL,
    CHECK (patient_id <> source_id)
);
CREATE UNIQUE INDEX merger_source ON merger (source_id) WHERE undone_at IS NULL;
CREATE INDEX merger_into ON merger (patient_id, merged_at);

-- What went, and how it was before: enough to bring exactly that back.
CREATE TABLE merger_item (
    patient_id text NOT NULL REFERENCES patient ON DELETE CASCADE,
    merger_id  uuid NOT NULL REFERENCES merger ON DELETE CASCADE,
    number     bigint GENERATED ALWAYS AS IDENTITY,
    kind       text NOT NULL CHECK (kind IN ('study', 'resource', 'share', 'row', 'profile')),
    what       jsonb NOT NULL,
    PRIMARY KEY (merger_id, number)
);
CREATE INDEX merger_item_patient ON merger_item (patient_id);
