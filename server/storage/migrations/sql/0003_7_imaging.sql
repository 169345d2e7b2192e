-- What an organization sent of studies that somebody else had brought before: it reads back a study that holds
-- nothing but what it sent itself.

CREATE TABLE resent (
    patient_id      text NOT NULL REFERENCES patient ON DELETE CASCADE,
    sop_uid         text NOT NULL,
    organization_id text NOT NULL REFERENCES organization ON DELETE CASCADE,
    PRIMARY KEY (patient_id, sop_uid, organization_id),
    FOREIGN KEY (patient_id, sop_uid) REFERENCES instance (patient_id, sop_uid) ON DELETE CASCADE ON UPDATE CASCADE
);

-- Which organizations have rows there: what an index answers before instances are looked at.
ALTER TABLE study ADD COLUMN resent_by text[];
CREATE INDEX study_resent ON study USING gin (resent_by) WHERE resent_by IS NOT NULL;
