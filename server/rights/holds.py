"""Holds: the law demands that a record is kept. A hold beats erasure, and its patient is told which part and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from server.access.actor import Actor
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound, Unprocessable
from server.storage.sql import load

from . import letters
from .operators import require_operator, require_patient, said

QUERIES = load(__package__)
MOST = 500


@dataclass(frozen=True)
class Hold:
    """Why something may not be deleted, as its patient is told."""

    id: UUID
    patient_id: str
    authority: str
    scope: str
    reason: str
    placed_at: datetime
    review_at: datetime


async def holds_of(services: Services, patient_id: str) -> list[Hold]:
    """The holds that are on a record now; the caller knows that they may be seen."""
    rows = await services.db.fetch_all(QUERIES["open_holds"], {"patient": patient_id})
    return [Hold(**dict(row)) for row in rows]


def said_of(authority: str, scope: str, reason: str, review_at: datetime) -> dict[str, Any]:
    """What a hold says, checked. Raises Unprocessable."""
    if review_at <= clock.now():
        raise Unprocessable("A hold needs a date in the future on which it is looked at again.")
    return {
        "authority": said(authority, "The authority"),
        "scope": said(scope, "What it covers"),
        "reason": said(reason, "The reason"),
    }


async def place(
    services: Services,
    patient_id: str,
    *,
    authority: str,
    scope: str,
    reason: str,
    review_at: datetime,
    actor: Actor,
) -> UUID:
    """Put a hold on a record; its holders are told by mail. Raises Forbidden, NotFound, Unprocessable, Conflict."""
    await require_operator(services, actor)
    await require_patient(services, patient_id)
    words = said_of(authority, scope, reason, review_at)
    values = words | {"id": uuid4(), "patient": patient_id, "now": clock.now(), "account": actor.account_id}
    values["review_at"] = review_at
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["lock_patient"], {"patient": patient_id})
        if row is None or row["state"] == "erasing":
            raise Conflict("This record is being deleted already.")
        if row["state"] == "merged":
            raise Conflict("This record was merged into another one: place the hold there.")
        await services.db.execute(QUERIES["place_hold"], values)
        detail = {"hold": str(values["id"]), "authority": values["authority"], "reason": values["reason"]}
        await services.audit.record(Event.HOLD_PLACED, who=actor.who(), patient_id=patient_id, detail=detail)
        for each in await _holders(services, patient_id):
            await letters.post(services, "hold", each[0], each[2], path="/account/data", name=each[1])
    return UUID(str(values["id"]))


async def release(services: Services, hold_id: UUID, *, actor: Actor) -> None:
    """End a hold. Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    values = {"id": hold_id, "now": clock.now(), "account": actor.account_id}
    async with services.db.transaction():
        patient_id = await services.db.fetch_val(QUERIES["release_hold"], values)
        if patient_id is None:
            raise NotFound("There is no such hold.")
        await services.audit.record(
            Event.HOLD_RELEASED, who=actor.who(), patient_id=patient_id, detail={"hold": str(hold_id)}
        )
        for each in await _holders(services, patient_id):
            await letters.post(services, "hold_over", each[0], each[2], path="/account/data", name=each[1])


async def listed(services: Services, *, actor: Actor) -> list[Hold]:
    """Every hold in force, for operators."""
    await require_operator(services, actor)
    rows = await services.db.fetch_all(QUERIES["all_holds"], {"limit": MOST})
    return [Hold(**dict(row)) for row in rows]


async def _holders(services: Services, patient_id: str) -> list[tuple[str, str, str]]:
    rows = await services.db.fetch_all(QUERIES["holders_of"], {"patient": patient_id, "now": clock.now()})
    return [(row["email"], row["name"], row["language"]) for row in rows]
