"""Reading the log: what happened to a patient's record, with the sealed details opened."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from server.storage.db import Database, Record
from server.storage.keyring import KeyRing
from server.storage.where import TRUE, Where

from .log import QUERIES
from .who import Who


@dataclass(frozen=True)
class Happened:
    """One event as its patient may read it."""

    id: UUID
    at: datetime
    event: str
    outcome: str
    patient_id: str
    who: Who = field(default_factory=Who)
    detail: Mapping[str, Any] = field(default_factory=dict)


async def events_of(
    db: Database, keyring: KeyRing, *, reach: Where, match: Where = TRUE, limit: int = 50, offset: int = 0
) -> list[Happened]:
    """Events of the patients that `reach` (a condition over `patient`) allows, newest first.

    `match` narrows by columns of audit_event under the alias `happened` (at, event, outcome, actor, id).
    """
    rows = await db.fetch_all(
        QUERIES["events_of"], {"limit": limit, "offset": offset}, reach=reach, match=match
    )
    return [_opened(row, keyring) for row in rows]


async def actors_of(db: Database, keyring: KeyRing, *, reach: Where) -> dict[UUID, Happened]:
    """Everyone who acted on the record, by pseudonym, with the latest of what they did."""
    rows = await db.fetch_all(QUERIES["actors_of"], {}, reach=reach)
    return {row["actor"]: _opened(row, keyring) for row in rows}


def by_subject(subject: str) -> Where:
    """What one caller did, by the key of their pseudonym (who.py)."""
    return Where(
        "happened.actor = (SELECT pseudonym FROM pseudonym WHERE subject = :wanted_subject)",
        {"wanted_subject": subject},
    )


async def count_events_of(db: Database, *, reach: Where, match: Where = TRUE) -> int:
    """How many events `events_of` would give without a limit."""
    return int(await db.fetch_val(QUERIES["count_events_of"], {}, reach=reach, match=match))


def _opened(row: Record, keyring: KeyRing) -> Happened:
    payload = orjson.loads(row["payload"])
    plain = orjson.loads(keyring.open(row["wrapped"], b64decode(payload["sealed"]), context=row["id"].bytes))
    return Happened(
        id=row["id"],
        at=row["at"],
        event=row["event"],
        outcome=row["outcome"],
        patient_id=row["patient_id"],
        who=Who(**plain["who"]),
        detail=plain["detail"],
    )
