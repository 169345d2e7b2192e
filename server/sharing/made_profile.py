"""A profile that a doctor makes for a patient without an account (product rows 1, 41-42; decision 7).

The doctor has a share of it from the start, like any other: the patient sees it once the profile is theirs, and ends
it when they like.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from server.access.action import Right
from server.access.actor import Actor
from server.access.services import Services
from server.accounts import people
from server.audit.events import Event
from server.core import clock
from server.core.errors import Forbidden, NotFound
from server.records.people import register_patient

from . import notify, profile_code
from .acts import QUERIES, living, record, require_patience, values_of
from .model import given_now
from .profile_code import Purpose


@dataclass(frozen=True)
class Made:
    """A new profile, and the code that makes it the patient's own."""

    patient_id: str
    code: str


async def make(
    services: Services, *, name: str, birth_date: date, sex: str = "", email: str = "", actor: Actor
) -> Made:
    """Make the profile; who has the address is told by mail that it waits for them. Raises Forbidden, Unprocessable."""
    if actor.practitioner_id is None:
        raise Forbidden("Only a doctor makes profiles for patients.")
    address = people.normal_email(email) if email else ""
    await require_patience(services, actor)
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["practitioner"], {"id": actor.practitioner_id})
        if row is None or not await services.gate.lives(actor.credential):
            raise NotFound()
        patient_id = await register_patient(
            services,
            who=actor.who(),
            name=name,
            birth_date=birth_date,
            resource={"gender": sex} if sex else None,
        )
        code = await profile_code.make(
            services, patient_id, Purpose.CLAIM, actor=actor, email_folded=people.fold_email(address)
        )
        await _share(services, patient_id, actor, row["email"] or "")
        if address:
            await notify.profile_waits(services, address, actor.name)
    return Made(patient_id, code)


async def new_code(services: Services, share_id: str, *, actor: Actor) -> str:
    """Another code in the place of the one that was lost. Raises NotFound: not made here, or it is claimed by now."""
    values = {"id": share_id, "account": actor.account_id, "now": clock.now()}
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["lock_own_share"], values, alive=living(actor))
        if row is None or not await is_waiting(services, row["patient_id"]):
            raise NotFound()
        return await profile_code.make(services, row["patient_id"], Purpose.CLAIM, actor=actor)


async def is_waiting(services: Services, patient_id: str) -> bool:
    """Whether nobody owns the profile yet, and a code for it was made; the caller reaches the patient."""
    return Purpose.CLAIM in await profile_code.living(services, patient_id)


async def _share(services: Services, patient_id: str, actor: Actor, email: str) -> None:
    new = given_now(patient_id, actor.practitioner_id, name=actor.name, email=email, rights=Right)
    row = await services.db.fetch_one(QUERIES["add_share"], values_of(new))
    assert row is not None
    await record(services, row, Event.SHARE_ACCEPTED, who=actor.who(), author=actor.author)
