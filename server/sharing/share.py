"""The patient's side of sharing: invite, resend, withdraw, answer a request, change, end, list.

Each act is one transaction: the share's row, its Consent, the event, the mail. Every function takes the caller's
reach, of Consent with the verb that fits (`c` to invite, `u` to change, `r` to see).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from server.access.action import Right
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.accounts import people
from server.audit.events import Event
from server.core import clock
from server.core.errors import AlreadyStored, Conflict, NotFound, OutOfSpace, Unprocessable
from server.core.ids import digest, new_id, new_secret
from server.core.texts import N_
from server.storage.db import Record

from . import notify
from .acts import QUERIES, living, record, require_patience, require_unrestricted
from .model import (
    MOST_MESSAGE,
    MOST_STUDIES,
    WAITS,
    Share,
    State,
    require_future,
    require_own,
    right_set,
    share_of,
)

LOOK_EVERY = timedelta(minutes=1)
MOST_LOOKS = 10_000
FOREVER_AGO = datetime.min.replace(tzinfo=UTC)
_looks: dict[tuple[str, str | None], datetime] = {}  # a hint of this process; the statement decides
USUAL_RIGHTS = (Right.IMAGES, Right.REPORTS, Right.DOWNLOAD)


@dataclass(frozen=True)
class Doctor:
    """What the patient may know of the other party (product row 5)."""

    name: str
    email: str
    specialty: str
    organization: str
    registration_number: str
    authority: str
    verification: str


async def invite(
    services: Services,
    patient_id: str,
    *,
    name: str,
    email: str,
    rights: Iterable[str] = USUAL_RIGHTS,
    studies: Sequence[str] | None = None,
    until: datetime | None = None,
    message: str = "",
    actor: Actor,
    reach: Reach,
    share_id: str | None = None,
) -> Share:
    """Invite a doctor by mail; inviting the same address again while it waits sends a new link.

    Raises NotFound (the patient is not in reach), AlreadyStored (that doctor can see already), Unprocessable (an
    address, right, study or end that cannot be; sharing with oneself).
    """
    address = people.normal_email(email)
    values = _terms(name, rights, until, message) | {"email": address, "folded": people.fold_email(address)}
    secret = new_secret()
    values |= {"secret_hash": digest(secret), "waits_until": clock.now() + WAITS}
    await require_patience(services, actor)
    async with services.db.transaction():
        await require_patient(services, patient_id, reach)
        await require_another(services, patient_id, email=address)
        values |= {
            "patient": patient_id,
            "studies": await chosen_studies(services, patient_id, studies, reach),
        }
        row, event = await _invite(services, values, share_id)
        share = await record(services, row, event, who=actor.who(), author=actor.author)
        await notify.invited(services, share, secret)
    return share


async def resend(services: Services, share_id: str, *, actor: Actor, reach: Reach) -> Share:
    """Send a new link, for another 336 hours; also after the first ones have passed. Raises NotFound, Conflict."""
    await require_patience(services, actor)
    async with services.db.transaction():
        before = await locked(services, share_id, reach)
        if before.stored_state not in (State.INVITED, State.EXPIRED) or not before.email:
            raise Conflict(N_("This invitation cannot be sent again."))
        require_own(before)
        await _require_unshared(services, before)
        secret = new_secret()
        values = _terms(before.name, before.rights, before.until, before.message)
        values |= {"patient": before.patient_id, "id": before.id, "studies": before.studies}
        values |= {"secret_hash": digest(secret), "waits_until": clock.now() + WAITS}
        row = await services.db.fetch_one(QUERIES["invite_again"], values)
        assert row is not None  # locked above
        share = await record(services, row, Event.SHARE_RESENT, who=actor.who(), author=actor.author)
        await notify.invited(services, share, secret)
    return share


async def withdraw(services: Services, share_id: str, *, actor: Actor, reach: Reach) -> Share:
    """Take back an invitation that waits: its link is dead at once. Raises NotFound, Conflict."""
    return await _move(
        services, share_id, (State.INVITED,), State.WITHDRAWN, Event.SHARE_WITHDRAWN, actor=actor, reach=reach
    )


async def end(services: Services, share_id: str, *, actor: Actor, reach: Reach) -> Share:
    """End sharing: the next request of the other party finds nothing. Raises NotFound, Conflict."""
    return await _move(
        services, share_id, (State.ACTIVE,), State.ENDED, Event.SHARE_ENDED, actor=actor, reach=reach
    )


async def refuse(services: Services, share_id: str, *, actor: Actor, reach: Reach) -> Share:
    """Answer a doctor's request with no. Raises NotFound, Conflict."""
    return await _move(
        services, share_id, (State.REQUESTED,), State.DECLINED, Event.SHARE_DECLINED, actor=actor, reach=reach
    )


