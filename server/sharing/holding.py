"""Who holds a profile: claiming one's own, and acting for a child or a relative (product rows 1, 41-42; decision 7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson

from server.access.actor import Actor, ActorKind
from server.access.reach import Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, Forbidden, NotFound, Unprocessable
from server.records.names import spoken
from server.records.people import register_patient
from server.storage.db import Record
from server.storage.sql import load

from . import merging, notify, profile_code
from .acts import living
from .profile_code import Purpose

QUERIES = load(__package__, "profiles.sql")
MOST_HELD = 30


@dataclass(frozen=True)
class Held:
    """A profile that a person holds."""

    patient_id: str
    name: str
    is_own: bool
    since: datetime
    joined: bool = False  # it went into a record that there was


@dataclass(frozen=True)
class Guardian:
    """A person who acts for another."""

    account_id: UUID
    name: str
    email: str
    since: datetime


async def claim(services: Services, code: str, birth_date: str, *, actor: Actor) -> Held:
    """Make a waiting profile one's own, or become the guardian of its person, as the code says.

    Raises Unprocessable (no such code, the birth date is another, it is yours already), TooManyRequests.
    """
    if actor.kind is not ActorKind.PATIENT:
        raise Forbidden("Sign in as a patient to take over a profile.")
    found = await profile_code.opened(
        services, code, birth_date, Purpose.CLAIM, Purpose.GUARDIAN, actor=actor
    )
    patient_id, purpose = found["patient_id"], Purpose(found["purpose"])
    now = clock.now()
    async with services.db.transaction():
        if not await services.gate.lives(actor.credential):
            raise NotFound()
        is_own = purpose is Purpose.CLAIM
        if is_own and (mine := await _fitting(services, patient_id, found["profile"], actor)) is not None:
            return await _claim_into(services, found, mine, actor)
        if is_own and not await services.db.fetch_val(QUERIES["claim"], {"patient": patient_id, "now": now}):
            raise Unprocessable(profile_code.WRONG)
        values = {"patient": patient_id, "account": actor.account_id, "now": now}
        as_what = "self" if is_own else "guardian"
        if not await services.db.execute(QUERIES["hold"], values | {"as_what": as_what}):
            raise Unprocessable("You hold this record already.")
        await profile_code.drop(services, patient_id, purpose)
        event = Event.PROFILE_CLAIMED if is_own else Event.GUARDIAN_ADDED
        await services.audit.record(event, who=actor.who(), patient_id=patient_id)
        if not is_own:
            await notify.guardian_added(services, patient_id, actor.name)
    return Held(patient_id, name_of(found["profile"]), is_own, now)


async def _fitting(
    services: Services, patient_id: str, profile: bytes | None, actor: Actor
) -> merging.Own | None:
    """The person's own record, that the claimed one can go into; twins and children stay records of their own."""
    mine = await merging.own_record(services, patient_id, actor=actor)
    claimed = orjson.loads(profile) if profile else {}
    if (
        mine is not None and mine.is_blank
    ):  # there is nothing yet that could be mixed up: the birth date will do
        claimed.pop("name", None)
    return mine if mine is not None and merging.fits(claimed, mine.profile) else None


async def _claim_into(services: Services, found: Record, mine: merging.Own, actor: Actor) -> Held:
    """Into the record there is (decision 7); who could see all of it goes on seeing all of one that was blank."""
    source = found["patient_id"]
    try:
        await merging.merge(
            services, source, mine.patient_id, whole=mine.is_blank, claiming=True, actor=actor
        )
    except Conflict as exc:
        raise Unprocessable(str(exc)) from exc
    await services.audit.record(Event.PROFILE_CLAIMED, who=actor.who(), patient_id=mine.patient_id)
    if not mine.is_blank:
        await notify.records_merged(services, mine.patient_id)
    return Held(mine.patient_id, name_of(found["profile"]), True, clock.now(), joined=not mine.is_blank)


