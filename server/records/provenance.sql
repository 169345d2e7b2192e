-- name: who_they_are
-- Authors of resources as people and organizations; an account that is gone has no name any more.
SELECT given.author, practitioner.id AS practitioner_id, holder.as_what, organization.id AS organization_id,
       coalesce(practitioner.name, organization.name, client.name, account.name, '') AS name
  FROM unnest(:authors::text[], :accounts::uuid[], :organizations::text[], :clients::text[])
       WITH ORDINALITY AS given (author, account_id, organization_id, client_id, place)
  LEFT JOIN account ON account.id = given.account_id
  LEFT JOIN holder ON holder.account_id = account.id AND holder.patient_id = :patient
  LEFT JOIN practitioner ON practitioner.account_id = account.id AND holder.patient_id IS NULL
  LEFT JOIN organization ON organization.id = given.organization_id
  LEFT JOIN client ON client.id = given.client_id
 ORDER BY given.place
