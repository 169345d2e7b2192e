-- FHIR resources as they were sent, every version of them.

CREATE TABLE resource (
    patient_id   text NOT NULL DEFAULT '',       -- the compartment's patient; '' where the type has none
    type         text NOT NULL,
    id           text NOT NULL,
    version      integer NOT NULL,
    deleted      boolean NOT NULL DEFAULT false,
    last_updated timestamptz NOT NULL,
    study_uid    text,                           -- the study it is, or is about
    author       text NOT NULL DEFAULT '',       -- 'account:<id>' | 'client:<id>' | 'organization:<id>' | 'server'
    json         bytea NOT NULL,                 -- with id and meta, UTF-8
    PRIMARY KEY (patient_id, type, id),
    UNIQUE (type, id)
);
CREATE INDEX resource_recent ON resource (type, patient_id, last_updated DESC, id);
CREATE INDEX resource_study ON resource (patient_id, study_uid) WHERE study_uid IS NOT NULL;
