-- Bulk Data exports, and who acts later.

-- name: standing_client
-- What a backend client may do now, whatever it might when it asked.
SELECT client.scope, client.organization_id, client.trusted, client.name
  FROM client WHERE client.id = :client AND client.disabled_at IS NULL;

-- name: standing_account
SELECT account.name FROM account WHERE account.id = :account AND account.disabled_at IS NULL;

-- name: open_exports
SELECT count(*) FROM export
 WHERE client_id IS NOT DISTINCT FROM :client AND account_id IS NOT DISTINCT FROM :account AND state = 'accepted';

-- name: add_export
INSERT INTO export (id, client_id, account_id, asked, state, transaction_time, after_xid, created_at, expires_at)
VALUES (:id, :client, :account, :asked, 'accepted', :now, pg_snapshot_xmax(pg_current_snapshot())::text::bigint, :now,
        :expires_at);

-- name: export_of_caller
-- Of this very caller: another app of the same person has nothing to do with it.
SELECT id, asked, state, transaction_time, done, steps, problem, created_at, expires_at FROM export
 WHERE id = :id AND client_id IS NOT DISTINCT FROM :client AND account_id IS NOT DISTINCT FROM :account
   AND expires_at > :now;

-- name: export_to_do
SELECT id, asked, transaction_time, after_xid, done, last_key FROM export WHERE id = :id AND state = 'accepted';

-- name: written_before
-- Whether everything that was being written when the export was asked for has come to an end.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= :xid;

-- name: export_some
-- The next resources of one type, each in the version that was current at the time of the export.
WITH found AS (
    SELECT resource.key, resource.type, resource.id, resource.version, resource.last_updated
      FROM resource
     WHERE resource.type = :type::text AND NOT resource.deleted AND resource.key > :after AND {match} AND {reach}
     ORDER BY resource.key LIMIT :limit
), kept AS (
    INSERT INTO export_row (export_id, type, deleted, key, version)
    SELECT :export::uuid, found.type, false, found.key, chosen.version
      FROM found, LATERAL (
           SELECT CASE WHEN found.last_updated <= :time::timestamptz THEN found.version
                       ELSE (SELECT max(old.version) FROM resource_version AS old
                              WHERE old.type = found.type AND old.id = found.id AND NOT old.deleted
                                AND old.last_updated <= :time::timestamptz) END) AS chosen (version)
     WHERE chosen.version IS NOT NULL
    ON CONFLICT DO NOTHING
)
SELECT count(*) AS found, max(key) AS last FROM found;

-- name: export_deleted
-- What was deleted since, of one type.
WITH found AS (
    SELECT resource.key, resource.version FROM resource
     WHERE resource.type = :type::text AND resource.deleted AND resource.last_updated > :since::timestamptz
       AND resource.last_updated <= :time::timestamptz AND {match} AND {reach}
), kept AS (
    INSERT INTO export_row (export_id, type, deleted, key, version)
    SELECT :export::uuid, :type::text, true, found.key, found.version FROM found ON CONFLICT DO NOTHING
)
SELECT count(*) FROM found;

-- name: export_referred
-- People and organizations that what is exported refers to.
INSERT INTO export_row (export_id, type, deleted, key, version)
SELECT DISTINCT :export::uuid, resource.type, false, resource.key, resource.version
  FROM export_row AS row
  JOIN index_reference AS ref ON ref.key = row.key AND ref.target_type = :type::text AND ref.base = ANY (:bases::text[])
  JOIN resource ON resource.type = :type::text AND resource.id = ref.target_id AND NOT resource.deleted
 WHERE row.export_id = :export::uuid AND NOT row.deleted AND {match} AND {reach}
ON CONFLICT DO NOTHING;

-- name: export_went_on
UPDATE export SET done = :done, steps = :steps, last_key = :last WHERE id = :id AND state = 'accepted';

-- name: export_ended
UPDATE export SET state = :state, problem = :problem, expires_at = :expires_at WHERE id = :id AND state = 'accepted';

-- name: export_patients
SELECT DISTINCT resource.patient_id FROM export_row AS row JOIN resource ON resource.key = row.key
 WHERE row.export_id = :id AND resource.patient_id <> '';

-- name: export_files
SELECT type, deleted, count(*) AS count FROM export_row WHERE export_id = :id GROUP BY type, deleted ORDER BY type;

-- name: export_page
-- A part of a file, as far as who downloads it may read it at this moment.
SELECT row.key, resource.id, old.json
  FROM export_row AS row
  JOIN resource ON resource.key = row.key
  JOIN resource_version AS old ON old.patient_id = resource.patient_id AND old.type = resource.type
       AND old.id = resource.id AND old.version = row.version
 WHERE row.export_id = :id AND row.type = :type::text AND row.deleted = :deleted AND row.key > :after
   AND {reach}
 ORDER BY row.key LIMIT :limit;

-- name: drop_export
DELETE FROM export WHERE id = :id;

-- name: drop_old_exports
DELETE FROM export WHERE expires_at < :now;
