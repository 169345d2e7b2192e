-- Topic-based subscriptions.

-- name: add_subscription
INSERT INTO subscription (id, client_id, account_id, actor, secret, topic, state, heartbeat, ends_at, patients,
                          created_at)
VALUES (:id, :client, :account, :actor, :secret, :topic, 'requested', :heartbeat, :ends_at, :patients, :now);

-- name: change_subscription
UPDATE subscription SET actor = :actor, secret = :secret, topic = :topic, state = :state, heartbeat = :heartbeat,
       ends_at = :ends_at, patients = :patients, failures = 0, problem = ''
 WHERE id = :id;

-- name: drop_subscription
DELETE FROM subscription WHERE id = :id;

-- name: subscription
SELECT id, client_id, account_id, actor, secret, topic, state, problem, failures, last_event, heartbeat, sent_at,
       ends_at
  FROM subscription WHERE id = :id;

-- name: subscriptions_of_caller
SELECT id, state, problem, last_event, topic FROM subscription
 WHERE client_id IS NOT DISTINCT FROM :client AND account_id IS NOT DISTINCT FROM :account
   AND (:ids::text[] IS NULL OR id = ANY (:ids::text[])) AND (:states::text[] IS NULL OR state = ANY (:states::text[]))
 ORDER BY created_at, id LIMIT 500;

-- name: count_subscriptions
SELECT count(*) FROM subscription
 WHERE client_id IS NOT DISTINCT FROM :client AND account_id IS NOT DISTINCT FROM :account;

-- name: subscribers
-- Who may want to hear of a change of this type and patient.
SELECT id FROM subscription
 WHERE topic = :type AND state IN ('active', 'error') AND (patients IS NULL OR :patient::text = ANY (patients))
   AND (ends_at IS NULL OR ends_at > :now)
 ORDER BY id;

-- name: whose_is_changed
SELECT patient_id FROM resource WHERE type = :type AND id = :id;

-- name: add_event
-- The next number of this subscription, once for each version.
WITH counted AS (
    UPDATE subscription SET last_event = last_event + 1
     WHERE id = :subscription AND state IN ('active', 'error')
       AND NOT EXISTS (SELECT 1 FROM subscription_event AS event WHERE event.subscription_id = :subscription
                          AND event.type = :type::text AND event.id = :id::text AND event.version = :version::integer)
    RETURNING id, last_event
)
INSERT INTO subscription_event (subscription_id, number, patient_id, type, id, version, at)
SELECT counted.id, counted.last_event, :patient::text, :type::text, :id::text, :version::integer, :now::timestamptz
  FROM counted
RETURNING number;

-- name: events
SELECT number, type, id, version, at FROM subscription_event
 WHERE subscription_id = :id AND number >= :least AND number <= :most ORDER BY number LIMIT :limit;

-- name: sent
UPDATE subscription SET sent_at = :now, failures = 0, problem = '', state = 'active'
 WHERE id = :id AND state <> 'off' RETURNING state;

-- name: not_sent
UPDATE subscription SET failures = failures + 1, problem = :problem WHERE id = :id RETURNING failures, state;

-- name: turn_subscription
UPDATE subscription SET state = :state, problem = :problem WHERE id = :id AND state <> :state RETURNING id;

-- name: heartbeats_due
-- Said to be sent at once, so that no other process sends the same.
UPDATE subscription SET sent_at = :now
 WHERE heartbeat IS NOT NULL AND state = 'active' AND sent_at <= :now::timestamptz - make_interval(secs => heartbeat)
RETURNING id;

-- name: subscriptions_ended
SELECT id FROM subscription WHERE state <> 'off' AND ends_at <= :now LIMIT 200;

-- name: subscriptions_of_nobody
-- Whose app or account is gone.
SELECT resource.id FROM resource LEFT JOIN subscription ON subscription.id = resource.id
 WHERE resource.type = 'Subscription' AND NOT resource.deleted AND subscription.id IS NULL LIMIT 200;

-- name: erase_versions
DELETE FROM resource_version WHERE type = 'Subscription' AND id = ANY (:ids::text[]);

-- name: erase_subscriptions
DELETE FROM resource WHERE type = 'Subscription' AND id = ANY (:ids::text[]);

-- name: forget_events
DELETE FROM subscription_event WHERE at < :before;
