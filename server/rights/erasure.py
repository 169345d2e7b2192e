"""Erasure: everything of a patient goes, in steps that can be repeated (GDPR, art. 17; decision 24).

    waiting   asked for; may be taken back until the cooling-off is over
    closed    nothing can be reached any more, who had access is told
    key       the patient's key is destroyed: what is encrypted with it is unreadable, in every backup too
    rows      every row that is the patient's is gone
    objects   every file that held only their objects is gone, files with other people's are written anew
    done      proof: looked everywhere, nothing found; a tombstone with a random id remains

Each step is one transaction that also says it was done; a process killed anywhere leaves the step before, and the
next one goes on. A hold beats all of it, and is asked for under a lock in the step that closes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from server.access.action import Action, Verb
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.accounts import people
from server.audit import heads
from server.audit.events import Event, Outcome
from server.core import clock
from server.core.errors import Conflict, NotFound
from server.imaging import upkeep
from server.jobs import queue
from server.jobs.queue import Job, Kit, Periodic
from server.sharing.holding import name_of
from server.storage import packs
from server.storage.db import Record
from server.storage.sql import Statement, load
from server.storage.tables import Table, all_tables

from . import letters

QUERIES = load(__package__)
JOB = "rights: erase"
PATIENT_DELETE = Action("Patient", Verb.DELETE)
COOLING_OFF = timedelta(days=14)
AGAIN_AFTER = timedelta(minutes=1)
LOST_AFTER = timedelta(hours=2)  # no job goes on with it: one is made anew
KEEPS_PATIENT = ("public.erasure", "keys.patient_key")  # dealt with by name

Json = dict[str, Any]


class Held(Conflict):
    """The law demands that this record is kept for now."""


@dataclass(frozen=True)
class Hold:
    """Why something may not be deleted, as its patient is told."""

    id: UUID
    patient_id: str
    authority: str
    scope: str
    reason: str
    placed_at: datetime
    review_at: datetime


@dataclass(frozen=True)
class Profile:
    """A profile somebody holds, and what its deletion would take away."""

    patient_id: str
    state: str
    as_what: str
    held_by_others: bool
    restricted_at: datetime | None
    restricted_by: str
    studies: int
    images: int
    reports: int
    shares: int
    apps: int
    name: str  # to tell several apart
    holds: tuple[Hold, ...]


async def profiles(services: Services, *, actor: Actor, reach: Reach) -> list[Profile]:
    """What the account behind the actor holds, with what there is in it."""
    values = {"account": actor.account_id, "now": clock.now()}
    held = reach.of_holder().patients()
    found = []
    for row in await services.db.fetch_all(QUERIES["profiles_of_account"], values, reach=held):
        one = {"patient": row["patient_id"]}
        counts = await services.db.fetch_one(QUERIES["counts_of_patient"], one, reach=held)
        if counts is None:
            continue
        facts = {
            name: row[name] for name in ("patient_id", "state", "as_what", "restricted_at", "restricted_by")
        }
        holds = tuple(await holds_of(services, row["patient_id"]))
        facts |= {"held_by_others": row["shared_holding"], "name": name_of(row["profile"])}
        found.append(Profile(**facts, **dict(counts), holds=holds))
    return found


async def holds_of(services: Services, patient_id: str) -> list[Hold]:
    """The holds that are on a record now; the caller knows that they may be seen."""
    rows = await services.db.fetch_all(QUERIES["open_holds"], {"patient": patient_id})
    return [Hold(**dict(row)) for row in rows]


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
    erasure_id, now = uuid4(), clock.now()
    if patient_id is not None:
        await services.db.fetch_one(QUERIES["lock_patient"], {"patient": patient_id})
    if await services.db.fetch_val(QUERIES["erasure_under_way"], {"patient": patient_id, "account": whole}):
        raise Conflict("This deletion is under way already.")
    account = await people.get(services.db, UUID(str(actor.account_id)))
    told = orjson.dumps({"email": account.email, "name": account.name, "language": account.language})
    values = {
        "id": erasure_id,
        "patient": patient_id,
        "account": whole,
        "digest": digest_of(erasure_id, patient_id) if patient_id else None,
        "now": now,
        "due_at": now + wait,
        "sealed": services.keyring.seal(None, told, erasure_id.bytes),
    }
    await services.db.execute(QUERIES["ask_erasure"], values)
    detail = {"erasure": str(erasure_id), "due_at": (now + wait).isoformat()}
    await services.audit.record(Event.ERASURE_ASKED, who=actor.who(), patient_id=patient_id, detail=detail)
    await queue.enqueue(services.db, JOB, {"erasure": str(erasure_id)}, due_at=now + wait)
    return erasure_id


async def of_nobody(services: Services, patient_id: str) -> UUID:
    """Have a profile erased that nobody holds, because of its age (retention.py); the tombstone's id.

    Raises Conflict when it is held now, kept by a hold, or being erased.
    """
    erasure_id, now = uuid4(), clock.now()
    async with services.db.transaction():
        await services.db.fetch_one(QUERIES["lock_patient"], {"patient": patient_id})
        if await services.db.fetch_val(QUERIES["is_anybodys"], {"patient": patient_id}):
            raise Conflict("Somebody holds this record, or it must be kept.")
        if await services.db.fetch_val(
            QUERIES["erasure_under_way"], {"patient": patient_id, "account": None}
        ):
            raise Conflict("This deletion is under way already.")
        values = {"id": erasure_id, "patient": patient_id, "account": None, "now": now, "due_at": now}
        values |= {"digest": digest_of(erasure_id, patient_id), "sealed": None}
        await services.db.execute(QUERIES["ask_erasure"], values)
        detail = {"erasure": str(erasure_id), "why": "retention"}
        await services.audit.record(Event.ERASURE_ASKED, who=None, patient_id=patient_id, detail=detail)
        await queue.enqueue(services.db, JOB, {"erasure": str(erasure_id)})
    return erasure_id


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


async def advance(services: Services, erasure_id: UUID) -> bool:
    """Do every step that can be done now; True when nothing is left to do."""
    while True:
        async with services.db.transaction():
            row = await services.db.fetch_one(QUERIES["lock_erasure"], {"id": erasure_id})
            if row is None or row["step"] in ("done", "taken-back"):
                return True
            if row["due_at"] > clock.now():
                return False
            step, work = _NEXT[row["step"]]
            facts = await work(services, row)
            if facts is None:
                return await services.db.fetch_val(QUERIES["is_taken_back"], {"id": erasure_id}) is True
            if step is not None:
                facts["at"] = clock.now().isoformat()
                values = {"id": erasure_id, "step": step, "facts": orjson.dumps(facts).decode()}
                await services.db.execute(QUERIES["step_done"], values)


async def _close(services: Services, row: Record) -> Json | None:
    """Nothing is in reach any more; recipients are told, apps and sessions end."""
    patient_id, now, told = row["patient_id"], clock.now(), 0
    if patient_id is not None:
        await services.db.fetch_one(QUERIES["lock_patient"], {"patient": patient_id})
        if await services.db.fetch_val(QUERIES["has_open_hold"], {"patient": patient_id}):
            await _stopped_by_hold(services, row)
            return None
        recipients = await services.db.fetch_all(QUERIES["recipients"], {"patient": patient_id})
        for each in recipients:
            await letters.post(services, "deleted", each["email"], each["language"], name=each["name"])
        told = len(recipients)
        await services.audit.record(
            Event.ERASURE_BEGUN,
            who=None,
            patient_id=patient_id,
            detail={"erasure": str(row["id"]), "told": told},
        )
        await services.db.execute(
            QUERIES["note_chain"], {"id": row["id"], "patient": patient_id, "told": told}
        )
        await services.db.execute(QUERIES["close_patient"], {"patient": patient_id})
        ended = {"patient": patient_id, "now": now, "why": "erased"}
        await services.db.execute(QUERIES["end_grants_of_patient"], ended)
    if row["account_id"] is not None:
        await services.db.execute(
            QUERIES["end_shares_of_practitioner"], {"account": row["account_id"], "now": now}
        )
        await people.disable(services.db, row["account_id"], why="erased")
    return {"told": told}


async def _stopped_by_hold(services: Services, row: Record) -> None:
    values = {"id": row["id"], "step": "taken-back", "facts": orjson.dumps({"why": "hold"}).decode()}
    await services.db.execute(QUERIES["step_done"], values)
    if to := _addressee(services, row):
        await letters.post(services, "held", to["email"], to["language"], name=to["name"])
    await services.audit.record(
        Event.ERASURE_REFUSED, who=None, patient_id=row["patient_id"], outcome=Outcome.REFUSED
    )


async def _destroy_key(services: Services, row: Record) -> Json | None:
    if row["patient_id"] is None:
        return {}
    patient_id, store = row["patient_id"], services.keyring.store
    # First where the key lies: killed in between, the ticket says that it is not done yet.
    if store is not None:
        await store.destroy(patient_id)
    return {"keys": await services.db.execute(QUERIES["destroy_key"], {"patient": patient_id})}


async def _drop_rows(services: Services, row: Record) -> Json | None:
    """Every row of the patient, in whatever tables there are: those without a reference first, then the patient."""
    if row["patient_id"] is None:
        return {}
    count, tables = 0, await all_tables(services.db)
    owned = {table.full for table in tables if table.owner is not None}
    for table in reversed(tables):
        if _is_root(table, owned):
            count += await services.db.execute(_delete(table), {"patient": row["patient_id"]})
    await services.db.execute(QUERIES["drop_jobs"], {"patient": row["patient_id"]})
    return {"rows": count}


def _is_root(table: Table, owned: set[str]) -> bool:
    """Whether these rows go by themselves: the others go with what they belong to (ON DELETE CASCADE)."""
    if table.owner is None or table.full in KEEPS_PATIENT:
        return False
    return not any(key.cascades and key.parent in owned - {table.full} for key in table.keys)


def _delete(table: Table) -> Statement:
    text = f'DELETE FROM {table.quoted} WHERE "{table.owner}" = :patient'  # noqa: S608 - names of our own schema
    return Statement(f"erase {table.full}", text)


async def _drop_objects(services: Services, row: Record) -> Json | None:
    """Files with objects of nobody else go; others are written anew without them, as far as there is room."""
    facts = {"files": len(row["packs"]), "shared": 0}
    for pack in await services.db.fetch_all(QUERIES["idle_packs"], {"packs": row["packs"]}):
        if pack["used"]:
            facts["shared"] += 1
        else:
            await packs.drop(services.db, [pack["id"]])
    return facts


async def _prove(services: Services, row: Record) -> Json | None:
    """Look everywhere; None when something is still there."""
    await _drop_objects(services, row)  # also what neighbours have left since
    if await _files_remain(services, row):
        return None
    patient_id, erasure_id = row["patient_id"], row["id"]
    subjects = [f"patient:{patient_id}"] if patient_id else []
    last = row["account_id"] is not None and not await services.db.fetch_val(
        QUERIES["other_erasures"], {"account": row["account_id"], "id": erasure_id}
    )
    if patient_id is not None and await traces(services, patient_id):
        await _drop_rows(services, row)  # what was being written when the rows went
        if await traces(services, patient_id):
            return None
    if last:
        await _drop_account(services, row["account_id"])
        subjects.append(f"account:{row['account_id']}")
    await services.audit.record(
        Event.ERASURE_DONE, who=None, patient_id=None, detail={"erasure": str(erasure_id), "account": last}
    )
    await services.db.execute(QUERIES["forget_pseudonyms"], {"subjects": subjects})
    await _bury(services, row, account=last)
    return {}


async def _files_remain(services: Services, row: Record) -> bool:
    """Sweep, and say whether a file that was only theirs still lies there (a backup that goes on keeps it)."""
    await packs.sweep(services.db, services.objects)
    idle = await services.db.fetch_all(QUERIES["idle_packs"], {"packs": row["packs"]})
    there = await services.db.fetch_val(QUERIES["packs_there"], {"packs": row["packs"]})
    return bool(there > sum(each["used"] for each in idle))


async def traces(services: Services, patient_id: str) -> dict[str, int]:
    """Where rows of this patient still lie; nothing when they are gone."""
    found = {}
    for table in await all_tables(services.db):
        if table.owner is None or table.full == "public.erasure":
            continue
        text = f'SELECT count(*) FROM {table.quoted} WHERE "{table.owner}" = :patient'  # noqa: S608 - our own schema
        if count := await services.db.fetch_val(
            Statement(f"count {table.full}", text), {"patient": patient_id}
        ):
            found[table.full] = int(count)
    return found


async def _drop_account(services: Services, account_id: UUID) -> None:
    account = await services.db.fetch_one(QUERIES["account"], {"account": account_id})
    if account is None:
        return
    await services.db.execute(QUERIES["drop_messages"], {"account": account_id})
    await services.db.execute(QUERIES["drop_requests"], {"email": account["email"]})
    await services.db.execute(QUERIES["drop_written"], {"author": f"account:{account_id}"})
    await services.db.execute(QUERIES["drop_account"], {"account": account_id})
    await services.db.execute(QUERIES["destroy_account_key"], {"account": account_id})


async def _bury(services: Services, row: Record, *, account: bool) -> None:
    """The proof, signed; a mail that it exists; the tombstone."""
    now, key = clock.now(), await heads.signer(services.db, services.keyring)
    steps = orjson.loads(row["steps"])
    proof = {
        "lightbox": "proof of erasure 1",
        "erasure": str(row["id"]),
        "server": services.settings.base_url,
        "asked_at": row["requested_at"].isoformat(),
        "done_at": now.isoformat(),
        "account_deleted": account,
        "recipients_told": row["told"],
        "steps": steps,
        "audit_chain": str(row["chain"]) if row["chain"] else None,
        "kid": key.kid,
    }
    content = orjson.dumps(proof, option=orjson.OPT_SORT_KEYS)
    if to := _addressee(services, row):
        path = f"/erased/{row['id']}"
        await letters.post(services, "erased", to["email"], to["language"], path=path, name=to["name"])
    values = {"id": row["id"], "now": now, "proof": content, "signature": key.sign(content)}
    await services.db.execute(QUERIES["finish_erasure"], values)


def _addressee(services: Services, row: Record) -> Json:
    """Who is told; nobody of a record that nobody held."""
    if row["sealed"] is None:
        return {}
    found: Json = orjson.loads(services.keyring.open(None, row["sealed"], row["id"].bytes))
    return found


Step = Callable[[Services, Record], Awaitable[Json | None]]
# From which step which work leads to which; the last writes its own end.
_NEXT: dict[str, tuple[str | None, Step]] = {
    "waiting": ("closed", _close),
    "closed": ("key", _destroy_key),
    "key": ("rows", _drop_rows),
    "rows": ("objects", _drop_objects),
    "objects": (None, _prove),
}


async def _work(services: Services, job: Job) -> None:
    """One job: as far as it goes, and again later while something waits."""
    erasure_id = UUID(job.payload["erasure"])
    if not await advance(services, erasure_id):
        row = await services.db.fetch_one(QUERIES["erasure"], {"id": erasure_id})
        due_at = max(row["due_at"], clock.now() + AGAIN_AFTER) if row is not None else clock.now()
        await queue.enqueue(services.db, JOB, job.payload, due_at=due_at)
        return
    await _rewrite_shared(services, erasure_id)


async def _rewrite_shared(services: Services, erasure_id: UUID) -> None:
    """Give back the room in files that hold other people's objects too; unreadable already, so it may fail."""
    row = await services.db.fetch_one(QUERIES["lock_erasure"], {"id": erasure_id})
    if row is None:
        return
    for pack in await services.db.fetch_all(QUERIES["idle_packs"], {"packs": row["packs"]}):
        if pack["used"]:
            await upkeep.compact_pack(services, pack["id"])


async def _resume(services: Services) -> None:
    """Jobs that were given up: an erasure goes on until it is done."""
    before = clock.now() - LOST_AFTER
    for row in await services.db.fetch_all(QUERIES["due_erasures"], {"before": before}):
        await _work(services, Job(row["id"], JOB, {"erasure": str(row["id"])}, 1))


KIT = Kit(
    handlers={JOB: _work}, periodic=(Periodic("rights: erasures to go on with", timedelta(hours=1), _resume),)
)
