"""What the second round of issues needed; a file of SQL for each room."""

from server.storage.migrations import files

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    files.run(revision)


def downgrade() -> None:
    raise NotImplementedError("what it added may hold data already: go back to a backup")
