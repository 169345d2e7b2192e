-- name: parties
-- The pseudonyms of whom it concerns and who acted, made when new, and the key that seals the details. Known ones
-- are not locked: two callers that meet the same people in another order must not wait for each other.
WITH wanted AS (
    SELECT subject FROM (VALUES (:patient::text), (:actor::text), (:client::text)) AS given (subject)
     WHERE subject IS NOT NULL GROUP BY subject
), known AS (
    SELECT pseudonym.subject, pseudonym.pseudonym FROM pseudonym JOIN wanted USING (subject)
), made AS (
    INSERT INTO pseudonym (subject, pseudonym)
    SELECT subject, gen_random_uuid() FROM wanted WHERE subject NOT IN (SELECT subject FROM known) ORDER BY subject
        ON CONFLICT DO NOTHING
    RETURNING subject, pseudonym
), found AS (
    SELECT * FROM known UNION ALL SELECT * FROM made
)
SELECT (SELECT pseudonym FROM found WHERE subject = :patient) AS chain,
       (SELECT pseudonym FROM found WHERE subject = :actor) AS actor,
       (SELECT pseudonym FROM found WHERE subject = :client) AS client,
       (SELECT wrapped FROM keys.patient_key WHERE patient_id = :patient_id) AS wrapped

-- name: account_key
SELECT wrapped FROM keys.account_key WHERE account_id = :account

-- name: add_account_key
-- Of an account that there is: what is written about one that was erased gets no key any more.
INSERT INTO keys.account_key (account_id, wrapped, created_at)
SELECT id, :wrapped, :now FROM account WHERE id = :account
    ON CONFLICT (account_id) DO NOTHING RETURNING wrapped

-- name: parties_of_all
-- The same for many patients at once, in their order.
WITH wanted AS (
    SELECT 'patient:' || patient_id AS subject FROM unnest(:patients::text[]) AS asked (patient_id)
     UNION SELECT :actor::text WHERE :actor::text IS NOT NULL
     UNION SELECT :client::text WHERE :client::text IS NOT NULL
), known AS (
    SELECT pseudonym.subject, pseudonym.pseudonym FROM pseudonym JOIN wanted USING (subject)
), made AS (
    INSERT INTO pseudonym (subject, pseudonym)
    SELECT subject, gen_random_uuid() FROM wanted WHERE subject NOT IN (SELECT subject FROM known) ORDER BY subject
        ON CONFLICT DO NOTHING
    RETURNING subject, pseudonym
), found AS (
    SELECT * FROM known UNION ALL SELECT * FROM made
)
SELECT found.pseudonym AS chain,
       (SELECT pseudonym FROM found WHERE subject = :actor) AS actor,
       (SELECT pseudonym FROM found WHERE subject = :client) AS client,
       key.wrapped
  FROM unnest(:patients::text[]) WITH ORDINALITY AS asked (patient_id, place)
  LEFT JOIN found ON found.subject = 'patient:' || asked.patient_id
  LEFT JOIN keys.patient_key AS key ON key.patient_id = asked.patient_id
 ORDER BY asked.place

-- name: append_all
-- One event for each of different chains; their heads are locked in one order.
WITH given AS MATERIALIZED (
    SELECT row.* FROM unnest(:chains::uuid[], :payloads::bytea[], :ids::uuid[]) AS row (chain, payload, id)
), head AS (
    INSERT INTO audit_head AS held (chain, seq, hash)
    SELECT chain, 1, sha256(uuid_send(chain) || payload) FROM given ORDER BY chain
        ON CONFLICT (chain) DO UPDATE
           SET seq = held.seq + 1,
               hash = sha256(held.hash || (SELECT payload FROM given WHERE given.chain = held.chain))
    RETURNING chain, seq, hash
)
INSERT INTO audit_event (chain, seq, id, at, event, outcome, actor, client, payload, hash)
SELECT chain, seq, id, :at, :event, :outcome, :actor, :client, payload, hash FROM head JOIN given USING (chain)

