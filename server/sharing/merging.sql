-- Two records of one person, and their parting.

-- name: lock_both
-- In one order whoever asks: stores, shares and erasures of either wait, or are waited for.
SELECT id, state, claimed_at, created_by_account FROM patient WHERE id = ANY (:patients) ORDER BY id FOR UPDATE

-- name: cannot_merge
-- Why the first of these cannot go into the second, as one word; nothing where it can.
SELECT CASE
    WHEN EXISTS (SELECT FROM erasure WHERE patient_id IN (:source, :target) AND done_at IS NULL AND step <> 'taken-back')
        THEN 'erasing'
    WHEN EXISTS (SELECT FROM holder WHERE patient_id = :source AND account_id <> :account
                    AND (until IS NULL OR until > :now)) THEN 'held'
    WHEN EXISTS (SELECT FROM merger WHERE patient_id = :source AND undone_at IS NULL) THEN 'merged'
END

-- name: own_profile
-- The person's own record, the oldest of them, and whether anything was ever put into it.
SELECT holder.patient_id,
       NOT EXISTS (SELECT FROM study WHERE study.patient_id = holder.patient_id)
   AND NOT EXISTS (SELECT FROM share WHERE share.patient_id = holder.patient_id)
   AND NOT EXISTS (SELECT FROM resource WHERE resource.patient_id = holder.patient_id
                      AND resource.type NOT IN ('Patient', 'Endpoint', 'Provenance')) AS blank,
       (SELECT json FROM resource WHERE resource.type = 'Patient' AND resource.id = holder.patient_id
           AND NOT resource.deleted) AS profile
  FROM holder JOIN patient ON patient.id = holder.patient_id AND patient.state IN ('active', 'restricted')
 WHERE holder.account_id = :account AND holder.as_what = 'self' AND holder.patient_id <> :source
   AND (holder.until IS NULL OR holder.until > :now)
 ORDER BY holder.since LIMIT 1

-- name: both_held
-- Two records that the account holds as its own, each with what its person is called there.
SELECT holder.patient_id,
       (SELECT json FROM resource WHERE resource.type = 'Patient' AND resource.id = holder.patient_id
           AND NOT resource.deleted) AS profile
  FROM holder JOIN patient ON patient.id = holder.patient_id AND patient.state IN ('active', 'restricted')
 WHERE holder.account_id = :account AND holder.as_what = 'self' AND holder.patient_id = ANY (:patients)
   AND (holder.until IS NULL OR holder.until > :now) AND {alive}

-- name: add_merger
INSERT INTO merger (id, patient_id, source_id, claimed_at, merged_at, merged_by)
VALUES (:id, :target, :source, :claimed_at, :now, :account)

-- name: note_items
INSERT INTO merger_item (patient_id, merger_id, kind, what)
SELECT :target, :merger, row.kind, row.what FROM unnest(:kinds::text[], :whats::jsonb[]) AS row (kind, what)

-- name: set_merged
UPDATE patient SET state = 'merged' WHERE id = :source

-- name: set_apart
-- A person who had both restricted has the own one restricted still.
UPDATE patient SET claimed_at = :claimed_at,
       state = CASE WHEN other.state = 'restricted' AND :claimed_at::timestamptz IS NOT NULL
                    THEN 'restricted' ELSE 'active' END,
       restricted_at = CASE WHEN :claimed_at::timestamptz IS NOT NULL THEN other.restricted_at END,
       restricted_by = CASE WHEN :claimed_at::timestamptz IS NOT NULL THEN other.restricted_by ELSE '' END,
       restricted_why = CASE WHEN :claimed_at::timestamptz IS NOT NULL THEN other.restricted_why ELSE '' END
  FROM patient AS other WHERE patient.id = :source AND other.id = :target

-- name: show_target
UPDATE session SET patient_id = :target WHERE patient_id = :source

-- name: end_grants
-- An app was allowed into the one record, not into both.
UPDATE app_grant SET ended_at = :now, ended_why = 'merged' WHERE patient_id = :source AND ended_at IS NULL

-- name: drop_codes
DELETE FROM profile_code WHERE patient_id = :source

-- name: studies_of
SELECT coalesce(array_agg(study_uid ORDER BY study_uid), '{}') FROM study WHERE patient_id = :source

