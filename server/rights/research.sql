-- Projects that get images without names, who takes part, and what is handed over.

-- name: add_project
INSERT INTO research_project (id, name, organization, description, purpose, contact, dates, characteristics, device,
       descriptors, faces, modalities, sealed_key, created_at, created_by, until)
VALUES (:id, :name, :organization, :description, :purpose, :contact, :dates, :characteristics, :device, :descriptors,
       :faces, :modalities, :sealed_key, :now, :by, :until)

-- name: approve_project
-- By another operator than the one who made it: part of the statement.
UPDATE research_project SET approved_at = :now, approved_by = :by
 WHERE id = :id AND approved_at IS NULL AND ended_at IS NULL AND until > :now AND created_by IS DISTINCT FROM :by
RETURNING name

-- name: end_project
UPDATE research_project SET ended_at = :now WHERE id = :id AND ended_at IS NULL RETURNING name

-- name: projects
-- Numbers only: no operator sees who takes part.
SELECT project.id, project.name, project.organization, project.description, project.purpose, project.contact,
       project.dates, project.characteristics, project.device, project.descriptors, project.faces, project.modalities,
       project.created_at, project.created_by, project.approved_at, project.until, project.ended_at,
       (SELECT count(*) FROM research_member AS member WHERE member.project_id = project.id AND member.left_at IS NULL)
       AS members,
       (SELECT count(*) FROM research_withdrawal AS gone WHERE gone.project_id = project.id) AS withdrawn
  FROM research_project AS project WHERE (:id::uuid IS NULL OR project.id = :id::uuid) ORDER BY project.created_at DESC

-- name: project_key
SELECT sealed_key FROM research_project WHERE id = :id

-- name: projects_of_person
-- What goes on and can be joined, what was joined, and whether the permission that such a project needs is given.
SELECT project.id, project.name, project.organization, project.description, project.purpose, project.dates,
       project.characteristics, project.device, project.faces, project.modalities, project.until, member.joined_at,
       member.given_at,
       coalesce((SELECT permission.given FROM permission WHERE permission.account_id = :account
         AND permission.purpose = project.purpose ORDER BY permission.at DESC, permission.id DESC LIMIT 1), false) AS allowed
  FROM research_project AS project
  LEFT JOIN research_member AS member ON member.project_id = project.id AND member.patient_id = :patient
       AND member.left_at IS NULL
 WHERE project.approved_at IS NOT NULL AND project.ended_at IS NULL AND project.until > :now
 ORDER BY member.joined_at NULLS LAST, project.approved_at DESC

-- name: memberships
SELECT project.id, project.name, member.joined_at FROM research_member AS member
  JOIN research_project AS project ON project.id = member.project_id
 WHERE member.account_id = :account AND member.left_at IS NULL ORDER BY member.joined_at

-- name: history_of_person
SELECT project.name, member.joined_at, member.left_at, member.why, member.given_at
  FROM research_member AS member JOIN research_project AS project ON project.id = member.project_id
  JOIN patient ON patient.id = member.patient_id
 WHERE member.patient_id = :patient AND {reach} ORDER BY member.joined_at DESC

-- name: join
-- Only their own record, only a project that goes on, only with the permission: asked of living rows in one statement.
INSERT INTO research_member (id, patient_id, account_id, project_id, pseudonym, joined_at, text_hash, text_version, language)
SELECT :id, patient.id, :account, project.id, :pseudonym, :now, :text_hash, :text_version, :language
  FROM patient JOIN holder ON holder.patient_id = patient.id AND holder.account_id = :account AND holder.as_what = 'self'
       AND (holder.until IS NULL OR holder.until > :now), research_project AS project
 WHERE patient.id = :patient AND {reach} AND project.id = :project AND project.approved_at IS NOT NULL
   AND project.ended_at IS NULL AND project.until > :now
   AND (SELECT permission.given FROM permission WHERE permission.account_id = :account
         AND permission.purpose = project.purpose ORDER BY permission.at DESC, permission.id DESC LIMIT 1)
ON CONFLICT (patient_id, project_id) WHERE left_at IS NULL DO NOTHING

-- name: leave
UPDATE research_member AS member SET left_at = :now, why = 'left' FROM patient, research_project AS project
 WHERE member.patient_id = :patient AND member.project_id = :project AND member.left_at IS NULL
   AND patient.id = member.patient_id AND project.id = member.project_id AND {reach}
RETURNING project.name

-- name: is_member
SELECT EXISTS (SELECT FROM research_member WHERE patient_id = :patient AND project_id = :project AND left_at IS NULL)

