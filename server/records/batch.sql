-- Many resources at once (batch.py).

-- name: lock_resources
-- Those of them that are there already, kept from changing until the transaction ends; always in the same order.
SELECT resource.type, resource.id, resource.deleted, resource.content_hash
  FROM unnest(:types::text[], :ids::text[]) AS asked (type, id)
  JOIN resource ON resource.type = asked.type AND resource.id = asked.id
 ORDER BY resource.key FOR UPDATE OF resource

-- name: is_heard
-- Whether somebody subscribed to changes of one of these types.
SELECT EXISTS (SELECT FROM subscription WHERE topic = ANY (:types::text[]) AND state <> 'off')

-- name: insert_resources
-- As insert_resource does it for one: new resources, their first versions and their index rows. An index row says by
-- `_of` which of the resources it belongs to, counted from 1.
WITH given AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('resource', 'key')) AS key, row.*
      FROM unnest(:patient_id::text[], :type::text[], :id::text[], :last_updated::timestamptz[],
                  :happened::timestamptz[], :happened_end::timestamptz[], :study_uid::text[], :author::text[],
                  :content_hash::bytea[], :json::bytea[], :narrative::text[], :content::text[], :scoped::text[])
           WITH ORDINALITY
           AS row (patient_id, type, id, last_updated, happened, happened_end, study_uid, author, content_hash, json,
                   narrative, content, scoped, place)
), written AS (
    INSERT INTO resource (key, patient_id, type, id, version, last_updated, happened, happened_end, study_uid, author,
                          content_hash, json)
    OVERRIDING SYSTEM VALUE
    SELECT key, patient_id, type, id, 1, last_updated, happened, happened_end, study_uid, author, content_hash, json
      FROM given ORDER BY place
    RETURNING key
), versioned AS (
    INSERT INTO resource_version (patient_id, type, id, version, last_updated, study_uid, author, method, json, scoped)
    SELECT patient_id, type, id, 1, last_updated, study_uid, author, 'PUT', json, string_to_array(scoped, chr(30))
      FROM given
), tokens AS (
    INSERT INTO index_token (patient_id, key, param, code, system)
    SELECT given.patient_id, given.key, row.param, row.code, row.system
      FROM unnest(:token_of::integer[], :token_param::text[], :token_code::text[], :token_system::text[])
           AS row (place, param, code, system) JOIN given USING (place)
), strings AS (
    INSERT INTO index_string (patient_id, key, param, folded, value)
    SELECT given.patient_id, given.key, row.param, row.folded, row.value
      FROM unnest(:string_of::integer[], :string_param::text[], :string_folded::text[], :string_value::text[])
           AS row (place, param, folded, value) JOIN given USING (place)
), dates AS (
    INSERT INTO index_date (patient_id, key, param, low, high)
    SELECT given.patient_id, given.key, row.param, row.low, row.high
      FROM unnest(:date_of::integer[], :date_param::text[], :date_low::timestamptz[], :date_high::timestamptz[])
           AS row (place, param, low, high) JOIN given USING (place)
), refs AS (
    INSERT INTO index_reference (patient_id, key, param, target_type, target_id, base)
    SELECT given.patient_id, given.key, row.param, row.type, row.id, row.base
      FROM unnest(:reference_of::integer[], :reference_param::text[], :reference_type::text[], :reference_id::text[],
                  :reference_base::text[])
           AS row (place, param, type, id, base) JOIN given USING (place)
), uris AS (
    INSERT INTO index_uri (patient_id, key, param, value)
    SELECT given.patient_id, given.key, row.param, row.value
      FROM unnest(:uri_of::integer[], :uri_param::text[], :uri_value::text[]) AS row (place, param, value)
      JOIN given USING (place)
), texts AS (
    INSERT INTO index_text (patient_id, key, narrative, content)
    SELECT patient_id, key, narrative::tsvector, content::tsvector FROM given
)
SELECT count(*) FROM written
