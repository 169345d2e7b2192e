"""What the surfaces needed beyond the foundation; a file of SQL for each room."""

from server.storage.migrations import files

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    files.run(revision)


def downgrade() -> None:
    raise NotImplementedError("what it added may hold data already: go back to a backup")
