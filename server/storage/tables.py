"""What tables there are, and whose their rows are: asked of the database, so that no table can be forgotten.

A row belongs to the patient named in its column `patient_id` (of table `patient`: `id`); rows without such a column,
or with nothing in it, belong to the system.
"""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import TopologicalSorter

from .db import Database
from .sql import load

QUERIES = load(__package__, "tables.sql")
OWNER = "patient_id"


@dataclass(frozen=True)
class ForeignKey:
    """Columns that name a row of another table."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    cascades: bool = False  # rows go with what they refer to


@dataclass(frozen=True)
class Table:
    """One table of ours."""

    schema: str
    name: str
    columns: tuple[str, ...]
    counted: tuple[str, ...]  # columns with a sequence behind them
    keys: tuple[ForeignKey, ...] = ()

    @property
    def full(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        return f'"{self.schema}"."{self.name}"'

    @property
    def owner(self) -> str | None:
        """The column that says whose a row is."""
        if self.full.endswith(".patient"):
            return "id"
        return OWNER if OWNER in self.columns else None


async def all_tables(db: Database) -> list[Table]:
    """Every table, parents before those that refer to them."""
    keys: dict[str, list[ForeignKey]] = {}
    for row in await db.fetch_all(QUERIES["foreign_keys"]):
        key = ForeignKey(tuple(row["columns"]), row["parent"], tuple(row["parent_columns"]), row["cascades"])
        keys.setdefault(row["child"], []).append(key)
    found = {}
    for row in await db.fetch_all(QUERIES["tables"]):
        name = f"{row['schema']}.{row['name']}"
        found[name] = Table(
            row["schema"],
            row["name"],
            tuple(row["columns"]),
            tuple(row["counted"] or ()),
            tuple(keys.get(name, ())),
        )
    before = {name: {key.parent for key in table.keys} - {name} for name, table in found.items()}
    return [found[name] for name in TopologicalSorter(before).static_order()]
