"""`lightbox database-roles`: SQL for a PostgreSQL of one's own, whose server role cannot change the log."""

from __future__ import annotations

import sys
from importlib import resources


def roles() -> None:
    """Print SQL for a role that can add to the log and not change it; pipe it into psql as the tables' owner."""
    sys.stdout.write(resources.files("server.storage").joinpath("roles.sql").read_text(encoding="utf-8"))
