"""Restriction: the record is stored, and shown to nobody but its owner (GDPR, art. 18; product row 55).

One state of the patient, that every statement of every surface asks (access/reach.py). Storing goes on; the owner
still sees and takes a copy. What the owner restricted the owner frees; what an operator restricted, an operator.
"""

from __future__ import annotations

from server.access.action import Action, Verb
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound
from server.storage.sql import load
from server.storage.where import TRUE, Where

from .operators import require_operator, require_patient

QUERIES = load(__package__)
PATIENT_UPDATE = Action("Patient", Verb.UPDATE)


async def begin(services: Services, patient_id: str, *, reach: Reach, actor: Actor, why: str = "") -> None:
    """By its owner. Raises NotFound (not theirs); nothing happens when it is restricted already."""
    await _change(
        services, "restrict", patient_id, reach.of_holder().patients(), actor, by="patient", why=why
    )


async def end(services: Services, patient_id: str, *, reach: Reach, actor: Actor) -> None:
    """By its owner. Raises NotFound; Conflict when an operator restricted it."""
    await _change(services, "unrestrict", patient_id, reach.of_holder().patients(), actor, by="patient")


async def begin_by_operator(services: Services, patient_id: str, *, actor: Actor, why: str) -> None:
    """On a request that came through contact. Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    await require_patient(services, patient_id)
    await _change(services, "restrict", patient_id, TRUE, actor, by="operator", why=why)


async def end_by_operator(services: Services, patient_id: str, *, actor: Actor) -> None:
    """Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    await require_patient(services, patient_id)
    await _change(services, "unrestrict", patient_id, TRUE, actor, by="operator")


async def _change(
    services: Services, name: str, patient_id: str, reach: Where, actor: Actor, *, by: str, why: str = ""
) -> None:
    frees = ["patient"] if by == "patient" else ["patient", "operator"]
    values = {"patient": patient_id, "now": clock.now(), "why": why.strip()[:500]}
    values |= {"by": by if name == "restrict" else frees}
    event = Event.RECORD_RESTRICTED if name == "restrict" else Event.RECORD_UNRESTRICTED
    async with services.db.transaction():
        if not await services.db.execute(QUERIES[name], values, reach=reach):
            await _why_not(services, name, patient_id, reach)
            return
        await services.audit.record(event, who=actor.who(), patient_id=patient_id, detail={"by": by})


async def _why_not(services: Services, name: str, patient_id: str, reach: Where) -> None:
    row = await services.db.fetch_one(QUERIES["standing_of_patient"], {"patient": patient_id}, reach=reach)
    if row is None or row["state"] in ("erasing", "merged"):
        raise NotFound()
    if name == "unrestrict" and row["state"] == "restricted":
        raise Conflict("An operator restricted this record: please write to us.")
