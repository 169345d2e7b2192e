"""Many resources that the server itself made, stored in a few statements: what `store.put` does, for all of them.

A store of many patients at once makes some hundred resources; one by one, most of the time would go into the
statements' ways to the database and back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from server.core import clock
from server.storage.db import Database
from server.storage.sql import load

from . import document, store
from .document import Json
from .findable import found_by

QUERIES = load(__package__, "batch.sql")
AT_ONCE = 400  # resources of one statement
_SEPARATOR = "\x1e"  # a mark has the other one in it
# Columns of one row each, and the lists of index rows by their table.
_PLAIN = ("happened", "happened_end", "content_hash", "narrative", "content")
_LISTS = {
    "token": ("param", "code", "system"),
    "string": ("param", "folded", "value"),
    "date": ("param", "low", "high"),
    "reference": ("param", "type", "id", "base"),
    "uri": ("param", "value"),
}


@dataclass(frozen=True)
class Put:
    """A resource under the id it carries, and whose it is."""

    resource: Json
    patient_id: str
    study_uid: str | None = None
    author: str = "server"

    @property
    def key(self) -> tuple[str, str]:
        return self.resource["resourceType"], self.resource["id"]


async def put_all(db: Database, puts: Iterable[Put]) -> None:
    """Store each of them, with a new version only where the content changed; within the caller's transaction.

    For Lightbox's own resources: no reach, no validation. Raises AlreadyStored when another writer made one of the
    new ones meanwhile.
    """
    wanted = list({each.key: each for each in puts}.values())
    if not wanted:
        return
    values = {"types": [each.key[0] for each in wanted], "ids": [each.key[1] for each in wanted]}
    held = {
        (row["type"], row["id"]): None if row["deleted"] else row["content_hash"]
        for row in await db.fetch_all(QUERIES["lock_resources"], values)
    }
    for each in wanted:
        if each.key in held and held[each.key] != document.content_hash(each.resource):
            await _put(db, each)
    fresh = [each for each in wanted if each.key not in held]
    for start in range(0, len(fresh), AT_ONCE):
        await _insert(db, fresh[start : start + AT_ONCE])


async def _put(db: Database, each: Put) -> None:
    await store.put(
        db, each.resource, patient_id=each.patient_id, study_uid=each.study_uid, author=each.author
    )


async def _insert(db: Database, fresh: Sequence[Put]) -> None:
    watched = {each.key[0] for each in fresh} & store.WATCHED
    heard = bool(watched) and await db.fetch_val(QUERIES["is_heard"], {"types": sorted(watched)})
    now = clock.now()
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as `meta.lastUpdated` says it
    rows = await asyncio.to_thread(lambda: [_row(each, now) for each in fresh])
    plain: list[dict[str, Any]] = []
    for each, row in zip(fresh, rows, strict=True):
        # What is rare goes its usual way: a statement of its own, subscribers told.
        if row is None or (heard and each.key[0] in watched):
            await _put(db, each)
        else:
            plain.append(row)
    if plain:
        await db.execute(QUERIES["insert_resources"], _columns(plain))


def _row(each: Put, now: datetime) -> dict[str, Any] | None:
    """What one resource writes; None where it has index rows of the rarer kinds, or content beside it."""
    type, id = each.key
    whole = document.identified(each.resource, id=id, version=1, last_updated=now)
    found = found_by(whole)
    if found["quantity_param"] or found["composites"] != "[]" or type == "Binary":
        return None
    return {
        **found,
        "type": type,
        "id": id,
        "patient_id": each.patient_id,
        "study_uid": each.study_uid,
        "author": each.author,
        "last_updated": now,
        "json": document.dump(whole),
    }


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    names = ("patient_id", "type", "id", "last_updated", "study_uid", "author", "json", *_PLAIN)
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in names}
    columns["scoped"] = [_SEPARATOR.join(row["scoped"]) for row in rows]
    for table, parts in _LISTS.items():
        first = f"{table}_{parts[0]}"
        columns[f"{table}_of"] = [place for place, row in enumerate(rows, 1) for _ in row[first]]
        for part in parts:
            name = f"{table}_{part}"
            columns[name] = [value for row in rows for value in row[name]]
    return columns
