"""The work of an export: type after type it is noted which version of which resource belongs to it.

Bulk Data Access 2.0. The caller's reach stands in every statement, asked anew for each; the work goes in short
transactions, each of which says how far it came, so that another process can go on with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from server.access.action import STUDY_READ, Action, Verb
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import InsufficientScope
from server.imaging import rebuild
from server.jobs.queue import MOST_TRIES, Job, Kit, Periodic, enqueue
from server.records import search
from server.records.document import Json
from server.records.registry import resource_type
from server.records.search_references import Searching
from server.storage.db import Record
from server.storage.where import TRUE, Where, all_of, any_of

from . import later
from .call import REGISTER
from .export import JOB, KEPT
from .export_params import filter_queries
from .later import QUERIES
from .search_params import parse
from .studies import MADE_FROM_IMAGES

AT_ONCE = 5000  # resources a statement
LONGEST = 120.0  # seconds of one turn; then the job goes to the end of the queue
PATIENCE = 10.0  # seconds for what is being written


async def make(services: Services, job: Job) -> None:
    """One turn of an export."""
    id = UUID(job.payload["export"])
    try:
        await _turn(services, id)
    except InsufficientScope:
        await _end(services, id, "failed", "The authorization that the export was asked with has ended.")
    except Exception:
        if job.tries >= MOST_TRIES:
            await _end(services, id, "failed", "The export could not be made.")
        raise


async def _turn(services: Services, id: UUID) -> None:
    row = await services.db.fetch_one(QUERIES["export_to_do"], {"id": id})
    if row is None:
        return  # cancelled
    asked = later.unseal(services, row["asked"], id.bytes)
    actor = await later.revived(services, asked["actor"])
    if actor is None:
        await _end(services, id, "failed", "The authorization that the export was asked with has ended.")
        return
    if not row["done"] and not row["last_key"]:
        await _settled(services, row)
    until = asyncio.get_running_loop().time() + LONGEST
    steps = _steps(asked)
    begin = row["last_key"]
    for place in range(row["done"], len(steps)):
        kind, type = steps[place]
        async for last in _step(services, actor, asked, row, kind, type, begin):
            await _went_on(services, id, place, len(steps), last)
            if asyncio.get_running_loop().time() > until:
                await enqueue(services.db, JOB, {"export": str(id)})
                return
        begin = 0
        await _went_on(services, id, place + 1, len(steps), 0)
    await _noted(services, actor, id)
    await _end(services, id, "complete")


def _steps(asked: Json) -> list[tuple[str, str]]:
    """Each type; then what was deleted; then the people and organizations that are referred to."""
    wanted = [type for type in asked["types"] if type not in REGISTER]
    found = [("select", type) for type in wanted]
    if asked["since"]:
        found += [("deleted", type) for type in wanted]
    return found + [("referred", type) for type in asked["types"] if type in REGISTER]


async def _step(
    services: Services, actor: Actor, asked: Json, row: Record, kind: str, type: str, last: int
) -> AsyncIterator[int]:
    """The keys at which each statement of a step ended."""
    if kind == "select" and type in MADE_FROM_IMAGES:
        with suppress(InsufficientScope):  # who may not see the images is shown what was made of them so far
            studies = await services.gate.reach_for_actor(actor, STUDY_READ)
            await rebuild.refresh(services, reach=studies, patients=asked["patients"] or ())
    while True:
        try:
            reach = await services.gate.reach_for_actor(actor, Action(type, Verb.READ))
        except InsufficientScope:
            return  # taken from the client meanwhile
        if kind != "select":
            await _once(services, asked, row, kind, type, reach=reach)
            return
        found = await _some(services, actor, asked, row, type, last, reach=reach)
        if found is None:
            return
        last = found
        yield last


async def _some(
    services: Services, actor: Actor, asked: Json, row: Record, type: str, last: int, *, reach: Reach
) -> int | None:
    """The next resources of a type; the key of the last one, None at the end."""
    values = {
        "export": row["id"],
        "type": type,
        "after": last,
        "time": row["transaction_time"],
        "limit": AT_ONCE,
    }
    match = all_of(_of_whom(asked), _changed(asked), await _filtered(services, actor, asked, type))
    found = await services.db.fetch_one(QUERIES["export_some"], values, match=match, reach=reach.resources())
    assert found is not None  # an aggregate has a row
    return found["last"] if found["found"] == AT_ONCE else None


async def _once(services: Services, asked: Json, row: Record, kind: str, type: str, *, reach: Reach) -> None:
    values = {"export": row["id"], "type": type}
    if kind == "deleted":
        values |= {"since": _moment(asked["since"]), "time": row["transaction_time"]}
        match = _of_whom(asked)
    else:
        values |= {"bases": ["", services.settings.fhir_base]}
        match = _changed(asked)
    await services.db.execute(QUERIES[f"export_{kind}"], values, match=match, reach=reach.resources())


def _of_whom(asked: Json) -> Where:
    if asked["patients"] is not None:
        return Where("resource.patient_id = ANY (:patients::text[])", {"patients": asked["patients"]})
    return Where("resource.patient_id <> ''") if asked["of_patients"] else TRUE


def _changed(asked: Json) -> Where:
    found = []
    if asked["since"]:
        found.append(
            Where("resource.last_updated > :changed_since", {"changed_since": _moment(asked["since"])})
        )
    if asked["until"]:
        found.append(
            Where("resource.last_updated <= :changed_until", {"changed_until": _moment(asked["until"])})
        )
    return all_of(*found)


async def _filtered(services: Services, actor: Actor, asked: Json, type: str) -> Where:
    """The `_typeFilter`s of a type; any of them. A chain asks the reach of what it passes."""
    queries = [parse(type, pairs, strict=True).query for pairs in filter_queries(asked["filters"], type)]
    if not queries:
        return TRUE
    passed = sorted(set().union(*(search.types_passed(query.conditions) for query in queries)))
    reaches = {
        each: await services.gate.reach_for_actor(actor, Action(resource_type(each).name, Verb.SEARCH))
        for each in passed
    }
    searching = Searching(services.settings.fhir_base, reaches)
    return any_of(*(search.match(query, searching) for query in queries))


async def _settled(services: Services, row: Record) -> None:
    """Wait for what was being written at the time of the export: it may carry an earlier date."""
    pause = 0.02
    waited = 0.0
    while waited < PATIENCE:
        if await services.db.fetch_val(QUERIES["written_before"], {"xid": row["after_xid"]}):
            return
        await asyncio.sleep(pause)
        waited += pause
        pause = min(pause * 2, 1.0)


async def _noted(services: Services, actor: Actor, id: UUID) -> None:
    """Each patient's log says that the record was exported, once."""
    rows: Sequence[Record] = await services.db.fetch_all(QUERIES["export_patients"], {"id": id})
    for row in rows:
        await services.audit.record(
            Event.RECORD_EXPORTED,
            who=actor.who(),
            patient_id=row["patient_id"],
            detail={"type": "$export"},
            fold=f"export {id} {row['patient_id']}",
        )


async def _went_on(services: Services, id: UUID, done: int, steps: int, last: int) -> None:
    values = {"id": id, "done": done, "steps": steps, "last": last}
    await services.db.execute(QUERIES["export_went_on"], values)


async def _end(services: Services, id: UUID, state: str, problem: str = "") -> None:
    values = {"id": id, "state": state, "problem": problem, "expires_at": clock.now() + KEPT}
    await services.db.execute(QUERIES["export_ended"], values)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def _forget(services: Services) -> None:
    await services.db.execute(QUERIES["drop_old_exports"], {"now": clock.now()})


KIT = Kit(handlers={JOB: make}, periodic=(Periodic("fhir: forget exports", timedelta(hours=1), _forget),))
