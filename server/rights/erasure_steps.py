"""Erasure as it is done: everything of a patient goes, in steps that can be repeated (GDPR, art. 17; decision 24).

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

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson

from server.access.services import Services
from server.accounts import people
from server.audit import heads
from server.audit.events import Event, Outcome
from server.core import clock
from server.imaging import upkeep
from server.jobs import queue
from server.jobs.queue import Job, Kit, Periodic
from server.storage import packs
from server.storage.db import Record
from server.storage.sql import load

from . import letters
from .erasure import JOB
from .traces import drop_rows, traces

QUERIES = load(__package__)
AGAIN_AFTER = timedelta(minutes=1)
LOST_AFTER = timedelta(hours=2)  # no job goes on with it: one is made anew

Json = dict[str, Any]


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
    told = 0
    if row["patient_id"] is not None:
        patient = {"patient": row["patient_id"]}
        await services.db.fetch_one(QUERIES["lock_patient"], patient)
        if await services.db.fetch_val(QUERIES["has_open_hold"], patient):
            await _stopped_by_hold(services, row)
            return None
        told = await _close_patient(services, row["id"], row["patient_id"])
    if row["account_id"] is not None:
        ended = {"account": row["account_id"], "now": clock.now()}
        await services.db.execute(QUERIES["end_shares_of_practitioner"], ended)
        await people.disable(services.db, row["account_id"], why="erased")
    return {"told": told}


async def _close_patient(services: Services, erasure_id: UUID, patient_id: str) -> int:
    """How many recipients were told."""
    db, patient = services.db, {"patient": patient_id}
    recipients = await db.fetch_all(QUERIES["recipients"], patient)
    for each in recipients:
        await letters.post(services, "deleted", each["email"], each["language"], name=each["name"])
    told = len(recipients)
    detail = {"erasure": str(erasure_id), "told": told}
    await services.audit.record(Event.ERASURE_BEGUN, who=None, patient_id=patient_id, detail=detail)
    await db.execute(QUERIES["note_chain"], patient | {"id": erasure_id, "told": told})
    await db.execute(QUERIES["close_patient"], patient)
    await db.execute(QUERIES["end_grants_of_patient"], patient | {"now": clock.now(), "why": "erased"})
    return told


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
    if row["patient_id"] is None:
        return {}
    return {"rows": await drop_rows(services, row["patient_id"])}


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
    patient_id, account_id = row["patient_id"], row["account_id"]
    last = account_id is not None and not await services.db.fetch_val(
        QUERIES["other_erasures"], {"account": account_id, "id": row["id"]}
    )
    if patient_id is not None and await _rows_remain(services, patient_id):
        return None
    if last:
        await _drop_account(services, account_id)
    detail = {"erasure": str(row["id"]), "account": last}
    await services.audit.record(Event.ERASURE_DONE, who=None, patient_id=None, detail=detail)
    subjects = [f"patient:{patient_id}"] if patient_id else []
    subjects += [f"account:{account_id}"] if last else []
    await services.db.execute(QUERIES["forget_pseudonyms"], {"subjects": subjects})
    await _bury(services, row, account=last)
    return {}


async def _rows_remain(services: Services, patient_id: str) -> bool:
    """Whether rows lie there even when those went that were being written beside the step for rows."""
    if not await traces(services, patient_id):
        return False
    await drop_rows(services, patient_id)
    return bool(await traces(services, patient_id))


async def _files_remain(services: Services, row: Record) -> bool:
    """Sweep, and say whether a file that was only theirs still lies there (a backup that goes on keeps it)."""
    await packs.sweep(services.db, services.objects)
    idle = await services.db.fetch_all(QUERIES["idle_packs"], {"packs": row["packs"]})
    there = await services.db.fetch_val(QUERIES["packs_there"], {"packs": row["packs"]})
    return bool(there > sum(each["used"] for each in idle))


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
    proof = {
        "lightbox": "proof of erasure 1",
        "erasure": str(row["id"]),
        "server": services.settings.base_url,
        "asked_at": row["requested_at"].isoformat(),
        "done_at": now.isoformat(),
        "account_deleted": account,
        "recipients_told": row["told"],
        "steps": orjson.loads(row["steps"]),
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
