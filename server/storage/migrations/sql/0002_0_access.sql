-- The state of a study's patient, beside the study: a search over a whole archive asks it of every row it passes, and
-- a look at another table for each costs more than all the rest. The database itself keeps the two alike.

ALTER TABLE study ADD COLUMN patient_state text NOT NULL DEFAULT 'active';
UPDATE study SET patient_state = patient.state FROM patient
 WHERE patient.id = study.patient_id AND patient.state <> 'active';

CREATE FUNCTION study_takes_patient_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- FOR SHARE waits for a change of state that is on its way, and holds off the next until this study is there.
    SELECT state INTO NEW.patient_state FROM patient WHERE id = NEW.patient_id FOR SHARE;
    NEW.patient_state := coalesce(NEW.patient_state, 'erasing');
    RETURN NEW;
END $$;
CREATE TRIGGER study_patient_state BEFORE INSERT ON study
    FOR EACH ROW EXECUTE FUNCTION study_takes_patient_state();

CREATE FUNCTION patient_state_reaches_studies() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE study SET patient_state = NEW.state WHERE patient_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER patient_state AFTER UPDATE OF state ON patient
    FOR EACH ROW WHEN (NEW.state IS DISTINCT FROM OLD.state) EXECUTE FUNCTION patient_state_reaches_studies();
