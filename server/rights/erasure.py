"""Erasure as it is asked for: of a profile or an account, taken back, looked after (GDPR, art. 17; decision 24).

What is done about it, step by step, is erasure_steps.py. A hold beats all of it.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import orjson

from server.access.action import Action, Verb
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.accounts import people
from server.audit.events import Event, Outcome
from server.core import clock
from server.core.errors import Conflict, NotFound
from server.jobs import queue
from server.storage.db import Record
from server.storage.sql import load

from .holdings import Profile, profiles

QUERIES = load(__package__)
JOB = "rights: erase"
PATIENT_DELETE = Action("Patient", Verb.DELETE)
COOLING_OFF = timedelta(days=14)


class Held(Conflict):
    """The law demands that this record is kept for now."""


async def ask(
    services: Services,
    *,
    actor: Actor,
    reach: Reach,
    patient_id: str | None = None,
    wait: timedelta = timedelta(0),
) -> list[UUID]:
    """Have one profile erased, or (None) the account with every profile nobody else holds; the tombstones' ids.

    Raises Held, NotFound (not theirs), Conflict (under way already).
    """
    account_id = actor.account_id
    if account_id is None:
        raise NotFound()
    held = await profiles(services, actor=actor, reach=reach)
    wanted = [each for each in held if patient_id in (None, each.patient_id)]
    if patient_id is not None and not wanted:
        raise NotFound()
    mine = [each for each in wanted if patient_id is not None or not each.held_by_others]
    await _require_no_hold(services, mine, actor)
    whole = account_id if patient_id is None else None
    async with services.db.transaction():
        made = [await _ask_one(services, each.patient_id, whole, actor, wait) for each in mine]
        for each in mine:  # what was merged into it goes with it: what both held lies there, and its key
            for source in await _merged_into(services, each.patient_id):
                await _ask_one(services, source, whole, actor, wait)
        if not made:
            made = [await _ask_one(services, None, whole, actor, wait)]
    return made


async def _require_no_hold(services: Services, wanted: list[Profile], actor: Actor) -> None:
    for each in wanted:
        if each.holds:
            await services.audit.record(
                Event.ERASURE_REFUSED,
                who=actor.who(),
                patient_id=each.patient_id,
                outcome=Outcome.REFUSED,
                detail={"hold": str(each.holds[0].id)},
            )
            raise Held()


async def _merged_into(services: Services, patient_id: str) -> list[str]:
    rows = await services.db.fetch_all(QUERIES["merged_into"], {"patient": patient_id})
    return [row["source_id"] for row in rows]


async def _ask_one(
    services: Services, patient_id: str | None, whole: UUID | None, actor: Actor, wait: timedelta
) -> UUID:
    erasure_id, due_at = uuid4(), clock.now() + wait
    if patient_id is not None:
        await services.db.fetch_one(QUERIES["lock_patient"], {"patient": patient_id})
    account = await people.get(services.db, UUID(str(actor.account_id)))
    told = orjson.dumps({"email": account.email, "name": account.name, "language": account.language})
    sealed = services.keyring.seal(None, told, erasure_id.bytes)
    await _open(services, erasure_id, patient_id, account_id=whole, due_at=due_at, sealed=sealed)
    detail = {"erasure": str(erasure_id), "due_at": due_at.isoformat()}
    await services.audit.record(Event.ERASURE_ASKED, who=actor.who(), patient_id=patient_id, detail=detail)
    return erasure_id


async def of_nobody(services: Services, patient_id: str) -> UUID:
    """Have a profile erased that nobody holds, because of its age (retention.py); the tombstone's id.

    Raises Conflict when it is held now, kept by a hold, or being erased.
    """
    erasure_id = uuid4()
    async with services.db.transaction():
        await services.db.fetch_one(QUERIES["lock_patient"], {"patient": patient_id})
        if await services.db.fetch_val(QUERIES["is_anybodys"], {"patient": patient_id}):
            raise Conflict("Somebody holds this record, or it must be kept.")
        await _open(services, erasure_id, patient_id, account_id=None, due_at=clock.now(), sealed=None)
        detail = {"erasure": str(erasure_id), "why": "retention"}
        await services.audit.record(Event.ERASURE_ASKED, who=None, patient_id=patient_id, detail=detail)
    return erasure_id


async def _open(
    services: Services,
    erasure_id: UUID,
    patient_id: str | None,
    *,
    account_id: UUID | None,
    due_at: datetime,
    sealed: bytes | None,
) -> None:
    """The tombstone and its job. Raises Conflict when there is one already."""
    whose = {"patient": patient_id, "account": account_id}
    if await services.db.fetch_val(QUERIES["erasure_under_way"], whose):
        raise Conflict("This deletion is under way already.")
    digest = digest_of(erasure_id, patient_id) if patient_id else None
    values = {"id": erasure_id, "digest": digest, "now": clock.now(), "due_at": due_at, "sealed": sealed}
    await services.db.execute(QUERIES["ask_erasure"], whose | values)
    await queue.enqueue(services.db, JOB, {"erasure": str(erasure_id)}, due_at=due_at)


async def waiting(services: Services, *, actor: Actor) -> list[Record]:
    """Erasures of the actor that can still be taken back."""
    values = {"account": actor.account_id, "now": clock.now()}
    return await services.db.fetch_all(QUERIES["erasures_of_account"], values)


async def take_back(services: Services, erasure_id: UUID, *, actor: Actor) -> None:
    """Raises NotFound when it is not the actor's, or has begun."""
    values = {"id": erasure_id, "account": actor.account_id, "now": clock.now()}
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["take_back"], values)
        if row is None:
            raise NotFound()
        await services.db.execute(
            QUERIES["take_back_merged"], {"patient": row["patient_id"], "now": values["now"]}
        )
        await services.audit.record(
            Event.ERASURE_CANCELLED,
            who=actor.who(),
            patient_id=row["patient_id"],
            detail={"erasure": str(row["id"])},
        )


async def state_of(services: Services, erasure_id: UUID) -> Record:
    """How far an erasure is, for whoever knows its random id. Raises NotFound."""
    row = await services.db.fetch_one(QUERIES["erasure"], {"id": erasure_id})
    if row is None:
        raise NotFound()
    return row


def digest_of(erasure_id: UUID, patient_id: str) -> bytes:
    """What a tombstone keeps of the patient's id: enough for whoever knows it to ask, and for nobody else."""
    return hashlib.sha256(erasure_id.bytes + patient_id.encode()).digest()
