"""The change feed: which instances came and went, in the order in which that became visible.

Nothing that is committed later appears behind a number that was read: rows are written without one, and get it in a
transaction of its own, one at a time. So a reader who asks for what follows the last number it knows misses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from server.access.past import past
from server.access.reach import Reach
from server.storage.db import Database
from server.storage.sql import load

from .dicom_json import from_column

QUERIES = load(__package__, "changes.sql")

_AT_ONCE = 1_000  # rows numbered in one transaction: others wait for no longer


class Change(StrEnum):
    """What happened to an instance."""

    CREATE = "create"
    DELETE = "delete"


@dataclass(frozen=True)
class Event:
    """One change of one instance."""

    sequence: int
    patient_id: str
    study_uid: str
    series_uid: str
    sop_uid: str
    action: str
    changed_at: datetime
    state: str  # of the instance now: current, replaced (a later event is about it too), deleted
    metadata: bytes = b""


async def note(
    db: Database,
    change: Change,
    patient_id: str,
    study_uid: str,
    *,
    now: datetime,
    is_open: bool,
    series_uid: str | None = None,
    sop_uids: Sequence[str] | None = None,
) -> None:
    """Write down, in the caller's transaction, that what is there of this came, or that what went at `now` did.

    `is_open`: others than the holder could see it, or will.
    """
    values = {
        "patient_id": patient_id,
        "study_uid": study_uid,
        "series_uid": series_uid,
        "sop_uids": sop_uids,
        "action": change,
        "now": now,
        "open": is_open,
    }
    await db.execute(QUERIES["note_study"], values)


async def give_numbers(db: Database) -> None:
    """Number what was committed and has no number yet."""
    while await db.fetch_val(QUERIES["is_waiting"]):
        async with db.transaction():
            # A statement of its own: the next one must see what was numbered while this one waited.
            base = await db.fetch_val(QUERIES["lock_counter"])
            await db.execute(QUERIES["number"], {"base": base, "most": _AT_ONCE})
            await db.execute(QUERIES["count_on"])


async def after(
    db: Database,
    offset: int,
    *,
    reach: Reach,
    limit: int,
    since: datetime | None = None,
    before: datetime | None = None,
    metadata: bool = False,
) -> list[Event]:
    """The events after the one with this number, the oldest first."""
    await give_numbers(db)
    values = {"offset": offset, "since": since, "before": before, "limit": limit, "metadata": metadata}
    rows = await db.fetch_all(QUERIES["find"], values, reach=reach.studies(), past=past(reach))
    return [
        Event(
            row["sequence"],
            row["patient_id"],
            row["study_uid"],
            row["series_uid"],
            row["sop_uid"],
            row["action"],
            row["changed_at"],
            row["state"],
            from_column(row["metadata"]) if row["metadata"] else b"",
        )
        for row in rows
    ]


async def latest(db: Database, *, reach: Reach, metadata: bool = False) -> Event | None:
    """The last event in reach; None when there is none."""
    await give_numbers(db)
    last = await db.fetch_val(QUERIES["latest"], {}, reach=reach.studies(), past=past(reach))
    found = await after(db, (last or 1) - 1, reach=reach, limit=1, metadata=metadata)
    return found[0] if found else None