async def grant(
    services: Services,
    share_id: str,
    *,
    rights: Iterable[str] | None = None,
    studies: Sequence[str] | None = None,
    until: datetime | None = None,
    actor: Actor,
    reach: Reach,
) -> Share:
    """Answer a doctor's request with yes, to these terms. Raises NotFound, Conflict, Unprocessable."""
    async with services.db.transaction():
        before = await locked(services, share_id, reach)
        if before.state is not State.REQUESTED:
            raise Conflict(N_("This request does not wait for an answer any more."))
        await set_terms(services, before, rights or before.rights, studies, until, reach)
        return await activate(services, before, actor=actor)


async def change(
    services: Services,
    share_id: str,
    *,
    rights: Iterable[str],
    studies: Sequence[str] | None,
    until: datetime | None,
    actor: Actor,
    reach: Reach,
) -> Share:
    """Set what a living share gives, from this moment on. Raises NotFound, Conflict, Unprocessable."""
    async with services.db.transaction():
        before = await locked(services, share_id, reach)
        if before.state not in (State.INVITED, State.ACTIVE):
            raise Conflict(N_("This share is over; a new one can be made."))
        require_own(before)
        row = await set_terms(services, before, rights, studies, until, reach)
        detail = {"rights_before": sorted(before.rights)}
        return await record(
            services, row, Event.SHARE_CHANGED, who=actor.who(), author=actor.author, detail=detail
        )


async def activate(
    services: Services,
    before: Share,
    *,
    practitioner_id: str | None = None,
    organization_id: str | None = None,
    actor: Actor,
    event: Event = Event.SHARE_ACCEPTED,
) -> Share:
    """Make a share (locked by the caller) hold from now on, by the patient's own word; the other party is told."""
    await require_unrestricted(services, before.patient_id)
    values: dict[str, Any] = {"patient": before.patient_id, "id": before.id, "now": clock.now()}
    values |= {"practitioner": practitioner_id, "organization": organization_id}
    row = await services.db.fetch_one(QUERIES["activate"], values)
    assert row is not None
    share = await record(services, row, event, who=actor.who(), author=actor.author)
    await notify.granted(services, share)
    return share


async def list_for_patient(services: Services, patient_id: str, *, reach: Reach) -> list[Share]:
    """All shares of a patient in every state, the newest first."""
    rows = await services.db.fetch_all(
        QUERIES["shares_of_patient"], {"patient": patient_id}, reach=reach.patients()
    )
    return [share_of(row) for row in rows]


async def get(services: Services, share_id: str, *, reach: Reach) -> Share:
    """One share, for its patient. Raises NotFound."""
    row = await services.db.fetch_one(QUERIES["share_of_patient"], {"id": share_id}, reach=reach.patients())
    if row is None:
        raise NotFound()
    return share_of(row)


