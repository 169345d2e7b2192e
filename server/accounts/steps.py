"""Half signed in: the password was right, a second factor is to be shown or set up.

A row of its own and a cookie of its own, and no session: whatever asks for a session finds none, so nothing can be
reached before the step is done. It is spent by one statement, and the session that follows is a new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from server.core import clock
from server.core.ids import digest, new_secret
from server.storage.db import Database
from server.storage.sql import load

QUERIES = load(__package__, "second_factor.sql")

WAIT = timedelta(minutes=15)
KEPT = timedelta(days=1)


class Kind(StrEnum):
    """What is still to be done."""

    SECOND = "second"
    SET_UP = "set-up"


@dataclass(frozen=True)
class Step:
    """Whose password was right, and what is missing."""

    id: UUID
    account_id: UUID
    kind: Kind
    csrf_token: str


async def begin(db: Database, account_id: UUID, kind: Kind) -> str:
    """The value of the step's cookie, kept nowhere else."""
    secret, now = new_secret(), clock.now()
    values = {"id": uuid4(), "secret_hash": digest(secret), "account": account_id, "kind": kind}
    await db.execute(
        QUERIES["add_step"], values | {"csrf_token": new_secret(), "now": now, "expires_at": now + WAIT}
    )
    return secret


async def find(db: Database, secret: str) -> Step | None:
    """The step of this cookie value, while it waits."""
    row = await db.fetch_one(QUERIES["living_step"], {"secret_hash": digest(secret), "now": clock.now()})
    return Step(row["id"], row["account_id"], Kind(row["kind"]), row["csrf_token"]) if row else None


async def spend(db: Database, step: Step) -> bool:
    """Done; False when another request was first."""
    return await db.fetch_val(QUERIES["spend_step"], {"id": step.id, "now": clock.now()}) is not None


async def end_all(db: Database, account_id: UUID) -> None:
    """Whoever is half signed in begins anew."""
    await db.execute(QUERIES["end_steps"], {"account": account_id, "now": clock.now()})


async def forget_old(db: Database) -> None:
    """Drop what nobody finished."""
    await db.execute(QUERIES["forget_steps"], {"before": clock.now() - KEPT})
