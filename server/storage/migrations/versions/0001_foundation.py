"""The foundation: accounts, access, audit, storage, records, imaging, oauth, jobs; a file of SQL for each."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    folder = Path(__file__).parent.parent / "sql"
    for file in sorted(folder.glob("0001_*.sql")):
        op.get_bind().connection.cursor().execute(file.read_text(encoding="utf-8"))


def downgrade() -> None:
    raise NotImplementedError("the first migration has no way back: drop the database")
