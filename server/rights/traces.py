"""Every row of a patient, in whatever tables there are: to be deleted, and to be looked for."""

from __future__ import annotations

from server.access.services import Services
from server.storage.sql import Statement, load
from server.storage.tables import Table, all_tables

QUERIES = load(__package__)
_TOMBSTONE = "public.erasure"
_DEALT_WITH_BY_NAME = (_TOMBSTONE, "keys.patient_key")


async def drop_rows(services: Services, patient_id: str) -> int:
    """Delete every row of the patient, those without a reference first; how many were told to go."""
    count, tables = 0, await all_tables(services.db)
    owned = {table.full for table in tables if table.owner is not None}
    for table in reversed(tables):
        if _is_root(table, owned):
            count += await services.db.execute(_delete(table), {"patient": patient_id})
    await services.db.execute(QUERIES["drop_jobs"], {"patient": patient_id})
    return count


def _is_root(table: Table, owned: set[str]) -> bool:
    """Whether these rows go by themselves: the others go with what they belong to (ON DELETE CASCADE)."""
    if table.owner is None or table.full in _DEALT_WITH_BY_NAME:
        return False
    return not any(key.cascades and key.parent in owned - {table.full} for key in table.keys)


def _delete(table: Table) -> Statement:
    text = f'DELETE FROM {table.quoted} WHERE "{table.owner}" = :patient'  # noqa: S608 - names of our own schema
    return Statement(f"erase {table.full}", text)


def _count(table: Table) -> Statement:
    text = f'SELECT count(*) FROM {table.quoted} WHERE "{table.owner}" = :patient'  # noqa: S608 - our own schema
    return Statement(f"count {table.full}", text)


async def traces(services: Services, patient_id: str) -> dict[str, int]:
    """Where rows of this patient still lie; nothing when they are gone."""
    found = {}
    for table in await all_tables(services.db):
        if table.owner is None or table.full == _TOMBSTONE:
            continue
        if count := await services.db.fetch_val(_count(table), {"patient": patient_id}):
            found[table.full] = int(count)
    return found
