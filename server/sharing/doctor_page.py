"""A doctor's own page: an address (and a QR code) by which patients give that doctor access, and bring their images.

The id in the address is no secret (decision 19): it opens nothing and only leads to a form. Who has an account and
says so there makes a share like any other; it holds at once, for the page is the doctor's yes and the press of the
button the patient's. A reset makes a new address and the old one dead; shares that came by it stay the patient's.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from server.access.action import Right
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.accounts.people import fold_email
from server.audit.events import Event
from server.core import clock
from server.core.errors import AlreadyStored, Forbidden, Gone
from server.core.texts import N_
from server.storage.db import Record
from server.storage.sql import load

from . import notify
from .acts import QUERIES as SHARES
from .acts import living, record, require_patience, values_of
from .model import Share, State, given_now, require_future, right_set, share_of
from .share import Doctor, activate, chosen_studies, registered, require_another, require_patient, set_terms

QUERIES = load(__package__, "doctor_page.sql")
PATH = "/give/{page}"
DEAD = N_("This page is not there any more. Ask the doctor for the new address, or share by e-mail.")
HOLDS = N_("You share with this doctor already; change what they can do on their page.")
_LETTERS, _GROUPS, _EACH = "23456789ABCDEFGHJKMNPQRSTUVWXYZ", 3, 4  # read off a card, typed on a phone


@dataclass(frozen=True)
class Page:
    """The living page of a doctor."""

    id: str
    created_at: datetime


@dataclass(frozen=True)
class Behind(Doctor):
    """The doctor behind a page, as patients may know them before they give anything (product row 5)."""

    page_id: str
    account_id: UUID
    practitioner_id: str


@dataclass(frozen=True)
class Use:
    """Somebody gave access by a page; whose record it is, while they share."""

    patient_id: str | None
    used_at: datetime
    by_this: bool  # not by an earlier page


async def mine(services: Services, *, actor: Actor) -> Page | None:
    """The doctor's living page."""
    values = {"account": actor.account_id}
    row = await services.db.fetch_one(QUERIES["page_of"], values, alive=living(actor))
    return Page(row["id"], row["created_at"]) if row is not None else None


async def make(services: Services, *, actor: Actor) -> str:
    """A page, in the place of the one before, whose address opens nothing from now on; its id. Raises Forbidden."""
    page_id, now = _new_page_id(), clock.now()
    async with services.db.transaction():
        practitioner_id = await _doctor(services, actor)
        await services.db.fetch_all(QUERIES["end_page"], {"account": actor.account_id, "now": now})
        values = {"id": page_id, "practitioner": practitioner_id, "account": actor.account_id, "now": now}
        await services.db.execute(QUERIES["add_page"], values)
        await services.audit.record(Event.DOCTOR_PAGE_CHANGED, who=actor.who(), patient_id=None)
    return page_id


async def close(services: Services, *, actor: Actor) -> None:
    """No page any more. Raises Forbidden."""
    async with services.db.transaction():
        await _doctor(services, actor)
        await services.db.fetch_all(QUERIES["end_page"], {"account": actor.account_id, "now": clock.now()})
        await services.audit.record(Event.DOCTOR_PAGE_CHANGED, who=actor.who(), patient_id=None)


async def behind(services: Services, page_id: str) -> Behind | None:
    """The doctor of this address; None for a page that was reset or closed, and for one that never was."""
    row = await services.db.fetch_one(QUERIES["doctor_behind"], {"id": page_id.upper()})
    return _behind(row) if row is not None else None


async def uses(services: Services, *, actor: Actor) -> list[Use]:
    """Who came by the doctor's pages, the latest first."""
    values = {"account": actor.account_id, "now": clock.now()}
    rows = await services.db.fetch_all(QUERIES["uses_of"], values, alive=living(actor))
    return [Use(row["patient_id"], row["used_at"], row["by_this"]) for row in rows]