-- name: move_shares
-- Whoever saw the whole of the one record sees what was in it, not what the other one holds (`:narrow`); of an empty
-- one, that is nothing.
UPDATE share SET patient_id = :target,
       studies = CASE WHEN :narrow AND share.studies IS NULL AND cardinality(:studies::text[]) > 0
                      THEN :studies ELSE share.studies END,
       state = CASE WHEN :narrow AND share.studies IS NULL AND cardinality(:studies::text[]) = 0
                    THEN CASE share.state WHEN 'active' THEN 'ended' WHEN 'invited' THEN 'withdrawn'
                                          WHEN 'requested' THEN 'declined' ELSE share.state END
                    ELSE share.state END,
       ended_at = CASE WHEN :narrow AND share.studies IS NULL AND cardinality(:studies::text[]) = 0
                        AND share.state IN ('active', 'invited', 'requested') THEN :now ELSE share.ended_at END
  FROM share AS before
 WHERE share.patient_id = :source AND before.patient_id = share.patient_id AND before.id = share.id
RETURNING share.id, before.studies AS before, share.studies AS after, before.state AS before_state,
          share.state AS after_state

-- name: move_links
UPDATE guest_link SET patient_id = :target, studies = coalesce(guest_link.studies, :studies)
  FROM guest_link AS before WHERE guest_link.patient_id = :source AND before.id = guest_link.id
RETURNING guest_link.id, before.studies AS before, guest_link.studies AS after

-- name: link
SELECT * FROM guest_link WHERE id = :id

-- name: move_visits
UPDATE guest_visit SET patient_id = :target WHERE patient_id = :source AND link_id = ANY (:links)

-- name: share
SELECT * FROM share WHERE id = :id

-- name: share_back
-- With the studies and the state it had, unless its patient wanted otherwise since.
UPDATE share SET patient_id = :source,
       studies = CASE WHEN share.studies IS NOT DISTINCT FROM CAST(:after AS text[]) THEN CAST(:before AS text[])
                      ELSE share.studies END,
       state = CASE WHEN share.state = :after_state THEN :before_state ELSE share.state END,
       ended_at = CASE WHEN share.state = :after_state AND :after_state <> :before_state THEN NULL
                       ELSE share.ended_at END
 WHERE patient_id = :target AND id = :id
RETURNING share.*

-- name: link_back
UPDATE guest_link SET patient_id = :source, studies = CAST(:before AS text[])
 WHERE patient_id = :target AND id = :id
RETURNING guest_link.*

-- name: move_holders
-- Nobody holds the source any more: it is part of the other.
UPDATE holder SET until = :now FROM holder AS before
 WHERE holder.patient_id = :source AND (holder.until IS NULL OR holder.until > :now)
   AND before.patient_id = holder.patient_id AND before.account_id = holder.account_id
RETURNING jsonb_build_object('account_id', holder.account_id, 'until', before.until)::text AS key

-- name: holders_back
UPDATE holder SET until = row.until FROM jsonb_to_record(:key::jsonb) AS row (account_id uuid, until timestamptz)
 WHERE holder.patient_id = :source AND holder.account_id = row.account_id

-- name: move_identifiers
UPDATE patient_identifier SET patient_id = :target WHERE patient_id = :source
RETURNING jsonb_build_object('organization_id', organization_id, 'value', value)::text AS key

-- name: move_holds
UPDATE hold SET patient_id = :target WHERE patient_id = :source
RETURNING jsonb_build_object('id', id)::text AS key

-- name: move_disclosures
UPDATE disclosure SET patient_id = :target WHERE patient_id = :source
RETURNING jsonb_build_object('id', id)::text AS key

-- name: move_proposals
UPDATE proposal SET patient_id = :target WHERE patient_id = :source AND decided_at IS NULL
RETURNING jsonb_build_object('id', id)::text AS key

-- name: move_uploads
UPDATE upload SET patient_id = :target WHERE patient_id = :source
RETURNING jsonb_build_object('id', id)::text AS key

-- name: identifiers_back
UPDATE patient_identifier SET patient_id = :source FROM jsonb_to_record(:key::jsonb) AS row (organization_id text, value text)
 WHERE patient_identifier.patient_id = :target AND patient_identifier.organization_id = row.organization_id
   AND patient_identifier.value = row.value

-- name: holds_back
UPDATE hold SET patient_id = :source WHERE patient_id = :target AND id = (CAST(:key AS jsonb) ->> 'id')::uuid

-- name: disclosures_back
UPDATE disclosure SET patient_id = :source WHERE patient_id = :target AND id = (CAST(:key AS jsonb) ->> 'id')::uuid

-- name: proposals_back
UPDATE proposal SET patient_id = :source WHERE patient_id = :target AND id = (CAST(:key AS jsonb) ->> 'id')::uuid

-- name: uploads_back
UPDATE upload SET patient_id = :source WHERE patient_id = :target AND id = (CAST(:key AS jsonb) ->> 'id')::uuid

