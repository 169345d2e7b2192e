"""Published files that no row names: set aside, never deleted, and only where they cannot be anybody's.

How one comes to be: a note in table `pack` is committed without waiting for the disk, so a killed PostgreSQL may lose
it after the file was published; the store was then never answered. A database restored from an older backup also
knows nothing of newer files, and those are dear. So a person decides (`verify --repair`), and what was set aside can
be put back: in a directory it is moved to `strays/`, in a bucket under that name.

A file is left alone while it is young (its writer may live), and where more than a few are nameless: that is a
database of another day, not a crash.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from server.core import clock
from server.core.errors import Conflict

from .db import Database
from .objects import ObjectStore
from .packs import DEAD_AFTER, unknown
from .sql import load

QUERIES = load(__package__)
MOST = 1000
SAFE_SHARE = 0.1  # of all packs; more nameless ones look like an old database


async def set_aside(db: Database, objects: ObjectStore, *, older_than: timedelta = DEAD_AFTER) -> list[UUID]:
    """Move them; which ones. Raises Conflict when there are too many to be leftovers of crashes."""
    found = [pack_id async for pack_id in unknown(db, objects.list_packs())]
    known = await db.fetch_val(QUERIES["count_packs"])
    if len(found) > MOST or (len(found) > 10 and len(found) > SAFE_SHARE * known):
        raise Conflict(
            f"{len(found)} files have no row: this looks like an old database beside newer files. Nothing was moved."
        )
    moved = []
    for pack_id in found:
        if await objects.set_aside(pack_id, before=clock.now() - older_than):
            moved.append(pack_id)
    return moved
