-- name: index_rows
-- What searches find a resource by: put where a statement says [index], after it wrote the row as `written`.
, tokens AS (
    INSERT INTO index_token (patient_id, key, param, code, system)
    SELECT written.patient_id, written.key, row.* FROM written,
           unnest(:token_param::text[], :token_code::text[], :token_system::text[]) AS row
), strings AS (
    INSERT INTO index_string (patient_id, key, param, folded, value)
    SELECT written.patient_id, written.key, row.* FROM written,
           unnest(:string_param::text[], :string_folded::text[], :string_value::text[]) AS row
), dates AS (
    INSERT INTO index_date (patient_id, key, param, low, high)
    SELECT written.patient_id, written.key, row.* FROM written,
           unnest(:date_param::text[], :date_low::timestamptz[], :date_high::timestamptz[]) AS row
), refs AS (
    INSERT INTO index_reference (patient_id, key, param, target_type, target_id, base)
    SELECT written.patient_id, written.key, row.* FROM written,
           unnest(:reference_param::text[], :reference_type::text[], :reference_id::text[], :reference_base::text[]) AS row
), uris AS (
    INSERT INTO index_uri (patient_id, key, param, value)
    SELECT written.patient_id, written.key, row.* FROM written,
           unnest(:uri_param::text[], :uri_value::text[]) AS row
), quantities AS (
    INSERT INTO index_quantity (patient_id, key, param, low, high, system, code, unit)
    SELECT written.patient_id, written.key, row.* FROM written,
           unnest(:quantity_param::text[], :quantity_low::numeric[], :quantity_high::numeric[],
                  :quantity_system::text[], :quantity_code::text[], :quantity_unit::text[]) AS row
), composites AS (
    INSERT INTO index_composite
    SELECT written.patient_id, written.key, row.* FROM written,
           jsonb_to_recordset(:composites::jsonb) AS row (
               param text, f_code text, f_system text, t_code text, t_system text, s_folded text, s_value text,
               d_low timestamptz, d_high timestamptz, q_low numeric, q_high numeric, q_system text, q_code text,
               q_unit text, r_type text, r_id text, r_base text)
), texts AS (
    INSERT INTO index_text (patient_id, key, narrative, content)
    SELECT written.patient_id, written.key, :narrative::text::tsvector, :content::text::tsvector FROM written
    ON CONFLICT (key) DO UPDATE SET narrative = excluded.narrative, content = excluded.content
     WHERE (index_text.narrative, index_text.content) IS DISTINCT FROM (excluded.narrative, excluded.content)
);

-- name: no_index
-- What is deleted before `index_rows` writes it anew: put where a statement says [no_index].
, no_tokens AS (DELETE FROM index_token WHERE key = :key
), no_strings AS (DELETE FROM index_string WHERE key = :key
), no_dates AS (DELETE FROM index_date WHERE key = :key
), no_refs AS (DELETE FROM index_reference WHERE key = :key
), no_uris AS (DELETE FROM index_uri WHERE key = :key
), no_quantities AS (DELETE FROM index_quantity WHERE key = :key
), no_composites AS (DELETE FROM index_composite WHERE key = :key
);

-- name: insert_resource
-- A new resource, its first version and its index rows in one statement; no row comes back when the patient it is
-- for may not be written to by the caller.
WITH written AS (
    INSERT INTO resource (patient_id, type, id, version, last_updated, happened, happened_end, study_uid, author,
                          content_hash, json)
    SELECT resource.patient_id, resource.type, resource.id, 1, :last_updated, :happened, :happened_end,
           resource.study_uid, resource.author, :content_hash, :json
      FROM (SELECT :patient_id::text AS patient_id, :type::text AS type, :id::text AS id,
                   :study_uid::text AS study_uid, :author::text AS author) AS resource
     WHERE {patient}
    RETURNING key, patient_id
), versioned AS (
    INSERT INTO resource_version (patient_id, type, id, version, last_updated, study_uid, author, method, json, scoped)
    SELECT :patient_id, :type, :id, 1, :last_updated, :study_uid, :author, :method, :json, :scoped::text[] FROM written
)[index]
SELECT key FROM written;

