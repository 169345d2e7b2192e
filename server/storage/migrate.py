"""Bring the schema to what this version needs (Alembic; migrations in `migrations/`)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from server.core.errors import ServerError


class MigrationFailed(ServerError):
    """The database's schema could not be brought up to date."""


def migrate(url: str, revision: str = "head") -> None:
    """Run what is missing, in one transaction; several processes at once wait for each other.

    Raises MigrationFailed with the database's own sentence.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    try:
        command.upgrade(config, revision)
    except Exception as exc:
        raise MigrationFailed(f"The database's schema could not be brought up to date: {exc}") from exc
