"""What the surfaces needed beyond the foundation; a file of SQL for each room."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    folder = Path(__file__).parent.parent / "sql"
    for file in sorted(folder.glob("0002_*.sql")):
        op.get_bind().connection.cursor().execute(file.read_text(encoding="utf-8"))


def downgrade() -> None:
    raise NotImplementedError(
        "it adds columns and tables only; a release before this one can go on with them"
    )