-- name: project_for_person
SELECT name, organization, description, purpose FROM research_project
 WHERE id = :id AND approved_at IS NOT NULL AND ended_at IS NULL AND until > :now

-- name: ask_delivery
INSERT INTO research_delivery (id, project_id, version, asked_at, asked_by, expires_at)
SELECT :id, project.id, :version, :now, :by, :expires_at FROM research_project AS project
 WHERE project.id = :project AND project.approved_at IS NOT NULL AND project.ended_at IS NULL AND project.until > :now
RETURNING id

-- name: approve_delivery
UPDATE research_delivery SET approved_at = :now, approved_by = :by, state = 'preparing', expires_at = :expires_at
 WHERE id = :id AND state = 'proposed' AND asked_by IS DISTINCT FROM :by AND expires_at > :now
RETURNING project_id

-- name: drop_delivery
DELETE FROM research_delivery WHERE id = :id RETURNING project_id

-- name: deliveries
SELECT delivery.id, delivery.project_id, delivery.state, delivery.version, delivery.asked_at, delivery.asked_by,
       delivery.approved_at, delivery.ready_at, delivery.expires_at, project.name AS project
  FROM research_delivery AS delivery JOIN research_project AS project ON project.id = delivery.project_id
 WHERE delivery.expires_at > :now AND (:id::uuid IS NULL OR delivery.id = :id::uuid)
   AND (:project::uuid IS NULL OR delivery.project_id = :project::uuid)
 ORDER BY delivery.asked_at DESC

-- name: forget_deliveries
DELETE FROM research_delivery WHERE expires_at <= :now

-- name: delivery_failed
UPDATE research_delivery SET state = 'failed' WHERE id = :id AND state = 'preparing'

-- name: delivery_ready
UPDATE research_delivery SET state = 'ready', ready_at = :now, expires_at = :expires_at
 WHERE id = :id AND state = 'preparing'

-- name: instances_to_give
-- Of everybody who takes part now, in the order of the index, a page after the last one; what was looked at is left out.
SELECT instance.patient_id, instance.study_uid, instance.series_uid, instance.sop_uid, instance.pack_id,
       instance.object_id, instance.pack_offset, instance.size, instance.sha256, instance.wrapped_key, key.wrapped,
       member.id AS member_id
  FROM study
  JOIN series ON series.patient_id = study.patient_id AND series.study_uid = study.study_uid
  JOIN instance ON instance.patient_id = series.patient_id AND instance.study_uid = series.study_uid
       AND instance.series_uid = series.series_uid
  JOIN keys.patient_key AS key ON key.patient_id = instance.patient_id
  JOIN research_member AS member ON member.patient_id = study.patient_id AND member.project_id = :project
       AND member.left_at IS NULL
 WHERE {reach} AND series.deleted_at IS NULL AND instance.deleted_at IS NULL
   AND (:modalities::text[] = '{}' OR series.modality = ANY (:modalities::text[]))
   AND NOT EXISTS (SELECT FROM research_file AS done WHERE done.delivery_id = :delivery
         AND done.patient_id = instance.patient_id AND done.sop_uid = instance.sop_uid)
   AND (instance.patient_id, instance.study_uid, instance.series_uid, instance.sop_uid)
       > (:patient, :study, :series, :sop)
 ORDER BY instance.patient_id, instance.study_uid, instance.series_uid, instance.sop_uid LIMIT :limit

-- name: next_number
SELECT coalesce(max(number), 0) + 1 FROM research_file WHERE delivery_id = :id

-- name: add_file
-- Nothing is written down of whoever has left meanwhile: a member who lives is locked until this is committed.
INSERT INTO research_file (patient_id, delivery_id, number, member_id, sop_uid, reason, path, size, crc, sha256,
       head_sha256, removal)
SELECT :patient, :delivery, :number, member.id, :sop, :reason, :path, :size, :crc, :sha256, :head_sha256, :removal
  FROM (SELECT id FROM research_member WHERE id = :member AND left_at IS NULL FOR SHARE) AS member
ON CONFLICT (delivery_id, patient_id, sop_uid) DO NOTHING

-- name: add_removal
INSERT INTO research_removal (delivery_id, digest, counts) VALUES (:delivery, :digest, :counts)
ON CONFLICT DO NOTHING

-- name: who_it_is
-- What identifies a person here: the files are searched for it too.
SELECT resource.json, ARRAY(SELECT known.value FROM patient_identifier AS known WHERE known.patient_id = patient.id)
       AS numbers,
       ARRAY(SELECT account.name || ' ' || account.email FROM holder JOIN account ON account.id = holder.account_id
              WHERE holder.patient_id = patient.id) AS holders
  FROM patient LEFT JOIN resource ON resource.patient_id = patient.id AND resource.type = 'Patient'
       AND resource.id = patient.id AND NOT resource.deleted
 WHERE patient.id = :patient AND {reach}