-- name: update_resource
-- The next version of a row that was locked before; its index rows are made anew.
WITH written AS (
    UPDATE resource SET version = version + 1, deleted = false, last_updated = :last_updated, happened = :happened,
           happened_end = :happened_end,
           study_uid = :study_uid, author = :author, content_hash = :content_hash, json = :json
     WHERE key = :key
    RETURNING key, patient_id, type, id, version
), versioned AS (
    INSERT INTO resource_version (patient_id, type, id, version, last_updated, study_uid, author, method, json, scoped)
    SELECT patient_id, type, id, version, :last_updated, :study_uid, :author, :method, :json, :scoped::text[] FROM written
)[no_index][index]
SELECT version FROM written;

-- name: tell_subscribers
-- A job for whoever subscribed to changes of this type; nothing where nobody did.
WITH told AS (
    INSERT INTO job (id, kind, payload, created_at, due_at)
    SELECT :job::uuid, :kind, jsonb_build_object('type', :type::text, 'id', :id::text, 'version', :version::integer),
           :now::timestamptz, :now::timestamptz
     WHERE EXISTS (SELECT 1 FROM subscription WHERE topic = :type::text AND state <> 'off')
    RETURNING id
)
SELECT pg_notify('job', '') FROM told;

-- name: delete_resource
-- A version without content; nothing finds it any more.
WITH written AS (
    UPDATE resource SET version = version + 1, deleted = true, last_updated = :last_updated, author = :author,
           content_hash = '', json = ''
     WHERE key = :key
    RETURNING patient_id, type, id, version, study_uid
), versioned AS (
    INSERT INTO resource_version (patient_id, type, id, version, deleted, last_updated, study_uid, author, method, json)
    SELECT patient_id, type, id, version, true, :last_updated, study_uid, :author, 'DELETE', '' FROM written
)[no_index], no_texts AS (DELETE FROM index_text WHERE key = :key)
SELECT version FROM written;

-- name: index_again
-- The index rows of one resource made anew, which itself stays as it is.
WITH written AS (SELECT key, patient_id FROM resource WHERE key = :key)[no_index][index]
SELECT count(*) FROM written;

-- name: index_made_by
SELECT made_by, next_key FROM search_index;

-- name: index_begins
-- From the first resource on; none where there are no resources yet.
INSERT INTO search_index (made_by, next_key) VALUES (:made_by, (SELECT min(key) FROM resource))
ON CONFLICT (one) DO UPDATE SET made_by = excluded.made_by, next_key = excluded.next_key;

-- name: index_adopted
-- Of a database that was new when its tables were made.
UPDATE search_index SET made_by = :made_by WHERE made_by = '';

-- name: index_goes_on
UPDATE search_index SET next_key = :next WHERE made_by = :made_by;

-- name: to_index_again
SELECT key, json FROM resource WHERE key >= :from AND NOT deleted ORDER BY key LIMIT :limit FOR UPDATE;

-- name: within_reach
-- Whether the row, as it is now with its index, lies within reach: asked after a write, before it is committed.
SELECT 1 FROM resource WHERE resource.key = :key AND {reach};

-- name: lock_resource
-- The current version, kept from changing until the transaction ends.
SELECT key, patient_id, type, id, version, deleted, last_updated, study_uid, author, content_hash, json
  FROM resource WHERE type = :type AND id = :id AND {reach} FOR UPDATE;

-- name: read_resource
SELECT patient_id, type, id, version, deleted, last_updated, study_uid, author, json
  FROM resource WHERE type = :type AND id = :id AND {reach};

-- name: read_version
-- A version is seen where the resource is seen, as it is now and as it was then.
SELECT old.patient_id, old.type, old.id, old.version, old.deleted, old.last_updated, old.study_uid, old.author,
       old.json
  FROM resource_version AS old JOIN resource USING (patient_id, type, id)
 WHERE old.type = :type AND old.id = :id AND old.version = :version AND {reach};

