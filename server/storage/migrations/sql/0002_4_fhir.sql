-- What a patient corrects of the DICOM values, and who brought a study.

-- Each word of it is a row; the latest of an attribute is the one without `superseded_at`. Objects stay as they came.
CREATE TABLE correction (
    id            uuid PRIMARY KEY,
    patient_id    text NOT NULL REFERENCES patient ON DELETE CASCADE,
    study_uid     text NOT NULL,
    attribute     text NOT NULL,
    value         text NOT NULL,                 -- '': as the images say
    original      text NOT NULL,                 -- what the images said then
    by_account    uuid REFERENCES account ON DELETE SET NULL,
    by_name       text NOT NULL,
    created_at    timestamptz NOT NULL,
    superseded_at timestamptz,
    undone        boolean NOT NULL DEFAULT false, -- taken back: an earlier word holds again, as a row of its own
    FOREIGN KEY (patient_id, study_uid) REFERENCES study ON DELETE CASCADE
);
CREATE INDEX correction_of_study ON correction (patient_id, study_uid, created_at DESC);
CREATE UNIQUE INDEX correction_in_force ON correction (patient_id, study_uid, attribute) WHERE superseded_at IS NULL;

ALTER TABLE study
    ADD COLUMN corrected jsonb NOT NULL DEFAULT '{}',  -- what is in force of it, by attribute
    -- The date to sort and to show by: digits of the corrected one (maybe a year or a month only), else of the images.
    ADD COLUMN shown_day text NOT NULL GENERATED ALWAYS AS
        (coalesce(replace(corrected ->> 'date', '-', ''), study_day)) STORED,
    ADD COLUMN author text NOT NULL DEFAULT '';        -- who brought it: 'account:<id>' | 'client:<id>' | 'organization:<id>'
CREATE INDEX study_shown ON study (patient_id, shown_day DESC, study_time DESC, study_uid);
ALTER TABLE series ADD COLUMN author text NOT NULL DEFAULT '';