async def add_child(services: Services, *, name: str, birth_date: date, actor: Actor) -> str:
    """A new profile that the person who acts holds as a guardian; its id. Raises Forbidden, Conflict."""
    if actor.kind is not ActorKind.PATIENT or actor.account_id is None:
        raise Forbidden("Sign in as a patient to hold a record for somebody else.")
    if len(await held_by(services, actor=actor)) >= MOST_HELD:
        raise Conflict(f"One account holds at most {MOST_HELD} records.")
    now = clock.now()
    async with services.db.transaction():
        if not await services.gate.lives(actor.credential):
            raise NotFound()
        patient_id = await register_patient(services, who=actor.who(), name=name, birth_date=birth_date)
        values = {"patient": patient_id, "account": actor.account_id, "now": now}
        await services.db.fetch_val(QUERIES["claim"], {"patient": patient_id, "now": now})
        await services.db.execute(QUERIES["hold"], values | {"as_what": "guardian"})
        await services.audit.record(Event.GUARDIAN_ADDED, who=actor.who(), patient_id=patient_id)
    return patient_id


async def guardian_code(services: Services, patient_id: str, *, actor: Actor, reach: Reach) -> str:
    """A code for somebody who shall act for the person of this profile. Raises NotFound."""
    await _require(services, patient_id, reach)
    async with services.db.transaction():
        code = await profile_code.make(services, patient_id, Purpose.GUARDIAN, actor=actor)
        await services.audit.record(Event.GUARDIAN_INVITED, who=actor.who(), patient_id=patient_id)
    return code


async def guardians_of(services: Services, patient_id: str, *, reach: Reach) -> list[Guardian]:
    """Who acts for the person of this profile."""
    values = {"patient": patient_id, "now": clock.now()}
    rows = await services.db.fetch_all(QUERIES["guardians_of"], values, reach=reach.of_holder().patients())
    return [Guardian(row["account_id"], row["name"], row["email"], row["since"]) for row in rows]


async def end_guardian(
    services: Services, patient_id: str, account_id: UUID, *, actor: Actor, reach: Reach
) -> None:
    """From the next request on they act for this person no more. Raises NotFound; Conflict for the last holder."""
    known = {each.account_id for each in await guardians_of(services, patient_id, reach=reach)}
    if account_id not in known:
        raise NotFound()
    values = {"patient": patient_id, "guardian": account_id, "now": clock.now()}
    async with services.db.transaction():
        within = reach.of_holder().patients()
        if not await services.db.fetch_val(QUERIES["end_guardian"], values, reach=within):
            raise Conflict("Nobody else holds this record: it would be nobody's.")
        await services.audit.record(Event.GUARDIAN_ENDED, who=actor.who(), patient_id=patient_id)


async def held_by(services: Services, *, actor: Actor) -> list[Held]:
    """The profiles that the person who acts holds, their own first."""
    values = {"account": actor.account_id, "now": clock.now()}
    rows = await services.db.fetch_all(QUERIES["held_by"], values, alive=living(actor))
    return [
        Held(row["patient_id"], name_of(row["profile"]), row["as_what"] == "self", row["since"])
        for row in rows
    ]


async def show(services: Services, session_id: UUID, patient_id: str) -> None:
    """The portal shows this record from now on; raises NotFound when the session's person does not hold it."""
    values = {"session": session_id, "patient": patient_id, "now": clock.now()}
    if not await services.db.execute(QUERIES["show_profile"], values):
        raise NotFound()


async def shown(services: Services, session_id: UUID, account_id: UUID) -> str | None:
    """Whose record the portal shows in this session."""
    values = {"session": session_id, "account": account_id, "now": clock.now()}
    found: str | None = await services.db.fetch_val(QUERIES["shown_profile"], values)
    return found


async def _require(services: Services, patient_id: str, reach: Reach) -> None:
    if not await services.gate.reaches_patient(reach.of_holder(), patient_id):
        raise NotFound()


def name_of(profile: bytes | None) -> str:
    """What the person of a profile is called; empty where it does not say."""
    names: list[dict[str, Any]] = (orjson.loads(profile) if profile else {}).get("name") or [{}]
    return spoken(names[0])
