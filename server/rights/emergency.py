"""Emergency access: an operator looks into one record, with a reason, for two hours; its holders are told at once.

Operators see no health data. This is the one way, it is in the record's own log, and it is part of the reach: the
row is asked inside every statement, so that it ends the moment it ends (product row 51).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from server.access.actor import Actor
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import NotFound, Unprocessable
from server.storage.sql import load

from . import letters
from .operators import require_operator, require_patient, said

QUERIES = load(__package__, "operating.sql")
LASTS = timedelta(hours=2)
LEAST_REASON = 20  # characters: "help" is no reason


@dataclass(frozen=True)
class Emergency:
    """One that lasts."""

    id: UUID
    patient_id: str
    reason: str
    begun_at: datetime
    until: datetime


async def begin(services: Services, patient_id: str, *, reason: str, actor: Actor) -> UUID:
    """Raises Forbidden, NotFound, Unprocessable without a reason."""
    await require_operator(services, actor)
    await require_patient(services, patient_id)
    why = said(reason, "The reason")
    if len(why) < LEAST_REASON:
        raise Unprocessable("Say why, in a sentence: the person will read it.")
    emergency_id, now = uuid4(), clock.now()
    values = {"id": emergency_id, "patient": patient_id, "account": actor.account_id, "reason": why}
    async with services.db.transaction():
        await services.db.execute(QUERIES["begin_emergency"], values | {"now": now, "until": now + LASTS})
        detail = {"emergency": str(emergency_id), "reason": why}
        await services.audit.record(
            Event.EMERGENCY_BEGUN, who=actor.who(), patient_id=patient_id, detail=detail
        )
        rows = await services.db.fetch_all(QUERIES["holders_to_tell"], {"patient": patient_id, "now": now})
        for each in rows:
            await letters.post(
                services, "emergency", each["email"], each["language"], path="/activity", name=each["name"]
            )
    return emergency_id


async def end(services: Services, emergency_id: UUID, *, actor: Actor) -> None:
    """One's own, before its time. Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    values = {"id": emergency_id, "account": actor.account_id, "now": clock.now()}
    async with services.db.transaction():
        patient_id = await services.db.fetch_val(QUERIES["end_emergency"], values)
        if patient_id is None:
            raise NotFound()
        detail = {"emergency": str(emergency_id)}
        await services.audit.record(
            Event.EMERGENCY_ENDED, who=actor.who(), patient_id=patient_id, detail=detail
        )


async def own(services: Services, *, actor: Actor) -> list[Emergency]:
    """Those of this operator that last. Raises Forbidden."""
    await require_operator(services, actor)
    values = {"account": actor.account_id, "now": clock.now()}
    return [Emergency(**dict(row)) for row in await services.db.fetch_all(QUERIES["emergencies"], values)]
