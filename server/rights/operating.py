"""Numbers of the service, and work that was given up: for operators, without a name in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from server.access.actor import Actor
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import NotFound
from server.storage.sql import load

from .operators import require_operator

QUERIES = load(__package__, "operating.sql")


@dataclass(frozen=True)
class DeadJob:
    """Work that failed again and again."""

    id: UUID
    kind: str
    created_at: datetime
    dead_at: datetime
    tries: int
    problem: str  # the kind of failure; no content


async def overview(services: Services, *, actor: Actor) -> dict[str, int]:
    """How much there is of what. Raises Forbidden."""
    await require_operator(services, actor)
    row = await services.db.fetch_one(QUERIES["overview"], {"now": clock.now()})
    assert row is not None  # a SELECT of scalars has a row
    return dict(row)


async def record_state(services: Services, patient_id: str, *, actor: Actor) -> dict[str, Any]:
    """State and numbers of one record; that somebody asked is in the log. Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    row = await services.db.fetch_one(QUERIES["record_state"], {"patient": patient_id})
    if row is None:
        raise NotFound()
    await services.audit.record(
        Event.OPERATOR_ACTED,
        who=actor.who(),
        patient_id=None,
        detail={"record": patient_id, "act": "looked up its state"},
        fold=f"state of {patient_id} read by {actor.account_id} {clock.now():%Y-%m-%dT%H}",
    )
    return dict(row)


async def dead_jobs(services: Services, *, actor: Actor) -> list[DeadJob]:
    """What was given up, the last first. Raises Forbidden."""
    await require_operator(services, actor)
    return [DeadJob(**dict(row)) for row in await services.db.fetch_all(QUERIES["dead_jobs"])]


async def settle_job(services: Services, job_id: UUID, *, again: bool, actor: Actor) -> None:
    """Try it again, or drop it. Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    statement, values = (
        ("revive_job", {"id": job_id, "now": clock.now()}) if again else ("drop_job", {"id": job_id})
    )
    async with services.db.transaction():
        kind = await services.db.fetch_val(QUERIES[statement], values)
        if kind is None:
            raise NotFound()
        detail = {"job": str(job_id), "kind": kind, "act": "again" if again else "dropped"}
        await services.audit.record(Event.OPERATOR_ACTED, who=actor.who(), patient_id=None, detail=detail)
