"""Doctors: registered professionals an operator has checked, or suspended; patients see which (product row 45)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from server.access.actor import Actor
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound, Unprocessable
from server.storage.db import Record
from server.storage.sql import load

from . import letters
from .operators import require_operator, said

QUERIES = load(__package__, "operating.sql")
STATES = ("unverified", "verified", "suspended")
MOST = 500


@dataclass(frozen=True)
class Doctor:
    """Who says to be a doctor, and what we know of it."""

    id: str
    name: str
    specialty: str
    organization_name: str
    registration_number: str
    authority: str
    verification: str
    created_at: datetime
    email: str
    reached: bool  # the address is confirmed
    patients: int  # who share with them now


@dataclass(frozen=True)
class Judgement:
    """What an operator said, and why."""

    state: str
    reason: str
    at: datetime


async def listed(services: Services, *, actor: Actor, state: str | None = None) -> list[Doctor]:
    """Doctors in a state, or all; those to be looked at come first. Raises Forbidden."""
    await require_operator(services, actor)
    values = {"state": state, "id": None, "limit": MOST}
    return [_doctor(row) for row in await services.db.fetch_all(QUERIES["doctors"], values)]


async def one(services: Services, doctor_id: str, *, actor: Actor) -> tuple[Doctor, list[Judgement]]:
    """A doctor, and everything operators said of them. Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    row = await services.db.fetch_one(QUERIES["doctors"], {"state": None, "id": doctor_id, "limit": 1})
    if row is None:
        raise NotFound()
    said_before = await services.db.fetch_all(QUERIES["judgements"], {"id": doctor_id})
    return _doctor(row), [Judgement(**dict(each)) for each in said_before]


async def judge(services: Services, doctor_id: str, *, state: str, reason: str, actor: Actor) -> None:
    """Verify, suspend, or take either back. A suspended doctor sees no patient's data from the next statement on.

    The doctor is told; after a suspension the patients who share with them too. Raises Forbidden, NotFound,
    Unprocessable without a reason, Conflict when it is that way already.
    """
    await require_operator(services, actor)
    if state not in STATES:
        raise Unprocessable(f"The state is one of {', '.join(STATES)}.")
    why, now = said(reason, "The reason"), clock.now()
    row = await services.db.fetch_one(QUERIES["doctors"], {"state": None, "id": doctor_id, "limit": 1})
    if row is None:
        raise NotFound()
    async with services.db.transaction():
        values = {"id": doctor_id, "state": state}
        account: UUID | None = await services.db.fetch_val(QUERIES["judge_doctor"], values)
        if account is None:
            raise Conflict("This is so already.")
        more = {"act": uuid4(), "reason": why, "now": now, "by": actor.account_id}
        await services.db.execute(QUERIES["add_judgement"], values | more)
        detail = {"practitioner": doctor_id, "state": state, "reason": why}
        await services.audit.record(Event.DOCTOR_JUDGED, who=actor.who(), patient_id=None, detail=detail)
        await letters.post(
            services, f"doctor_{state}", row["email"], row["language"], path="/account", reason=why
        )
        if state == "suspended":
            await _tell_patients(services, doctor_id, now)


async def _tell_patients(services: Services, doctor_id: str, now: datetime) -> None:
    rows = await services.db.fetch_all(QUERIES["patients_sharing_with"], {"id": doctor_id, "now": now})
    for each in rows:
        await letters.post(
            services, "doctor_of_yours", each["email"], each["language"], path="/sharing", name=each["name"]
        )


def _doctor(row: Record) -> Doctor:
    return Doctor(**{name: row[name] for name in Doctor.__dataclass_fields__})
