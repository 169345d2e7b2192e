"""A doctor asks a patient for access, by e-mail address.

Whether the address belongs to anybody here is not the doctor's to learn: asking writes the same row and answers the
same for every address, and the rest happens in a job. A patient who signs up later finds the request waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from server.access.actor import Actor
from server.access.services import Services
from server.accounts import attempts, people
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.core.errors import Forbidden, Unprocessable
from server.core.ids import new_id
from server.core.texts import N_
from server.jobs import queue
from server.jobs.queue import Job
from server.storage.db import Record
from server.storage.where import TRUE

from . import notify
from .acts import QUERIES, living, record
from .model import LIVING, MOST_MESSAGE, WAITS, Share, State, right_set, share_of
from .share import USUAL_RIGHTS

JOB = "access-request"
# A doctor's day has a few of these; more would be fishing for addresses, or filling mailboxes.
LIMIT = attempts.Limit("access-request", free=30, longest=60 * 60)


@dataclass(frozen=True)
class Asked:
    """A request as the doctor sees it: waiting until the patient has let them in, whoever has the address."""

    email: str
    created_at: datetime
    waits_until: datetime
    state: State
    patient_id: str | None  # only while they share


async def ask(
    services: Services, email: str, *, rights: Iterable[str] = USUAL_RIGHTS, message: str = "", actor: Actor
) -> None:
    """Ask whoever has this address for access.

    Raises Forbidden unless the actor is a registered doctor with a confirmed address, Unprocessable for what is no
    address, TooManyRequests.
    """
    address = people.normal_email(email)
    if len(message) > MOST_MESSAGE:
        raise Unprocessable(f"A message can have at most {MOST_MESSAGE} characters.")
    doctor = await services.db.fetch_one(QUERIES["practitioner_of_account"], {"account": actor.account_id})
    if doctor is None:
        raise Forbidden(N_("Only a registered doctor with a confirmed e-mail address can ask for access."))
    await attempts.begin(services.db, attempts.subject(LIMIT, str(actor.account_id)))
    request_id, now = new_id(), clock.now()
    values = {"id": request_id, "practitioner": doctor["id"], "email": address, "rights": right_set(rights)}
    values |= {"folded": people.fold_email(address), "message": message.strip()}
    async with services.db.transaction():
        await services.db.execute(QUERIES["add_request"], values | {"now": now, "waits_until": now + WAITS})
        await queue.enqueue(services.db, JOB, {"request": request_id})


async def asked_by(services: Services, *, actor: Actor) -> list[Asked]:
    """What this doctor has asked for."""
    values = {"account": actor.account_id}
    rows = await services.db.fetch_all(QUERIES["requests_by"], values, alive=living(actor))
    return [_asked(row) for row in rows]


async def take_up(services: Services, account_id: UUID) -> int:
    """Show a patient the requests that waited for their address; how many."""
    account = await people.get(services.db, account_id)
    count = 0
    async with services.db.transaction():
        values = {"folded": account.email_folded, "now": clock.now()}
        patient_id = await services.db.fetch_val(QUERIES["own_profile"], values)
        if patient_id is None:
            return 0
        for row in await services.db.fetch_all(QUERIES["requests_waiting_for"], values):
            count += await _become_share(services, row, patient_id)
    return count


async def address_confirmed(services: Services, job: Job) -> None:
    """An address was confirmed: what waited for it can be shown."""
    await take_up(services, UUID(job.payload["account"]))


async def deliver(services: Services, job: Job) -> None:
    """Put the request before the patient, or invite whoever has the address to sign up."""
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["request_by_id"], {"id": job.payload["request"]})
        if row is None or row["share_id"] is not None:
            return
        doctor = await services.db.fetch_one(QUERIES["practitioner"], {"id": row["practitioner_id"]})
        if doctor is None or row["waits_until"] <= clock.now():
            return
        values = {"folded": row["email_folded"], "now": clock.now()}
        patient_id = await services.db.fetch_val(QUERIES["own_profile"], values)
        if patient_id is None or await _become_share(services, row, patient_id):
            known = patient_id is not None
            await notify.requested(services, row["email"], doctor["name"], row["waits_until"], known=known)


async def _become_share(services: Services, row: Record, patient_id: str) -> bool:
    """Make the share that waits for the patient's answer; False when this doctor waits or sees already."""
    doctor = await services.db.fetch_one(QUERIES["practitioner"], {"id": row["practitioner_id"]})
    # The server's own act, no caller's: two requests of one doctor at once must see each other.
    patient = await services.db.fetch_val(QUERIES["lock_patient"], {"patient": patient_id}, reach=TRUE)
    if doctor is None or patient is None:
        return False
    own = {"patient": patient_id, "folded": "", "account": doctor["account_id"]}
    if await services.db.fetch_val(QUERIES["is_holder"], own):
        return False
    parties = {"patient": patient_id, "practitioner": doctor["id"], "organization": None}
    existing = await _living(services, parties, doctor["email"])
    if existing is not None:
        await _bind(services, row, existing.id)
        return False
    share = await services.db.fetch_one(QUERIES["add_share"], _share_values(row, doctor) | parties)
    assert share is not None
    await _bind(services, row, share["id"])
    who = Who(doctor["name"], "doctor", account_id=doctor["account_id"], practitioner_id=doctor["id"])
    await record(services, share, Event.SHARE_REQUESTED, who=who, author=f"account:{doctor['account_id']}")
    return True


async def _living(services: Services, parties: Mapping[str, Any], email: str) -> Share | None:
    """What makes a request needless: the doctor sees or asks already, or an invitation waits for them."""
    own = {"patient": parties["patient"], "folded": people.fold_email(email)}
    for query, values in (("share_with", parties), ("invitation_of", own)):
        row = await services.db.fetch_one(QUERIES[query], {**values, "now": clock.now()})
        if row is not None and (found := share_of(row)).state in LIVING:
            return found
    return None


def _share_values(row: Record, doctor: Record) -> dict[str, object]:
    return {
        "id": new_id(),
        "name": doctor["name"],
        "email": doctor["email"],
        "folded": people.fold_email(doctor["email"]),
        "state": State.REQUESTED,
        "rights": row["rights"],
        "studies": None,
        "message": row["message"],
        "secret_hash": None,
        "now": row["created_at"],
        "waits_until": row["waits_until"],
        "accepted_at": None,
        "until": None,
        "parent": None,
    }


async def _bind(services: Services, row: Record, share_id: str) -> None:
    await services.db.execute(QUERIES["bind_request"], {"id": row["id"], "share": share_id})


def _asked(row: Record) -> Asked:
    state = State(row["answer"])
    if state is State.REQUESTED and row["waits_until"] <= clock.now():
        state = State.EXPIRED
    patient_id = row["patient_id"] if state is State.ACTIVE else None
    return Asked(row["email"], row["created_at"], row["waits_until"], state, patient_id)