async def doctor_of(services: Services, share: Share) -> Doctor:
    """Who the other party is: as registered, or as the patient typed it while nobody has accepted."""
    row: Record | None = None
    if share.practitioner_id:
        values = {"practitioner": share.practitioner_id}
        row = await services.db.fetch_one(QUERIES["practitioner_of_share"], values)
    if row is None:
        return Doctor(share.name, share.email, "", "", "", "", "")
    return Doctor(**registered(row) | ({} if row["email"] else {"email": share.email}))


def registered(row: Record) -> dict[str, str]:
    """What there is of a registered doctor in a row of the practitioner, named as `Doctor` names it."""
    same = ("name", "email", "specialty", "registration_number", "authority", "verification")
    return {name: row[name] for name in same} | {"organization": row["organization_name"]}


async def subject_of(services: Services, share: Share) -> str:
    """The other party as the audit log knows them; "" while nobody has accepted."""
    if share.practitioner_id is None:
        return ""
    values = {"practitioner": share.practitioner_id}
    row = await services.db.fetch_one(QUERIES["practitioner_of_share"], values)
    return f"account:{row['account_id']}" if row is not None else ""


@dataclass(frozen=True)
class Patient:
    """A patient as the doctor's list has it."""

    share: Share
    name: str  # of whoever holds the profile; the FHIR Patient has the profile's own


async def list_for_practitioner(services: Services, *, actor: Actor) -> list[Patient]:
    """The patients who share with this doctor now; asked for the account behind the actor's living credential."""
    values = {"account": actor.account_id, "now": clock.now()}
    rows = await services.db.fetch_all(QUERIES["shares_of_practitioner"], values, alive=living(actor))
    return [Patient(share_of(row), row["patient_name"] or "") for row in rows]


async def note_look(services: Services, patient_id: str, practitioner_id: str | None) -> None:
    """Somebody looked at something: the share with this practitioner, if there is one, remembers when.

    Written at most once a minute, and asked of the memory of the process before: a viewer reads hundreds of frames.
    """
    now, pair = clock.now(), (patient_id, practitioner_id)
    if practitioner_id is None or now - _looks.get(pair, FOREVER_AGO) < LOOK_EVERY:
        return
    values = {"patient": patient_id, "practitioner": practitioner_id, "now": now, "stale": now - LOOK_EVERY}
    with suppress(OutOfSpace):  # on a full disk one still reads (decision 27)
        await services.db.execute(QUERIES["note_look"], values)
    if len(_looks) > MOST_LOOKS:
        _looks.clear()
    _looks[pair] = now


async def locked(services: Services, share_id: str, reach: Reach) -> Share:
    """The share, within reach, kept from changing until the transaction ends. Raises NotFound."""
    row = await services.db.fetch_one(QUERIES["lock_share"], {"id": share_id}, reach=reach.patients())
    if row is None:
        raise NotFound()
    return share_of(row)


async def chosen_studies(
    services: Services, patient_id: str, studies: Sequence[str] | None, reach: Reach
) -> list[str] | None:
    """The UIDs of chosen studies; None for all. Raises Unprocessable for one the caller does not reach."""
    if studies is None:
        return None
    uids = sorted(set(studies))
    if not uids or len(uids) > MOST_STUDIES:
        raise Unprocessable(f"Choose between one and {MOST_STUDIES} studies, or share all of them.")
    values = {"patient": patient_id, "uids": uids}
    rows = await services.db.fetch_all(QUERIES["studies_within"], values, reach=reach.studies())
    if len(rows) != len(uids):
        raise Unprocessable(N_("One of the chosen studies is not there."))
    return uids


async def require_another(
    services: Services, patient_id: str, *, email: str = "", account_id: UUID | None = None
) -> None:
    """Raises Unprocessable when the address or the account holds the profile itself."""
    values = {"patient": patient_id, "folded": people.fold_email(email), "account": account_id}
    if await services.db.fetch_val(QUERIES["is_holder"], values):
        raise Unprocessable(N_("This is your own address; you see everything already."))


