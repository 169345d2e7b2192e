-- What tables there are, asked of the database itself: what others add is covered without being named anywhere.

-- name: tables
SELECT space.nspname AS schema, class.relname AS name,
       array_agg(part.attname::text ORDER BY part.attnum) FILTER (WHERE part.attgenerated = '') AS columns,
       array_agg(part.attname::text) FILTER (WHERE pg_get_serial_sequence(
           format('%I.%I', space.nspname, class.relname), part.attname) IS NOT NULL) AS counted
  FROM pg_class AS class
  JOIN pg_namespace AS space ON space.oid = class.relnamespace
  JOIN pg_attribute AS part ON part.attrelid = class.oid AND part.attnum > 0 AND NOT part.attisdropped
 WHERE class.relkind IN ('r', 'p') AND NOT class.relispartition AND space.nspname IN (current_schema(), 'keys')
 GROUP BY space.nspname, class.relname
 ORDER BY space.nspname, class.relname

-- name: foreign_keys
SELECT from_space.nspname || '.' || from_class.relname AS child, to_space.nspname || '.' || to_class.relname AS parent,
       (SELECT array_agg(part.attname::text ORDER BY place) FROM unnest(held.conkey) WITH ORDINALITY AS key (number, place)
          JOIN pg_attribute AS part ON part.attrelid = held.conrelid AND part.attnum = key.number) AS columns,
       (SELECT array_agg(part.attname::text ORDER BY place) FROM unnest(held.confkey) WITH ORDINALITY AS key (number, place)
          JOIN pg_attribute AS part ON part.attrelid = held.confrelid AND part.attnum = key.number) AS parent_columns,
       held.confdeltype = 'c' AS cascades
  FROM pg_constraint AS held
  JOIN pg_class AS from_class ON from_class.oid = held.conrelid
  JOIN pg_namespace AS from_space ON from_space.oid = from_class.relnamespace
  JOIN pg_class AS to_class ON to_class.oid = held.confrelid
  JOIN pg_namespace AS to_space ON to_space.oid = to_class.relnamespace
 WHERE held.contype = 'f' AND from_space.nspname IN (current_schema(), 'keys')

-- name: revision
SELECT version_num FROM alembic_version

-- name: all_packs
SELECT id, size FROM pack WHERE state = 'ready' ORDER BY id

-- name: keep_packs
-- Files stay while this is held: the sweep asks for the same, shared with other sweeps.
SELECT pg_advisory_lock(:lock)

-- name: release_packs
SELECT pg_advisory_unlock(:lock)

-- name: key_of
SELECT wrapped FROM keys.patient_key WHERE patient_id = :patient_id

-- name: forget_idle_keys
-- Of patients that the backup does not hold.
DELETE FROM keys.patient_key WHERE NOT EXISTS (SELECT FROM patient WHERE patient.id = patient_key.patient_id)

-- name: forget_idle_account_keys
DELETE FROM keys.account_key WHERE NOT EXISTS (SELECT FROM account WHERE account.id = account_key.account_id)

-- name: forget_pseudonyms
DELETE FROM pseudonym WHERE subject = ANY (:subjects)
