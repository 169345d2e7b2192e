"""Turning the master key over while the server serves: patients' keys are wrapped anew, nothing else is touched.

    1. the file gets a new key before the old one; every process sees it at its next use, and wraps with it
    2. every wrapped key is wrapped anew; again, until a pass finds nothing left after all transactions older than
       the change have ended
    3. the old key leaves the file (what it derived for the system stays, to open); it lies beside it as `.retired`

Killed anywhere, the file opens everything that is stored; run again, it goes on.
"""

from __future__ import annotations

import asyncio
import fcntl
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from server.core import clock
from server.core.errors import Conflict

from . import key_store
from .db import Database
from .key_store import Asks, KeyStore
from .keyring import KEY_SIZE, KeyFile, KeyRing, read_key_file, system_key, write_key_file
from .sql import Statement, load

QUERIES = load(__package__, "rotation.sql")
_PAGE = 500
_GRACE = 2.0  # seconds for a key that was made a moment before the change and is not inserted yet


async def rotate_master(
    db: Database, path: Path, *, store: KeyStore | None = None, grace: float = _GRACE
) -> int:
    """Do all of it; how many keys were wrapped anew. Raises Conflict when another rotation goes on."""
    with _alone(path):
        held = read_key_file(path)
        if len(held.masters) == 1:
            held = KeyFile((secrets.token_bytes(KEY_SIZE), *held.masters), held.systems, held.kms)
            write_key_file(path, held)
        keyring = KeyRing.load(path, create=False)
        places = [
            _Place(db, "", QUERIES["patient_keys"], QUERIES["rewrap"]),
            _Place(db, UUID(int=0), QUERIES["account_keys"], QUERIES["rewrap_account"]),
        ]
        if store is not None:
            places.append(_Place(store, b"", key_store.QUERIES["page"], key_store.QUERIES["rewrap"]))
        count = sum([await _rewrap_all(each, keyring) for each in places])
        await asyncio.sleep(grace)
        for each in places:
            await _older_transactions_ended(each.db)
        while again := sum([await _rewrap_all(each, keyring) for each in places]):
            count += again
        await asyncio.to_thread(_retire, path, held)
    return count


@dataclass(frozen=True)
class _Place:
    """Where patients' wrapped keys lie."""

    db: Asks
    first: str | bytes | UUID  # before every id
    page: Statement
    rewrap: Statement


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.with_name(f".{path.name}.lock").open("a") as door:
        try:
            fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Conflict("The master key is being rotated already.") from exc
        yield


async def _rewrap_all(place: _Place, keyring: KeyRing) -> int:
    count = 0
    after: Any = place.first
    while rows := await place.db.fetch_all(place.page, {"after": after, "limit": _PAGE}):
        old = [row for row in rows if not keyring.is_newest(row["wrapped"])]
        changes = [
            {"id": row["id"], "before": row["wrapped"], "after": keyring.rewrap(row["wrapped"])}
            for row in old
        ]
        await place.db.execute_many(place.rewrap, changes)
        count, after = count + len(changes), rows[-1]["id"]
    return count


async def _older_transactions_ended(db: Asks) -> None:
    """Whoever wrapped with the old key before the change has committed by then, or never will."""
    mine = await db.fetch_val(QUERIES["this_transaction"])
    while await db.fetch_val(QUERIES["oldest_transaction"]) <= mine:  # noqa: ASYNC110 - the database knows, no event
        await asyncio.sleep(0.1)


def _retire(path: Path, held: KeyFile) -> None:
    """The old keys out of the file; a copy beside it, for backups made before."""
    newest, *old = held.masters
    if not old:
        return
    retired = path.with_name(f"{path.name}.{clock.now():%Y%m%dT%H%M%S}.retired")
    write_key_file(retired, KeyFile(tuple(old), held.systems, held.kms))
    systems = (*(system_key(key) for key in old), *held.systems)
    write_key_file(path, KeyFile((newest,), systems, held.kms))
