-- name: of_account
-- By its pseudonym; the condition on the event is that of the index.
SELECT happened.at, happened.event, happened.outcome
  FROM pseudonym JOIN audit_event AS happened ON happened.actor = pseudonym.pseudonym
 WHERE pseudonym.subject = :subject AND happened.event LIKE 'account:%'
 ORDER BY happened.at DESC LIMIT :limit
