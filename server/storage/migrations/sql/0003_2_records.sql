-- Content of FHIR Binaries that lies beside its row: sealed in a pack, or inside of the DICOM object it came in.

CREATE TABLE content (
    patient_id  text NOT NULL REFERENCES patient ON DELETE CASCADE ON UPDATE CASCADE,
    type        text NOT NULL,
    id          text NOT NULL,
    version     integer NOT NULL,                 -- several versions may use one object
    size        bigint NOT NULL,                  -- plain bytes
    sha256      bytea NOT NULL,                   -- of the plain bytes; '' of what lies in a DICOM object
    sop_uid     text,                             -- the DICOM object that holds it
    pack_id     uuid REFERENCES pack DEFERRABLE INITIALLY DEFERRED,
    object_id   uuid,
    pack_offset bigint,
    wrapped_key bytea,                            -- the object's key, wrapped with the patient's
    PRIMARY KEY (patient_id, type, id, version),
    FOREIGN KEY (patient_id, type, id, version) REFERENCES resource_version ON DELETE CASCADE ON UPDATE CASCADE,
    CHECK (num_nonnulls(pack_id, object_id, pack_offset, wrapped_key) = CASE WHEN sop_uid IS NULL THEN 4 ELSE 0 END)
);
CREATE INDEX content_pack ON content (pack_id, object_id) WHERE pack_id IS NOT NULL;

-- Everything that lies in packs, once each: what keeps a pack, and what is left of one.
CREATE VIEW held_object AS
SELECT patient_id, pack_id, object_id, pack_offset, size FROM instance
UNION ALL
SELECT DISTINCT patient_id, pack_id, object_id, pack_offset, size FROM content WHERE pack_id IS NOT NULL;
