-- The catalogue: what was stored, at three levels. Answers are prepared when written: DICOM JSON as bytes, with
-- byte 01 where the address of the patient's DICOMweb root belongs (JSON never holds that byte bare).
-- Text columns with `_folded` hold lower case without accents, folded in Python (no contrib extensions, decision 22).

CREATE TABLE study (
    patient_id       text NOT NULL REFERENCES patient ON DELETE CASCADE,
    study_uid        text NOT NULL,
    fhir_id          text NOT NULL UNIQUE,
    standing         text NOT NULL CHECK (standing IN ('mine', 'differs', 'not-mine')),
    -- 'differs': name or birth date disagree with the profile; only the holder sees it. 'not-mine': nobody does.
    deleted_at       timestamptz,                  -- may be taken back for 30 days; invisible at once
    organization_id  text REFERENCES organization, -- who brought it
    modalities       text[] NOT NULL DEFAULT '{}', -- Modalities in Study (0008,0061); granular scopes ask for it
    study_date       date,
    fhir_stale       boolean NOT NULL DEFAULT true,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    -- what searches ask for (imaging/columns.py)
    study_day        text NOT NULL DEFAULT '',     -- YYYYMMDD, empty when it is none
    study_time       text NOT NULL DEFAULT '',     -- HHMMSSffffff
    accession_number text NOT NULL DEFAULT '',
    study_id         text NOT NULL DEFAULT '',
    dicom_patient_id text NOT NULL DEFAULT '',     -- as on the images: a claim, never an identity here
    issuer           text NOT NULL DEFAULT '',
    birth_day        text NOT NULL DEFAULT '',
    sex              text NOT NULL DEFAULT '',
    name_folded      text NOT NULL DEFAULT '',
    name_words       text[] NOT NULL DEFAULT '{}',
    name_trigrams    text[] NOT NULL DEFAULT '{}', -- infix and fuzzy search by a GIN index
    referrer_folded  text NOT NULL DEFAULT '',
    referrer_words   text[] NOT NULL DEFAULT '{}',
    title_folded     text NOT NULL DEFAULT '',     -- Study Description
    sop_classes      text[] NOT NULL DEFAULT '{}',
    series_count     integer NOT NULL DEFAULT 0,
    instance_count   integer NOT NULL DEFAULT 0,
    size             bigint NOT NULL DEFAULT 0,    -- bytes of its instances
    attributes       bytea NOT NULL DEFAULT '\x7b7d', -- DICOM JSON of the patient's and study's attributes
    qido             bytea NOT NULL DEFAULT '\x7b7d', -- what a search returns without being asked
    PRIMARY KEY (patient_id, study_uid)
);
ALTER TABLE study ALTER COLUMN qido SET STORAGE EXTERNAL;
CREATE INDEX study_uid ON study (study_uid);
CREATE INDEX study_of_patient ON study (patient_id, study_day DESC, study_time DESC, study_uid);
CREATE INDEX study_newest ON study (study_day DESC, study_time DESC, study_uid, patient_id);
CREATE INDEX study_organization ON study (organization_id, study_day DESC, study_time DESC, study_uid);
CREATE INDEX study_dicom_patient ON study (dicom_patient_id);
CREATE INDEX study_accession ON study (accession_number) WHERE accession_number <> '';
CREATE INDEX study_name ON study (name_folded text_pattern_ops);
CREATE INDEX study_trigrams ON study USING gin (name_trigrams);
CREATE INDEX study_modalities ON study USING gin (modalities);
CREATE INDEX study_deleted ON study (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX study_stale ON study (updated_at) WHERE fhir_stale;

CREATE TABLE series (
    patient_id      text NOT NULL,
    study_uid       text NOT NULL,
    series_uid      text NOT NULL,
    deleted_at      timestamptz,
    modality        text NOT NULL DEFAULT '',
    series_number   integer,
    series_day      text NOT NULL DEFAULT '',
    series_time     text NOT NULL DEFAULT '',
    title_folded    text NOT NULL DEFAULT '',     -- Series Description
    body_part       text NOT NULL DEFAULT '',
    laterality      text NOT NULL DEFAULT '',
    step_day        text NOT NULL DEFAULT '',     -- Performed Procedure Step Start Date
    step_time       text NOT NULL DEFAULT '',
    requests        text[] NOT NULL DEFAULT '{}', -- Scheduled Procedure Step IDs of Request Attributes Sequence
    procedures      text[] NOT NULL DEFAULT '{}', -- Requested Procedure IDs of the same
    instance_count  integer NOT NULL DEFAULT 0,
    attributes      bytea NOT NULL DEFAULT '\x7b7d',
    qido            bytea NOT NULL DEFAULT '\x7b7d',
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (patient_id, study_uid, series_uid),
    FOREIGN KEY (patient_id, study_uid) REFERENCES study ON DELETE CASCADE
);
ALTER TABLE series ALTER COLUMN qido SET STORAGE EXTERNAL;
CREATE INDEX series_uid ON series (series_uid);
CREATE INDEX series_deleted ON series (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE instance (
    patient_id        text NOT NULL,
    sop_uid           text NOT NULL,              -- unique within one patient (decision 8)
    study_uid         text NOT NULL,
    series_uid        text NOT NULL,
    deleted_at        timestamptz,
    instance_number   integer,
    sop_class         text NOT NULL,
    transfer_syntax   text NOT NULL,              -- what the bytes truly are
    -- where the original lies, byte for byte
    pack_id           uuid NOT NULL REFERENCES pack DEFERRABLE INITIALLY DEFERRED, -- noted beside the store
    object_id         uuid NOT NULL,
    pack_offset       bigint NOT NULL,
    size              bigint NOT NULL,
    sha256            bytea NOT NULL,
    wrapped_key       bytea NOT NULL,             -- the data key, wrapped with the patient's
    -- where its pixels lie inside
    pixel_rows        integer,
    pixel_columns     integer,
    bits_allocated    integer,
    samples           integer,
    frame_count       integer NOT NULL DEFAULT 0, -- 0: there are no pixel data
    frame_bits        bigint,                     -- of a native frame
    pixel_offset      bigint,                     -- of the value of (7FE0,0010)
    pixel_length      bigint,                     -- of the value; null when encapsulated
    frame_table       bytea,                      -- encapsulated: 16 bytes a frame (imaging/pixels.py)
    pieced            boolean NOT NULL DEFAULT false, -- a frame may lie in several fragments
    content_day       text NOT NULL DEFAULT '',
    content_time      text NOT NULL DEFAULT '',
    qido              bytea NOT NULL,
    metadata          bytea NOT NULL,             -- all of the header as DICOM JSON
    created_at        timestamptz NOT NULL,
    PRIMARY KEY (patient_id, sop_uid),
    FOREIGN KEY (patient_id, study_uid, series_uid) REFERENCES series ON DELETE CASCADE
);
-- Read often and whole: unpacking would cost more than the bytes saved. A frame is looked up by range.
ALTER TABLE instance ALTER COLUMN qido SET STORAGE EXTERNAL;
ALTER TABLE instance ALTER COLUMN metadata SET STORAGE EXTERNAL;
ALTER TABLE instance ALTER COLUMN frame_table SET STORAGE EXTERNAL;
CREATE INDEX instance_of_series ON instance (patient_id, study_uid, series_uid, instance_number, sop_uid);
CREATE INDEX instance_uid ON instance (sop_uid);
CREATE INDEX instance_pack ON instance (pack_id);
CREATE INDEX instance_deleted ON instance (deleted_at) WHERE deleted_at IS NOT NULL;

-- Small pictures of a series, sealed with the patient's key; made when first asked for, or after the store.
CREATE TABLE thumbnail (
    patient_id  text NOT NULL,
    study_uid   text NOT NULL,
    series_uid  text NOT NULL,
    sop_uid     text NOT NULL,                    -- whose picture it is
    width       integer NOT NULL,
    sealed      bytea NOT NULL,                   -- JPEG
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (patient_id, study_uid, series_uid),
    FOREIGN KEY (patient_id, study_uid, series_uid) REFERENCES series ON DELETE CASCADE
);

-- Every value an attribute has in a DICOM JSON document, as text, for searches by attributes without a column.
-- `path` is made of tags from the dictionary: $."00400275".Value[*]."00400009".Value[*]
CREATE FUNCTION dicom_values(document bytea, path text) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(found)
               WHEN 'object' THEN concat_ws('=', found ->> 'Alphabetic', found ->> 'Ideographic', found ->> 'Phonetic')
               ELSE found #>> '{}'
           END
      FROM jsonb_path_query(replace(convert_from(document, 'UTF8'), chr(1), '')::jsonb, path::jsonpath) AS found
     WHERE found <> 'null'::jsonb
$$;
