-- Signed heads: the keys that sign, and how far each chain was exported.

-- name: newest_key
SELECT kid, sealed FROM audit_key ORDER BY created_at DESC, kid LIMIT 1

-- name: add_key
INSERT INTO audit_key (kid, public, sealed, created_at) VALUES (:kid, :public, :sealed, :now)

-- name: public_keys
SELECT kid, public FROM audit_key

-- name: one_exporter
-- Until the end of the transaction.
SELECT pg_advisory_xact_lock(7411205)

-- name: grown
-- Chains that have more events than were exported.
SELECT head.chain, head.seq, head.hash FROM audit_head AS head LEFT JOIN audit_exported AS done USING (chain)
 WHERE done.seq IS NULL OR done.seq < head.seq ORDER BY head.chain

-- name: exported
INSERT INTO audit_exported (chain, seq) VALUES (:chain, :seq)
    ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq

-- name: at
-- The hash of one event of each chain.
SELECT event.chain, event.hash FROM unnest(:chains::uuid[], :seqs::bigint[]) AS wanted (chain, seq)
  JOIN audit_event AS event ON event.chain = wanted.chain AND event.seq = wanted.seq
