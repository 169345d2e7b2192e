"""Doctors: registered professionals an operator has checked, or suspended; patients see which (product row 45)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from server.access.actor import Actor, ActorKind
from server.access.services import Services
from server.accounts import people
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, Forbidden, NotFound, Unprocessable
from server.records.people import Registration, change_practitioner, register_practitioner
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


async def registration_of(services: Services, practitioner_id: str) -> tuple[Registration, str]:
    """What a doctor says of being one, and whether it is checked. Raises NotFound."""
    row = await services.db.fetch_one(QUERIES["registration_of"], {"id": practitioner_id})
    if row is None:
        raise NotFound()
    said = Registration(
        row["registration_number"], row["authority"], row["specialty"], row["organization_name"]
    )
    return said, row["verification"]


async def judgements_of(services: Services, practitioner_id: str) -> list[Judgement]:
    """What was said of a doctor, for the doctor: the newest first."""
    rows = await services.db.fetch_all(QUERIES["judgements"], {"id": practitioner_id})
    return [Judgement(**dict(each)) for each in rows]


async def change_registration(services: Services, registration: Registration, *, actor: Actor) -> bool:
    """A doctor corrects what they say of themselves: from then on it is not checked, and operators see what it was.

    A suspension stays. False when nothing changed. Raises Forbidden for who is no doctor.
    """
    if actor.practitioner_id is None or not await services.gate.lives(actor.credential):
        raise Forbidden("Only a doctor has a registration.")
    async with services.db.transaction():
        await services.db.fetch_val(QUERIES["lock_doctor"], {"id": actor.practitioner_id})
        before, state = await registration_of(services, actor.practitioner_id)
        if before == registration:
            return False
        await change_practitioner(
            services, actor.practitioner_id, registration=registration, author=actor.author
        )
        if state == "verified":
            values = {"id": actor.practitioner_id, "state": "unverified"}
            await services.db.fetch_val(QUERIES["judge_doctor"], values)
        why = f"The doctor changed what they say: {_said_as(before)} became {_said_as(registration)}."
        act = {"id": actor.practitioner_id, "act": uuid4(), "reason": why[:1000], "now": clock.now()}
        act |= {"state": state if state == "suspended" else "unverified", "by": actor.account_id}
        await services.db.execute(QUERIES["add_judgement"], act)
        await services.audit.record(Event.REGISTRATION_CHANGED, who=actor.who(), patient_id=None)
    return True


async def register(services: Services, registration: Registration, *, email: str, actor: Actor) -> str:
    """A patient becomes a doctor too, with the same account and record; the Practitioner's id, not checked yet.

    Raises Forbidden for who is no patient.
    """
    if actor.kind is not ActorKind.PATIENT or actor.account_id is None or actor.scopes is not None:
        raise Forbidden("Only a patient registers as a doctor too.")
    async with services.db.transaction():
        if not await services.gate.lives(actor.credential):
            raise NotFound()
        if not await people.become_doctor(services.db, actor.account_id):
            raise Forbidden("Only a patient registers as a doctor too.")
        practitioner_id = await register_practitioner(
            services,
            account_id=actor.account_id,
            name=actor.name,
            email=email,
            registration=registration,
            verified=False,
        )
        await services.audit.record(Event.REGISTRATION_CHANGED, who=actor.who(), patient_id=None)
    return practitioner_id


def _said_as(registration: Registration) -> str:
    parts = (registration.number, registration.authority, registration.specialty, registration.organization)
    return ", ".join(each for each in parts if each) or "nothing"


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
    return _doctor(row), await judgements_of(services, doctor_id)


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
