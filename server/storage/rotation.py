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
from pathlib import Path

from server.core import clock
from server.core.errors import Conflict

from .db import Database
from .keyring import KEY_SIZE, KeyFile, KeyRing, read_key_file, system_key, write_key_file
from .sql import load

QUERIES = load(__package__, "rotation.sql")
_PAGE = 500
_GRACE = 2.0  # seconds for a key that was made a moment before the change and is not inserted yet


async def rotate_master(db: Database, path: Path, *, grace: float = _GRACE) -> int:
    """Do all of it; how many keys were wrapped anew. Raises Conflict when another rotation goes on."""
    with _alone(path):
        held = read_key_file(path)
        if len(held.masters) == 1:
            held = KeyFile((secrets.token_bytes(KEY_SIZE), *held.masters), held.systems, held.kms)
            write_key_file(path, held)
        keyring = KeyRing.load(path, create=False)
        count = await _rewrap_all(db, keyring)
        await asyncio.sleep(grace)
        await _older_transactions_ended(db)
        while again := await _rewrap_all(db, keyring):
            count += again
        await asyncio.to_thread(_retire, path, held)
    return count


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.with_name(f".{path.name}.lock").open("a") as door:
        try:
            fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Conflict("The master key is being rotated already.") from exc
        yield


async def _rewrap_all(db: Database, keyring: KeyRing) -> int:
    count, after = 0, ""
    while rows := await db.fetch_all(QUERIES["patient_keys"], {"after": after, "limit": _PAGE}):
        old = [row for row in rows if not keyring.is_newest(row["wrapped"])]
        changes = [
            {"patient": row["patient_id"], "before": row["wrapped"], "after": keyring.rewrap(row["wrapped"])}
            for row in old
        ]
        await db.execute_many(QUERIES["rewrap"], changes)
        count, after = count + len(changes), rows[-1]["patient_id"]
    return count


async def _older_transactions_ended(db: Database) -> None:
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
