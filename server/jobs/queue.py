"""The queue: work to do later, written in the transaction it follows from.

Small and our own instead of `pgqueuer`: that one tells the time by the database's clock (ours comes as a value, so
that tests can move it through 14 days), brings a schema with its own way of upgrading, and keeps a process busier
than a mail now and then is worth. What is here is what it would be used for: SKIP LOCKED, a lease, delays that
grow, and a place for what was given up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from server.core import clock
from server.storage.db import Database
from server.storage.sql import load

QUERIES = load(__package__)

LEASE = timedelta(minutes=5)  # a worker has this long for one job; then another may try
FIRST_DELAY = timedelta(seconds=30)
LONGEST_DELAY = timedelta(hours=6)
MOST_TRIES = 12  # about a day with these delays
DEAD_KEPT = timedelta(days=30)

Payload = Mapping[str, Any]
Handler = Callable[[Any, "Job"], Awaitable[None]]  # (services, job); may run more than once
Turn = Callable[[Any], Awaitable[None]]  # (services)


@dataclass(frozen=True)
class Job:
    """One piece of work that was claimed."""

    id: UUID
    kind: str
    payload: Payload
    tries: int  # this one included


@dataclass(frozen=True)
class Periodic:
    """What one of the processes does every so often."""

    name: str
    every: timedelta
    run: Turn


@dataclass(frozen=True)
class Kit:
    """What a room brings to the worker: a handler for each kind of job, and what is periodic."""

    handlers: Mapping[str, Handler] = field(default_factory=dict)
    periodic: tuple[Periodic, ...] = ()


async def enqueue(db: Database, kind: str, payload: Payload, *, due_at: datetime | None = None) -> UUID:
    """Have the job done, if the open transaction commits. Secrets in the payload are the caller's to seal."""
    job_id, now = uuid4(), clock.now()
    values = {"id": job_id, "kind": kind, "payload": orjson.dumps(dict(payload)).decode()}
    await db.execute(QUERIES["enqueue"], {**values, "now": now, "due_at": due_at or now})
    await db.execute(QUERIES["wake"])
    return job_id


async def claim(db: Database, kinds: list[str], limit: int) -> list[Job]:
    """Up to `limit` jobs that are due, ours until the lease ends."""
    now = clock.now()
    values = {"now": now, "lease_until": now + LEASE, "kinds": kinds, "limit": limit}
    rows = await db.fetch_all(QUERIES["claim"], values)
    return [Job(row["id"], row["kind"], orjson.loads(row["payload"]), row["tries"]) for row in rows]


async def done(db: Database, job: Job) -> None:
    """The job has succeeded."""
    await db.execute(QUERIES["done"], {"id": job.id})


async def failed(db: Database, job: Job, problem: str) -> bool:
    """The job has failed: later again, or given up; True when it was given up."""
    now = clock.now()
    if job.tries >= MOST_TRIES:
        await db.execute(QUERIES["bury"], {"id": job.id, "now": now, "problem": problem})
        return True
    due_at = now + delay_after(job.tries)
    await db.execute(QUERIES["put_off"], {"id": job.id, "due_at": due_at, "problem": problem})
    return False


async def give_back(db: Database, job: Job) -> None:
    """The worker stops before it got to this job."""
    await db.execute(QUERIES["give_back"], {"id": job.id, "now": clock.now()})


def delay_after(tries: int) -> timedelta:
    """How long to wait after so many failures: doubles, up to a quarter of a day."""
    doublings: int = 2 ** min(tries - 1, 30)
    return min(FIRST_DELAY * doublings, LONGEST_DELAY)


async def forget_dead(db: Database) -> None:
    """Drop what was given up long ago."""
    await db.execute(QUERIES["forget_dead"], {"before": clock.now() - DEAD_KEPT})