-- name: files_to_give
-- Asked when the files go out, of whoever takes part then; what was deleted since it was looked at is left out.
SELECT file.number, file.patient_id, file.member_id, file.sop_uid, file.path, file.size, file.crc, file.sha256,
       file.head_sha256, file.removal
  FROM research_file AS file
  JOIN instance ON instance.patient_id = file.patient_id AND instance.sop_uid = file.sop_uid
       AND instance.deleted_at IS NULL
  JOIN series ON series.patient_id = instance.patient_id AND series.study_uid = instance.study_uid
       AND series.series_uid = instance.series_uid AND series.deleted_at IS NULL
  JOIN study ON study.patient_id = instance.patient_id AND study.study_uid = instance.study_uid
 WHERE file.delivery_id = :id AND file.reason = '' AND {reach} ORDER BY file.number

-- name: object_to_give
-- One image, asked for at the moment it goes out.
SELECT instance.pack_id, instance.object_id, instance.pack_offset, instance.size, instance.wrapped_key, key.wrapped
  FROM instance JOIN study ON study.patient_id = instance.patient_id AND study.study_uid = instance.study_uid
  JOIN series ON series.patient_id = instance.patient_id AND series.study_uid = instance.study_uid
       AND series.series_uid = instance.series_uid
  JOIN keys.patient_key AS key ON key.patient_id = instance.patient_id
 WHERE instance.patient_id = :patient AND instance.sop_uid = :sop AND instance.deleted_at IS NULL
   AND series.deleted_at IS NULL AND {reach}

-- name: may_still
SELECT EXISTS (SELECT FROM study JOIN instance ON instance.patient_id = study.patient_id
       AND instance.study_uid = study.study_uid
 WHERE instance.patient_id = :patient AND instance.sop_uid = :sop AND instance.deleted_at IS NULL AND {reach})

-- name: given
-- Handed over from now on: whoever leaves later, the project is told to delete. Who has left is not in it.
UPDATE research_member SET given_at = coalesce(given_at, :now)
 WHERE id = ANY (:members::uuid[]) AND left_at IS NULL RETURNING id

-- name: left_out
SELECT member.pseudonym, file.reason, count(*) AS count
  FROM research_file AS file JOIN research_member AS member ON member.id = file.member_id
  JOIN patient ON patient.id = file.patient_id
 WHERE file.delivery_id = :id AND file.reason <> '' AND {reach} GROUP BY 1, 2 ORDER BY 1, 2

-- name: removals
SELECT digest, counts FROM research_removal WHERE delivery_id = :id ORDER BY digest

-- name: summary
-- Numbers of a delivery, by reason.
SELECT reason, count(*) AS files, count(DISTINCT patient_id) AS people, coalesce(sum(size), 0)::bigint AS size
  FROM research_file WHERE delivery_id = :id GROUP BY reason ORDER BY reason

-- name: counts
-- What was done to which attribute, over all files of a delivery.
SELECT kind.key AS what, sum(kind.value::bigint)::bigint AS count
  FROM research_file AS file JOIN research_removal AS removal ON removal.delivery_id = file.delivery_id
       AND removal.digest = file.removal, jsonb_each_text(removal.counts) AS kind
 WHERE file.delivery_id = :id AND file.reason = '' GROUP BY kind.key ORDER BY kind.key

-- name: withdrawals
SELECT pseudonym, noted_at FROM research_withdrawal WHERE project_id = :project ORDER BY id

-- name: note_withdrawals
UPDATE research_withdrawal SET noted_at = :now WHERE noted_at IS NULL

-- name: withdrawals_to_tell
SELECT project.id, project.contact, project.name, gone.pseudonym FROM research_withdrawal AS gone
  JOIN research_project AS project ON project.id = gone.project_id
 WHERE gone.told_at IS NULL ORDER BY gone.id LIMIT 1000 FOR UPDATE OF gone SKIP LOCKED

-- name: told
UPDATE research_withdrawal SET told_at = :now WHERE project_id = :project AND pseudonym = ANY (:pseudonyms)

-- name: set_aside
-- Restricted for now: what the project holds of them may be kept and not used (GDPR, art. 18 and 19).
SELECT member.pseudonym FROM research_member AS member JOIN patient ON patient.id = member.patient_id
 WHERE member.project_id = :project AND member.left_at IS NULL AND member.given_at IS NOT NULL
   AND patient.state = 'restricted' ORDER BY 1
