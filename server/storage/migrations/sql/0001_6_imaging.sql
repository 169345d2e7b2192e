-- The catalogue: what was stored, at three levels. Answers are prepared when written (DICOM JSON as bytes).

CREATE TABLE study (
    patient_id      text NOT NULL REFERENCES patient ON DELETE CASCADE,
    study_uid       text NOT NULL,
    fhir_id         text NOT NULL UNIQUE,
    standing        text NOT NULL CHECK (standing IN ('mine', 'differs', 'not-mine')),
    -- 'differs': name or birth date disagree with the profile; only the holder sees it. 'not-mine': nobody does.
    deleted_at      timestamptz,                  -- may be taken back for 30 days; invisible at once
    organization_id text REFERENCES organization, -- who brought it
    modalities      text[] NOT NULL DEFAULT '{}', -- Modalities in Study (0008,0061); granular scopes ask for it
    study_date      date,
    fhir_stale      boolean NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (patient_id, study_uid)
);
