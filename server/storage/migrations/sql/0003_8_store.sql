-- A store into a study that is there changes its row twice. Where no index has a column that changed, and the page has
-- room, PostgreSQL writes no index anew for that: the moment of the last change stands in none of them any more.

DROP INDEX study_stale;
CREATE INDEX study_stale ON study (patient_id, study_uid) WHERE fhir_stale;
ALTER TABLE study SET (fillfactor = 75);
ALTER TABLE series SET (fillfactor = 75);
