-- A role for the server that can add to the log and not change it. Run as the owner of the tables:
--   lightbox database-roles | psql "$OWNER_URL"
-- Then LIGHTBOX_DATABASE_OWNER_URL is the owner's address (schema changes, restore) and LIGHTBOX_DATABASE_URL this role's.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lightbox_server') THEN
        CREATE ROLE lightbox_server LOGIN;  -- give it a password: ALTER ROLE lightbox_server PASSWORD '…'
    END IF;
END $$;
GRANT USAGE ON SCHEMA public, keys TO lightbox_server;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, keys TO lightbox_server;
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public, keys TO lightbox_server;
-- What later migrations add.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO lightbox_server;
ALTER DEFAULT PRIVILEGES IN SCHEMA keys GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO lightbox_server;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO lightbox_server;
-- The log is added to. Its heads move on, and are never removed; neither are the keys that signed them.
REVOKE UPDATE, DELETE, TRUNCATE ON audit_event FROM lightbox_server;
REVOKE DELETE, TRUNCATE ON audit_head FROM lightbox_server;
REVOKE UPDATE, DELETE, TRUNCATE ON audit_key FROM lightbox_server;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON alembic_version FROM lightbox_server;