async def given(services: Services, patient_id: str, practitioner_id: str, *, reach: Reach) -> Share | None:
    """The patient's living share with this doctor. `reach` is of Consent with `r`."""
    values = {"patient": patient_id, "practitioner": practitioner_id, "now": clock.now()}
    row = await services.db.fetch_one(QUERIES["given_to"], values, reach=reach.of_holder().patients())
    return share_of(row) if row is not None else None


async def give(
    services: Services,
    page_id: str,
    patient_id: str,
    *,
    rights: Iterable[str],
    studies: Sequence[str] | None = None,
    until: datetime | None = None,
    actor: Actor,
    reach: Reach,
) -> Share:
    """Share this record with the doctor of the page, from now on. `reach` is of Consent with `c`.

    A request of that doctor, or an invitation that waits for them, is answered by it. Raises Gone (the page is
    over), NotFound (the patient is not in reach), AlreadyStored (they see already), Unprocessable (a right, study or
    end that cannot be; it is the patient's own page), Conflict (a restricted record), TooManyRequests.
    """
    await require_patience(services, actor)
    async with services.db.transaction():
        doctor = await _held(services, page_id)
        await require_patient(services, patient_id, reach.of_holder())
        await require_another(services, patient_id, account_id=doctor.account_id)
        terms = list(rights), studies, until
        share = await _with(services, doctor, patient_id, *terms, actor, reach.of_holder())
        use = {"patient": patient_id, "share": share.id, "page": doctor.page_id, "now": clock.now()}
        await services.db.execute(QUERIES["add_use"], use)
    return share


async def _with(
    services: Services,
    doctor: Behind,
    patient_id: str,
    rights: list[str],
    studies: Sequence[str] | None,
    until: datetime | None,
    actor: Actor,
    reach: Reach,
) -> Share:
    values: dict[str, Any] = {"patient": patient_id, "practitioner": doctor.practitioner_id}
    values |= {"folded": fold_email(doctor.email), "now": clock.now()}
    row = await services.db.fetch_one(QUERIES["living_with"], values)
    if row is None:
        chosen = await chosen_studies(services, patient_id, studies, reach)
        new = given_now(
            patient_id,
            doctor.practitioner_id,
            name=doctor.name,
            email=doctor.email,
            rights=[Right(right) for right in right_set(rights)],
            studies=tuple(chosen) if chosen is not None else None,
            until=require_future(until),
        )
        added = await services.db.fetch_one(SHARES["add_share"], values_of(new))
        assert added is not None
        share = await record(services, added, Event.SHARE_GIVEN, who=actor.who(), author=actor.author)
        await notify.granted(services, share)
        return share
    before = share_of(row)
    if before.state is State.ACTIVE:
        raise AlreadyStored(HOLDS)
    await set_terms(services, before, rights, studies, until, reach)
    return await activate(
        services, before, practitioner_id=doctor.practitioner_id, actor=actor, event=Event.SHARE_GIVEN
    )


async def _held(services: Services, page_id: str) -> Behind:
    if await services.db.fetch_val(QUERIES["hold_page"], {"id": page_id.upper()}) is None:
        raise Gone(DEAD)
    doctor = await behind(services, page_id)
    if doctor is None:
        raise Gone(DEAD)
    return doctor


async def _doctor(services: Services, actor: Actor) -> str:
    values = {"account": actor.account_id}
    found: str | None = await services.db.fetch_val(QUERIES["lock_doctor"], values, alive=living(actor))
    if found is None or actor.practitioner_id != found:
        raise Forbidden(N_("Only a registered doctor with a confirmed e-mail address has a page."))
    return found


def _behind(row: Record) -> Behind:
    return Behind(
        page_id=row["page_id"],
        account_id=row["account_id"],
        practitioner_id=row["id"],
        **registered(row),
    )


def _new_page_id() -> str:
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_EACH)) for _ in range(_GROUPS))
    return "-".join(groups)