-- name: drop_copies
-- Copies of everything that were made while the records were one hold what is not this person's.
DELETE FROM data_export WHERE patient_id = :target

-- name: mergers_of
-- Of one record, either way, the last first.
SELECT merger.id, merger.patient_id, merger.source_id, merger.merged_at, merger.undone_at, merger.claimed_at,
       (SELECT count(*) FROM merger_item WHERE merger_item.merger_id = merger.id AND kind = 'study') AS studies
  FROM merger WHERE :patient IN (merger.patient_id, merger.source_id) ORDER BY merged_at DESC

-- name: merger
SELECT id, patient_id, source_id, claimed_at, merged_at, undone_at FROM merger WHERE id = :id

-- name: items
SELECT kind, what::text AS what FROM merger_item WHERE merger_id = :merger ORDER BY number

-- name: end_merger
UPDATE merger SET undone_at = :now, undone_by = :account WHERE id = :id AND undone_at IS NULL RETURNING id

-- name: spare
-- The one person asked for the deletion of what was theirs; this is another person's again.
UPDATE erasure SET step = 'taken-back', done_at = :now, sealed = NULL WHERE patient_id = :source AND step = 'waiting'

-- name: end_research
-- Among what a project was given of this person may be images of the other one: all of it has to be deleted. Who wants
-- to take part joins again.
UPDATE research_member SET left_at = :now, why = 'parted'
 WHERE patient_id = :target AND left_at IS NULL AND given_at IS NOT NULL

-- name: target_of
-- Where a record went that was merged, as far as the caller reaches that.
SELECT merger.patient_id FROM merger JOIN patient ON patient.id = merger.patient_id
 WHERE merger.source_id = :source AND merger.undone_at IS NULL AND {reach}

-- name: other_versions
-- Objects of a merged record under a SOP Instance UID that the record holds with other content.
SELECT kept.study_uid, kept.series_uid, other.sop_uid, other.size, other.sha256, other.created_at, other.sop_class,
       other.pack_id, other.object_id, other.pack_offset, other.wrapped_key, key.wrapped AS patient_key
  FROM merger
  JOIN instance AS other ON other.patient_id = merger.source_id AND other.deleted_at IS NULL
  JOIN instance AS kept ON kept.patient_id = merger.patient_id AND kept.sop_uid = other.sop_uid
       AND kept.sha256 <> other.sha256
  JOIN keys.patient_key AS key ON key.patient_id = merger.source_id
  JOIN patient ON patient.id = merger.patient_id
 WHERE merger.patient_id = :patient AND merger.undone_at IS NULL AND {reach}
   AND (:study_uid::text IS NULL OR kept.study_uid = :study_uid)
 ORDER BY other.sop_uid LIMIT 1000

-- name: profile
SELECT json FROM resource WHERE type = 'Patient' AND id = :id AND NOT deleted

-- name: same_studies
SELECT one.fhir_id AS before, other.fhir_id AS after
  FROM study AS one JOIN study AS other ON other.patient_id = :after AND other.study_uid = one.study_uid
 WHERE one.patient_id = :before

-- name: author_of
SELECT author FROM resource WHERE type = :type AND id = :id

-- name: sent_meanwhile
-- What organizations sent into a record while another was part of it: it stayed when they were parted. By number, and
-- the images by their study; never a name of the patient.
SELECT organization.name AS organization, sent.kind, sent.id, min(sent.at) AS at, sum(sent.pieces)::integer AS pieces
  FROM merger JOIN LATERAL (
        SELECT coalesce(study.organization_id, study.resent_by[1]) AS organization_id, 'ImagingStudy' AS kind,
               study.fhir_id AS id, instance.created_at AS at, 1 AS pieces
          FROM instance JOIN study USING (patient_id, study_uid)
         WHERE instance.patient_id = merger.patient_id AND instance.deleted_at IS NULL
           AND instance.created_at BETWEEN merger.merged_at AND merger.undone_at
        UNION ALL
        SELECT substr(first.author, 14), first.type, first.id, first.last_updated, 1
          FROM resource_version AS first JOIN resource USING (patient_id, type, id)
         WHERE first.patient_id = merger.patient_id AND first.version = 1 AND NOT resource.deleted
           AND first.author LIKE 'organization:%' AND first.type NOT IN ('ImagingStudy', 'Patient', 'Provenance')
           AND first.last_updated BETWEEN merger.merged_at AND merger.undone_at
       ) AS sent ON true
  JOIN organization ON organization.id = sent.organization_id
 WHERE merger.id = :merger
 GROUP BY organization.name, sent.kind, sent.id ORDER BY at, sent.kind, sent.id LIMIT 200
