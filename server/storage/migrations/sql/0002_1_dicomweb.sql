-- The change feed (dicomweb/change_feed.py): what became of instances, in the order in which it became visible.
-- A row is written in the transaction of the change itself and holds the instances of one series that it was about,
-- so that a store of a hundred costs one row. It gets its numbers later, in a transaction that others wait for:
-- numbers so become visible in their order, and nothing ever appears behind one that was read.

CREATE TABLE change (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    last        bigint UNIQUE,                -- number of its last instance; null: not numbered yet
    patient_id  text NOT NULL REFERENCES patient ON DELETE CASCADE,
    study_uid   text NOT NULL,
    series_uid  text NOT NULL,
    sop_uids    text[] NOT NULL,
    action      text NOT NULL CHECK (action IN ('create', 'delete')),
    changed_at  timestamptz NOT NULL,
    open        boolean NOT NULL,             -- others than the holder could see it, or see it go
    FOREIGN KEY (patient_id, study_uid) REFERENCES study ON DELETE CASCADE
);
CREATE INDEX change_of_study ON change (patient_id, study_uid);
CREATE INDEX change_waiting ON change (id) WHERE last IS NULL;

-- The last number given away. One row; locked by who gives numbers.
CREATE TABLE change_counter (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    last  bigint NOT NULL
);
INSERT INTO change_counter (last) VALUES (0);

-- What was held before there was a feed.
INSERT INTO change (patient_id, study_uid, series_uid, sop_uids, action, changed_at, open)
SELECT study.patient_id, study.study_uid, instance.series_uid,
       array_agg(instance.sop_uid ORDER BY instance.instance_number NULLS LAST, instance.sop_uid), 'create',
       max(instance.created_at), study.standing = 'mine'
  FROM study JOIN instance ON instance.patient_id = study.patient_id AND instance.study_uid = study.study_uid
  JOIN series ON series.patient_id = instance.patient_id AND series.study_uid = instance.study_uid
       AND series.series_uid = instance.series_uid
 WHERE study.deleted_at IS NULL AND series.deleted_at IS NULL AND instance.deleted_at IS NULL
 GROUP BY study.patient_id, study.study_uid, instance.series_uid
 ORDER BY max(instance.created_at);
