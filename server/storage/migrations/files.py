"""The SQL of a migration: a file for each room, run in the order of their names."""

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only


def run(revision: str) -> None:
    """Every `sql/<revision>_*.sql`, as it stands: many statements a file, inside the migration's transaction."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    for file in sorted((Path(__file__).parent / "sql").glob(f"{revision}_*.sql")):
        await_only(connection.execute(file.read_text(encoding="utf-8")))
