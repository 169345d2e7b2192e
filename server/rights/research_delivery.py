"""Deliveries to a research project: one operator asks for one, another approves it, either takes it back.

A job then looks at every image of everybody who takes part (research_planning.py): it is left out with a reason, or
its size and checksums are written down. Nothing else is kept, so there is no second copy to seal, to lose, or to
delete: the same key makes the same bytes again when they are fetched (research_handover.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from server.access.actor import Actor
from server.access.services import Services
from server.core import clock
from server.core.errors import Conflict, NotFound
from server.imaging.deidentify import VERSION
from server.jobs import queue
from server.storage.sql import load

from . import research
from .operators import require_operator

QUERIES = load(__package__, "research.sql")
JOB = "research: delivery"
WAITS, KEPT = timedelta(days=7), timedelta(days=14)


@dataclass(frozen=True)
class Delivery:
    """One delivery, as operators see it."""

    id: UUID
    project_id: UUID
    project: str
    state: str
    version: int
    asked_at: datetime
    asked_by: UUID | None
    approved_at: datetime | None
    ready_at: datetime | None
    expires_at: datetime


@dataclass(frozen=True)
class Line:
    """How many images of how many people were given, or left out for one reason."""

    reason: str
    files: int
    people: int
    size: int


async def ask(services: Services, project_id: UUID, *, actor: Actor) -> UUID:
    """Ask for a delivery, which another operator approves. Raises Forbidden, Conflict."""
    project = await research.one(services, project_id, actor=actor)
    now, delivery_id = clock.now(), uuid4()
    values = {
        "id": delivery_id,
        "project": project_id,
        "version": VERSION,
        "now": now,
        "by": actor.account_id,
    }
    async with services.db.transaction():
        if not await services.db.fetch_val(QUERIES["ask_delivery"], values | {"expires_at": now + WAITS}):
            raise Conflict("This project gets nothing: it is not approved, or has ended.")
        await research.note(services, actor, project_id, "delivery asked", project.name)
    return delivery_id


async def approve(services: Services, delivery_id: UUID, *, actor: Actor) -> None:
    """Have it made. Raises Forbidden, NotFound, Conflict when one asked for it oneself."""
    found = await one(services, delivery_id, actor=actor)
    now = clock.now()
    values = {"id": delivery_id, "now": now, "by": actor.account_id, "expires_at": now + KEPT}
    async with services.db.transaction():
        if not await services.db.fetch_val(QUERIES["approve_delivery"], values):
            raise Conflict("Another operator has to approve this, while it waits.")
        await queue.enqueue(services.db, JOB, {"delivery": str(delivery_id)})
        await research.note(services, actor, found.project_id, "delivery approved", found.project)


async def drop(services: Services, delivery_id: UUID, *, actor: Actor) -> None:
    """Take it back, or remove what is ready before its time. Raises Forbidden, NotFound."""
    found = await one(services, delivery_id, actor=actor)
    async with services.db.transaction():
        await services.db.execute(QUERIES["drop_delivery"], {"id": delivery_id})
        await research.note(services, actor, found.project_id, "delivery dropped", found.project)


async def listed(services: Services, project_id: UUID | None = None, *, actor: Actor) -> list[Delivery]:
    """The deliveries that wait, are made or can be fetched. Raises Forbidden."""
    await require_operator(services, actor)
    values = {"now": clock.now(), "id": None, "project": project_id}
    return [Delivery(**dict(row)) for row in await services.db.fetch_all(QUERIES["deliveries"], values)]


async def one(services: Services, delivery_id: UUID, *, actor: Actor) -> Delivery:
    """Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    values = {"now": clock.now(), "id": delivery_id, "project": None}
    row = await services.db.fetch_one(QUERIES["deliveries"], values)
    if row is None:
        raise NotFound()
    return Delivery(**dict(row))


async def summary(services: Services, delivery_id: UUID, *, actor: Actor) -> list[Line]:
    """What is given and what is left out, in numbers. Raises Forbidden."""
    await require_operator(services, actor)
    return [Line(**dict(row)) for row in await services.db.fetch_all(QUERIES["summary"], {"id": delivery_id})]


async def counts(services: Services, delivery_id: UUID, *, actor: Actor) -> list[tuple[str, int]]:
    """What was done to which attribute, how often; no values. Raises Forbidden."""
    await require_operator(services, actor)
    rows = await services.db.fetch_all(QUERIES["counts"], {"id": delivery_id})
    return [(row["what"], row["count"]) for row in rows]
