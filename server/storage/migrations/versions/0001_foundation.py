"""The foundation: accounts, access, audit, storage, records, imaging, oauth, jobs; a file of SQL for each."""

from server.storage.migrations import files

revision = "0001"
down_revision = None


def upgrade() -> None:
    files.run(revision)


def downgrade() -> None:
    raise NotImplementedError("the first migration has no way back: drop the database")