async def _invite(services: Services, values: dict[str, Any], share_id: str | None) -> tuple[Record, Event]:
    before = await services.db.fetch_one(QUERIES["invitation_of"], values | {"now": clock.now()})
    if before is not None and before["state"] == "active":
        raise AlreadyStored(N_("You share with this doctor already; change what they can do on their page."))
    if before is not None and before["state"] == "requested":
        raise AlreadyStored(N_("This doctor has asked for access already; answer the request."))
    if before is not None:
        row = await services.db.fetch_one(QUERIES["invite_again"], values | {"id": before["id"]})
        event = Event.SHARE_RESENT
    else:
        rest = {"practitioner": None, "organization": None, "parent": None, "accepted_at": None}
        added = values | rest | {"now": clock.now(), "id": share_id or new_id(), "state": State.INVITED}
        row, event = await services.db.fetch_one(QUERIES["add_share"], added), Event.SHARE_INVITED
    assert row is not None
    return row, event


async def _move(
    services: Services,
    share_id: str,
    come_from: tuple[State, ...],
    to: State,
    event: Event,
    *,
    actor: Actor,
    reach: Reach,
) -> Share:
    async with services.db.transaction():
        before = await locked(services, share_id, reach)
        if before.state not in come_from:
            raise Conflict(f"This is not possible: the share is {before.state} by now.")
        return await move(services, before, to, event, actor=actor)


async def move(services: Services, before: Share, to: State, event: Event, *, actor: Actor) -> Share:
    """Bring a share (locked by the caller) to a state it does not come back from; the other party is told."""
    values = {"patient": before.patient_id, "id": before.id, "to": to, "ended_at": clock.now()}
    row = await services.db.fetch_one(QUERIES["move"], values | {"from": [before.stored_state]})
    assert row is not None
    share = await record(services, row, event, who=actor.who(), author=actor.author)
    await notify.over(services, share)
    return share


async def set_terms(
    services: Services,
    before: Share,
    rights: Iterable[str],
    studies: Sequence[str] | None,
    until: datetime | None,
    reach: Reach,
) -> Record:
    """Write what a share (locked by the caller) gives."""
    values: dict[str, Any] = {"patient": before.patient_id, "id": before.id, "from": [before.stored_state]}
    values |= {"rights": right_set(rights), "until": require_future(until)}
    values["studies"] = await chosen_studies(services, before.patient_id, studies, reach)
    row = await services.db.fetch_one(QUERIES["set_terms"], values)
    assert row is not None
    return row


async def require_patient(services: Services, patient_id: str, reach: Reach) -> None:
    """Lock the patient, within reach; raises NotFound, Conflict for a restricted record."""
    found = await services.db.fetch_val(
        QUERIES["lock_patient"], {"patient": patient_id}, reach=reach.patients()
    )
    if found is None:
        raise NotFound()
    await require_unrestricted(services, patient_id)


async def _require_unshared(services: Services, before: Share) -> None:
    """An expired invitation is not sent again beside a newer one to the same address."""
    await require_unrestricted(services, before.patient_id)
    values = {"patient": before.patient_id, "folded": people.fold_email(before.email), "now": clock.now()}
    other = await services.db.fetch_one(QUERIES["invitation_of"], values)
    if other is not None and other["id"] != before.id:
        raise AlreadyStored(N_("There is a newer invitation for this doctor."))


def _terms(name: str, rights: Iterable[str], until: datetime | None, message: str) -> dict[str, Any]:
    shown = " ".join(name.split())
    if not shown or len(shown) > people.MOST_NAME:
        raise Unprocessable(N_("The doctor's name is needed."))
    if len(message) > MOST_MESSAGE:
        raise Unprocessable(f"A message can have at most {MOST_MESSAGE} characters.")
    return {
        "name": shown,
        "rights": right_set(rights),
        "until": require_future(until),
        "message": message.strip(),
    }