-- name: history
-- Versions, newest first; of one resource, of a type or of all types, as {match} says.
SELECT old.patient_id, old.type, old.id, old.version, old.deleted, old.last_updated, old.study_uid, old.author,
       old.method, old.json
  FROM resource_version AS old JOIN resource USING (patient_id, type, id)
 WHERE {match} AND {reach}
 ORDER BY old.last_updated DESC, old.type, old.id, old.version DESC
 LIMIT :limit;

-- name: count_history
SELECT count(*) FROM (
    SELECT 1 FROM resource_version AS old JOIN resource USING (patient_id, type, id)
     WHERE {match} AND {reach} LIMIT :limit) AS counted;

-- name: page
-- One page of a search. [columns], [joins] and [order] come from the registry (search_order.py).
SELECT resource.key, resource.patient_id, resource.type, resource.id, resource.version, resource.last_updated,
       resource.study_uid, resource.json[columns]
  FROM resource [joins]
 WHERE resource.type = :type AND NOT resource.deleted AND {match} AND {reach}
 ORDER BY [order]
 LIMIT :limit;

-- name: first_page
-- The first of a search, each with how much that is, counted up to [most]: one walk over the keys, and the resources
-- of what is shown, and what is asked aside. The parts are those of "page".
SELECT shown.*[positions], found.counted, {aside} AS aside FROM (
    SELECT page.*, count(*) OVER () AS counted, row_number() OVER () AS place FROM (
        SELECT resource.key[columns]
          FROM resource [joins]
         WHERE resource.type = :type AND NOT resource.deleted AND {match} AND {reach}
         ORDER BY [order]
         LIMIT [most]) AS page) AS found
 CROSS JOIN LATERAL (
    SELECT resource.key, resource.patient_id, resource.type, resource.id, resource.version, resource.last_updated,
           resource.study_uid, resource.json
      FROM resource WHERE resource.key = found.key OFFSET 0) AS shown
 WHERE found.place <= :shown::bigint
 ORDER BY found.place;

-- name: count_found
SELECT count(*) FROM (
    SELECT 1 FROM resource WHERE resource.type = :type AND NOT resource.deleted AND {match} AND {reach}
     LIMIT :limit::bigint) AS counted;

-- name: types_referred_to
-- Which types a page refers to by these parameters.
SELECT DISTINCT ref.target_type FROM index_reference AS ref
 WHERE ref.key = ANY (:keys::bigint[]) AND ref.param = ANY (:params::text[]) AND ref.base = ANY (:bases::text[]);

-- name: included
-- What a page refers to: _include.
SELECT resource.key, resource.patient_id, resource.type, resource.id, resource.version, resource.last_updated,
       resource.study_uid, resource.json
  FROM resource
 WHERE resource.type = :type AND NOT resource.deleted AND {reach}
   AND resource.id IN (SELECT target_id FROM index_reference AS ref
                        WHERE ref.key = ANY (:keys::bigint[]) AND ref.param = ANY (:params::text[])
                          AND ref.target_type = :type AND ref.base = ANY (:bases::text[]))
 ORDER BY resource.key LIMIT :limit;

-- name: including
-- What refers to a page: _revinclude.
SELECT resource.key, resource.patient_id, resource.type, resource.id, resource.version, resource.last_updated,
       resource.study_uid, resource.json
  FROM resource
 WHERE resource.type = :type AND NOT resource.deleted AND {reach}
   AND resource.key IN (SELECT ref.key FROM index_reference AS ref
                         JOIN unnest(:types::text[], :ids::text[]) AS found (type, id)
                           ON ref.target_type = found.type AND ref.target_id = found.id
                        WHERE ref.param = ANY (:params::text[]) AND ref.base = ANY (:bases::text[]))
 ORDER BY resource.key LIMIT :limit;