-- name: append
-- One statement: the row of audit_head is the lock, so that concurrent writers do not fork the chain.
WITH head AS (
    INSERT INTO audit_head AS held (chain, seq, hash)
    VALUES (:chain, 1, sha256(:genesis::bytea || :payload::bytea))
    ON CONFLICT (chain) DO UPDATE SET seq = held.seq + 1, hash = sha256(held.hash || :payload::bytea)
    RETURNING seq, hash
)
INSERT INTO audit_event (chain, seq, id, at, event, outcome, actor, client, payload, hash, fold)
SELECT :chain, seq, :id, :at, :event, :outcome, :actor, :client, :payload, hash, :fold FROM head

-- name: folded
-- Whether an event with this key was recorded.
SELECT 1 FROM audit_event WHERE fold = :fold

-- name: chains
-- Every chain and its head.
SELECT chain, seq, hash FROM audit_head ORDER BY chain

-- name: links
-- One chain from its beginning.
SELECT seq, id, payload, hash, event, outcome, actor, client, at FROM audit_event
 WHERE chain = :chain ORDER BY seq

-- name: headless
-- Events of chains that have no head: somebody removed it.
SELECT DISTINCT chain FROM audit_event WHERE chain NOT IN (SELECT chain FROM audit_head)

-- name: any_merged
-- Whether records were merged into those in reach: their chains are read with them.
SELECT EXISTS (SELECT FROM merger JOIN patient ON patient.id = merger.patient_id
                WHERE merger.undone_at IS NULL AND {reach})

-- name: events_of
-- What happened to the patients in reach, newest first, or oldest.
SELECT patient.id AS patient_id, happened.id, happened.at, happened.event, happened.outcome,
       happened.payload, key.wrapped,
       ARRAY(SELECT account_id FROM holder
              WHERE holder.patient_id = patient.id AND holder.as_what = 'self') AS own_accounts
  FROM patient
  [chains]
  JOIN pseudonym ON pseudonym.subject = 'patient:' || [part]
  JOIN audit_event AS happened ON happened.chain = pseudonym.pseudonym
  LEFT JOIN keys.patient_key AS key ON key.patient_id = [part]
 WHERE {reach} AND {match}
 ORDER BY [order] LIMIT :limit OFFSET :offset

-- name: events_of_few
-- The same of few patients: the first events of each chain, found by its index, and never the whole of a long log.
SELECT patient.id AS patient_id, happened.id, happened.at, happened.event, happened.outcome,
       happened.payload, key.wrapped, own.accounts AS own_accounts
  FROM patient
  CROSS JOIN LATERAL (SELECT ARRAY(SELECT account_id FROM holder WHERE holder.patient_id = patient.id
                                      AND holder.as_what = 'self') AS accounts OFFSET 0) AS own
  [chains]
  JOIN pseudonym ON pseudonym.subject = 'patient:' || [part]
  LEFT JOIN keys.patient_key AS key ON key.patient_id = [part]
  CROSS JOIN LATERAL (SELECT happened.* FROM audit_event AS happened
                       WHERE happened.chain = pseudonym.pseudonym AND {match}
                       ORDER BY [order] LIMIT :limit::bigint + :offset::bigint) AS happened
 WHERE {reach}
 ORDER BY [order] LIMIT :limit OFFSET :offset

-- name: actors_of
-- Everyone who acted, each by the latest event.
SELECT DISTINCT ON (happened.actor) patient.id AS patient_id, happened.id, happened.at, happened.event,
       happened.outcome, happened.actor, happened.payload, key.wrapped, '{}'::uuid[] AS own_accounts
  FROM patient
  [chains]
  JOIN pseudonym ON pseudonym.subject = 'patient:' || [part]
  JOIN audit_event AS happened ON happened.chain = pseudonym.pseudonym
  LEFT JOIN keys.patient_key AS key ON key.patient_id = [part]
 WHERE {reach} AND happened.actor IS NOT NULL
 ORDER BY happened.actor, happened.at DESC LIMIT 500

-- name: count_events_of
-- How many of them there are.
SELECT count(*) FROM patient
  [chains]
  JOIN pseudonym ON pseudonym.subject = 'patient:' || [part]
  JOIN audit_event AS happened ON happened.chain = pseudonym.pseudonym
 WHERE {reach} AND {match}
