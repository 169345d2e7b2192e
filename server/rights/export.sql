-- A copy of everything: planned once, sent as often as it is asked for.

-- name: own_patient
SELECT patient.id, patient.state, key.wrapped FROM patient JOIN keys.patient_key AS key ON key.patient_id = patient.id
 WHERE patient.id = :patient AND {reach}

-- name: add_export
INSERT INTO data_export (id, patient_id, account_id, state, created_at, expires_at)
VALUES (:id, :patient, :account, 'preparing', :now, :expires_at)

-- name: export_under_way
SELECT id FROM data_export WHERE account_id = :account AND patient_id = :patient AND state = 'preparing' LIMIT 1

-- name: export_to_prepare
SELECT data_export.id, data_export.patient_id, data_export.account_id, data_export.created_at, account.name,
       account.email, account.language, account.role, key.wrapped
  FROM data_export JOIN account ON account.id = data_export.account_id
  JOIN keys.patient_key AS key ON key.patient_id = data_export.patient_id
 WHERE data_export.id = :id AND data_export.state = 'preparing'

-- name: export_of
SELECT id, patient_id, state, created_at, ready_at, expires_at, files, size FROM data_export
 WHERE id = :id AND account_id = :account AND expires_at > :now

-- name: exports_of
SELECT id, patient_id, state, created_at, ready_at, expires_at, files, size FROM data_export
 WHERE account_id = :account AND expires_at > :now ORDER BY created_at DESC LIMIT 20

-- name: forget_exports
DELETE FROM data_export WHERE expires_at <= :now

-- name: drop_export
DELETE FROM data_export WHERE id = :id AND account_id = :account

-- name: export_failed
UPDATE data_export SET state = 'failed' WHERE id = :id

-- name: instances_to_copy
-- In the order of the index, a page after the last one.
SELECT instance.study_uid, instance.series_uid, instance.sop_uid, instance.sop_class, instance.transfer_syntax,
       instance.pack_id, instance.object_id, instance.pack_offset, instance.size, instance.sha256,
       instance.wrapped_key, instance.metadata, series.modality, done.number
  FROM study
  JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
  JOIN instance ON instance.patient_id = series.patient_id AND instance.study_uid = series.study_uid
       AND instance.series_uid = series.series_uid
  LEFT JOIN data_export_file AS done ON done.export_id = :id AND done.sop_uid = instance.sop_uid
 WHERE {reach} AND study.patient_id = :patient AND series.deleted_at IS NULL AND instance.deleted_at IS NULL
   AND (instance.study_uid, instance.series_uid, instance.sop_uid) > (:study, :series, :sop)
 ORDER BY instance.study_uid, instance.series_uid, instance.sop_uid LIMIT :limit

-- name: add_file
INSERT INTO data_export_file (patient_id, export_id, number, path, sop_uid, size, sha256, crc)
VALUES (:patient, :id, :number, :path, :sop, :size, :sha256, :crc)

-- name: name_file
UPDATE data_export_file SET path = :path WHERE export_id = :id AND number = :number

-- name: drop_unnamed
-- Looked at in an earlier turn, and gone since.
DELETE FROM data_export_file WHERE export_id = :id AND path = ''

-- name: next_number
SELECT coalesce(max(number), 0) + 1 FROM data_export_file WHERE export_id = :id

-- name: drop_made
-- What an earlier try made beside the images.
DELETE FROM data_export_file WHERE export_id = :id AND sop_uid IS NULL

-- name: drop_parts
DELETE FROM data_export_part WHERE export_id = :id

-- name: add_part
INSERT INTO data_export_part (patient_id, export_id, file, number, sealed)
VALUES (:patient, :id, :file, :number, :sealed)

-- name: files_of
SELECT number, path, sop_uid, size, sha256, crc FROM data_export_file WHERE export_id = :id ORDER BY number

-- name: export_ready
UPDATE data_export SET state = 'ready', ready_at = :now, files = :files, size = :size, expires_at = :expires_at
 WHERE id = :id

-- name: part
-- One part, asked for by whoever may still have it.
SELECT part.sealed, key.wrapped FROM data_export_part AS part JOIN patient ON patient.id = part.patient_id
  JOIN keys.patient_key AS key ON key.patient_id = patient.id
 WHERE part.export_id = :id AND part.file = :file AND part.number = :number AND {reach}

-- name: object
-- Where an image lies now, asked for by whoever may still have it.
SELECT instance.pack_id, instance.object_id, instance.pack_offset, instance.size, instance.sha256, instance.wrapped_key,
       key.wrapped
  FROM instance JOIN study ON study.patient_id = instance.patient_id AND study.study_uid = instance.study_uid
  JOIN keys.patient_key AS key ON key.patient_id = instance.patient_id
 WHERE instance.patient_id = :patient AND instance.sop_uid = :sop AND instance.deleted_at IS NULL AND {reach}

-- name: resources
SELECT resource.key, resource.type, resource.id, resource.json FROM resource
 WHERE resource.patient_id = :patient AND NOT resource.deleted AND resource.key > :after AND {reach}
 ORDER BY resource.key LIMIT :limit

-- name: permissions
SELECT purpose, given, at, text_version, language, channel, encode(text_hash, 'hex') AS text_sha256
  FROM permission WHERE account_id = :account ORDER BY at

-- name: research
SELECT project.name, project.organization, project.purpose, member.joined_at, member.text_version, member.language,
       encode(member.text_hash, 'hex') AS text_sha256, member.given_at, member.left_at
  FROM research_member AS member JOIN research_project AS project ON project.id = member.project_id
 WHERE member.account_id = :account ORDER BY member.joined_at

-- name: sessions
SELECT user_agent, address, created_at, seen_at, ended_at FROM session WHERE account_id = :account ORDER BY created_at

-- name: apps
SELECT client.name, app_grant.scope, app_grant.created_at, app_grant.used_at, app_grant.ended_at
  FROM app_grant JOIN client ON client.id = app_grant.client_id
 WHERE app_grant.account_id = :account ORDER BY app_grant.created_at

-- name: shares
SELECT share.id, share.name, share.email, share.state, share.rights, share.studies, share.message, share.created_at,
       share.accepted_at, share.until, share.ended_at, share.last_looked_at
  FROM share JOIN patient ON patient.id = share.patient_id WHERE patient.id = :patient AND {reach} ORDER BY share.created_at

-- name: account
SELECT email, name, role, language, created_at, email_verified_at FROM account WHERE id = :account
