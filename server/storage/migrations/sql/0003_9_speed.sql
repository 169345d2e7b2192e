-- What was put aside for later must be read by every search until a vacuum: after a load, names cost 9 ms, not 1.
ALTER INDEX study_trigrams SET (fastupdate = off);
ALTER INDEX study_modalities SET (fastupdate = off);
SELECT gin_clean_pending_list('study_trigrams'::regclass);
SELECT gin_clean_pending_list('study_modalities'::regclass);
