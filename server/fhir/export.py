"""Bulk Data `$export`: of everything, of all patients, of a Group's; asked for, waited for, fetched, cancelled.

Bulk Data Access 2.0 and FHIR R4, 3.1.6 (asynchronous requests). An export is a list of versions, made by a job
(export_job.py); a file is read when it is downloaded, with the reach of whoever downloads it: what was taken back
meanwhile is in no file any more. A file answers nobody but the app and person that asked for the export.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from server.access.action import Action, Verb
from server.access.reach import Reach
from server.core import clock
from server.core.compression import takes_gzip
from server.core.errors import InsufficientScope, InvalidInput, NotAuthenticated, NotFound, TooManyRequests
from server.jobs.queue import enqueue
from server.records import store
from server.records.document import Json, dump, instant, load
from server.records.references import here
from server.records.registry import types
from server.storage.db import Record

from . import binary, later
from .call import REGISTER, Call
from .export_params import Wanted, filter_queries, from_parameters, wanted
from .format import resource_of
from .later import QUERIES
from .problem import outcome
from .search import searching_for
from .search_params import parse
from .summary import Shape, shape_of

JOB = "fhir-export"
KEPT = timedelta(hours=24)
MOST_OPEN = 4  # of one caller
FIRST_PAGE, MOST_IN_PAGE = 20, 1000  # resources of a file that are in memory at once
PART = 4 * 2**20  # bytes that a page aims at: a study of many series is half a megabyte
NDJSON = "application/fhir+ndjson"
# AuditEvents lie in the log and are searched there; a Subscription holds what is the subscriber's alone.
NOT_EXPORTED = frozenset({"AuditEvent", "Subscription"})


async def export_system(request: Request) -> Response:
    """GET and POST [base]/$export"""
    call = await Call.of(request)
    kept = [name for name in types() if name not in NOT_EXPORTED]
    return await _kick_off(call, kept, None, of_patients=False)


async def export_patients(request: Request) -> Response:
    """GET and POST [base]/Patient/$export: the compartments of all patients in reach"""
    call = await Call.of(request)
    return await _kick_off(call, _of_compartment(), None, of_patients=True)


async def export_group(request: Request) -> Response:
    """GET and POST [base]/Group/[id]/$export: the compartments of the Group's members"""
    call = await Call.of(request)
    reach = await call.reach("Group", Verb.READ)
    stored = await store.read(call.services.db, "Group", request.path_params["id"], reach=reach)
    return await _kick_off(call, _of_compartment(), _members(load(stored.json), call.base), of_patients=True)


def _of_compartment() -> list[str]:
    kept = [t.name for t in types().values() if t.in_compartment() or t.name == "Endpoint"]
    return [name for name in [*kept, *sorted(REGISTER)] if name not in NOT_EXPORTED]


def _members(group: Json, base: str) -> list[str]:
    """The patients of a Group that are in it now."""
    found = []
    for member in group.get("member", []):
        to = here(str(member.get("entity", {}).get("reference", "")), base)
        if to is not None and to.type == "Patient" and not member.get("inactive", False):
            found.append(to.id)
    return list(dict.fromkeys(found))


async def _kick_off(call: Call, kept: list[str], members: list[str] | None, *, of_patients: bool) -> Response:
    request = call.request
    await call.confirm()
    preferred = request.headers.get("prefer", "").lower()
    if "respond-async" not in preferred:
        raise InvalidInput("An export is asynchronous: send the header Prefer: respond-async.")
    by_post = request.method == "POST"
    pairs = list(request.query_params.multi_items())
    if by_post:
        pairs += from_parameters(await resource_of(request, limit=call.services.settings.max_resource_bytes))
    lenient = "handling=lenient" in preferred.replace(" ", "")
    asked = wanted(pairs, base=call.base, lenient=lenient, by_post=by_post, of_patients=of_patients)
    open_types = await _open_types(call, kept, asked)
    await _require_passed(call, asked, open_types)
    patients = await _patients(call, asked, members)
    id = await _add(call, asked, open_types, patients, of_patients=of_patients)
    return Response(status_code=202, headers={"Content-Location": _address(call, id)})


async def _open_types(call: Call, kept: list[str], asked: Wanted) -> list[str]:
    """The types to export. Raises InsufficientScope for one that was named without a scope for it."""
    named = asked.types
    if named is not None and (others := [name for name in named if name not in kept]):
        raise InvalidInput(f"{others[0]} is not a type that is exported here.")
    found = []
    for name in named or kept:
        try:
            await call.services.gate.reach_for_actor(call.actor, Action(name, Verb.READ))
        except InsufficientScope:
            if named is not None:
                raise
            continue
        found.append(name)
    if not found:
        raise InsufficientScope("The access token has no scope for anything that is exported.")
    return found


async def _require_passed(call: Call, asked: Wanted, open_types: list[str]) -> None:
    """Raise InsufficientScope where a filter looks into a type without a scope to search it, or it would tell."""
    for type in open_types:
        for pairs in filter_queries(asked.filters, type):
            await searching_for(call, parse(type, pairs, strict=True).query)


async def _patients(call: Call, asked: Wanted, members: list[str] | None) -> list[str] | None:
    """Whose data; None for everybody in reach. Raises Forbidden for a patient that was named and is not in reach."""
    if asked.patients is None:
        return members
    if members is not None and not set(asked.patients) <= set(members):
        raise InvalidInput("A patient that was named is no member of the Group.")
    reach = await call.reach("Patient", Verb.READ)
    for patient in asked.patients:
        await call.services.gate.require_patient(reach, patient, call.actor)
    return list(asked.patients)


async def _add(
    call: Call, asked: Wanted, open_types: list[str], patients: list[str] | None, *, of_patients: bool
) -> UUID:
    services, id, now = call.services, uuid4(), clock.now()
    facts: Json = {
        "actor": later.facts_of(call.actor),
        "request": str(call.request.url.replace(scheme="", netloc="")),
        "types": open_types,
        "filters": asked.filters,
        "since": asked.since.isoformat() if asked.since else None,
        "until": asked.until.isoformat() if asked.until else None,
        "elements": asked.elements,
        "patients": patients,
        "of_patients": of_patients,
        "ignored": asked.ignored,
    }
    caller = {"client": call.actor.client_id, "account": call.actor.account_id}
    async with services.db.transaction():
        if await services.db.fetch_val(QUERIES["open_exports"], caller) >= MOST_OPEN:
            raise TooManyRequests("Exports of yours are still being made.", retry_after=30)
        row = {"id": id, "now": now, "expires_at": now + KEPT, **caller}
        await services.db.execute(
            QUERIES["add_export"], {**row, "asked": later.seal(services, facts, id.bytes)}
        )
        await enqueue(services.db, JOB, {"export": str(id)})
    return id


async def export_status(request: Request) -> Response:
    """GET [base]/$export/[id]: 202 while it is being made, then the manifest"""
    call = await Call.of(request)
    row = await _own(call)
    if row["state"] == "accepted":
        progress = f"{row['done']} of {row['steps'] or '?'} steps"
        return Response(status_code=202, headers={"X-Progress": progress, "Retry-After": "1"})
    if row["state"] == "failed":
        issue = {"severity": "error", "code": "exception", "diagnostics": row["problem"]}
        return JSONResponse(outcome([issue]), 500, media_type="application/fhir+json")
    return Response(
        dump(await _manifest(call, row)),
        headers={
            "Content-Type": "application/json",
            "Expires": row["expires_at"].strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "Cache-Control": "private, no-store",
        },
    )


async def _manifest(call: Call, row: Record) -> Json:
    """Bulk Data Access 2.0, 2.6.1: what there is to download."""
    asked = later.unseal(call.services, row["asked"], row["id"].bytes)
    files: dict[bool, list[Json]] = {False: [], True: []}
    for one in await call.services.db.fetch_all(QUERIES["export_files"], {"id": row["id"]}):
        name = f"deleted.{one['type']}" if one["deleted"] else one["type"]
        address = f"{_address(call, row['id'])}/{name}.ndjson"
        kind = "Bundle" if one["deleted"] else one["type"]
        files[one["deleted"]].append({"type": kind, "url": address, "count": one["count"]})
    errors: list[Json] = []
    if asked["ignored"]:
        errors = [
            {"type": "OperationOutcome", "url": f"{_address(call, row['id'])}/error.ndjson", "count": 1}
        ]
    return {
        "transactionTime": instant(row["transaction_time"]),
        "request": f"{call.services.settings.base_url}{asked['request']}",
        "requiresAccessToken": True,
        "output": files[False],
        "deleted": files[True],
        "error": errors,
    }


async def cancel_export(request: Request) -> Response:
    """DELETE [base]/$export/[id]: nothing of it is left"""
    call = await Call.of(request)
    row = await _own(call)
    await call.services.db.execute(QUERIES["drop_export"], {"id": row["id"]})
    return Response(status_code=202)


async def download(request: Request) -> Response:
    """GET [base]/$export/[id]/[type].ndjson: one file, as far as the caller may read it now"""
    call = await Call.of(request)
    row = await _own(call)
    asked = later.unseal(call.services, row["asked"], row["id"].bytes)
    stem = request.path_params["file"].removesuffix(".ndjson")
    type = stem.removeprefix("deleted.")
    if row["state"] != "complete" or not request.path_params["file"].endswith(".ndjson"):
        raise NotFound()
    if stem == "error" and asked["ignored"]:
        return _streamed(request, _ignored(asked["ignored"]))
    if type not in asked["types"]:
        raise NotFound()
    reach = await call.reach(type, Verb.READ)
    shape = shape_of([("_elements", asked["elements"])] if asked["elements"] else [])
    return _streamed(request, _lines(call, row["id"], type, stem != type, shape, reach=reach))


async def _lines(
    call: Call, id: UUID, type: str, deleted: bool, shape: Shape, *, reach: Reach
) -> AsyncIterator[bytes]:
    """A file in parts; the reach stands in the statement of each."""
    last = 0
    values = {"id": id, "type": type, "deleted": deleted}
    limit = FIRST_PAGE
    while True:
        within = Reach(reach.action, reach.lanes, reach.credential, reach.root).versions()
        rows = await call.services.db.fetch_all(
            QUERIES["export_page"], {**values, "after": last, "limit": limit}, reach=within
        )
        if not rows:
            if not await call.services.gate.lives(call.actor.credential):
                raise NotAuthenticated()  # the answer is cut off: it is not the whole file
            return
        last = rows[-1]["key"]
        size = sum(len(row["json"]) for row in rows) // len(rows)
        limit = max(1, min(MOST_IN_PAGE, PART // max(size, 1)))
        if deleted:
            yield b"".join(_deletion(type, row["id"]) for row in rows)
        else:
            async for part in _resources(call, type, [bytes(row["json"]) for row in rows], shape):
                yield part


async def _resources(call: Call, type: str, jsons: list[bytes], shape: Shape) -> AsyncIterator[bytes]:
    if type != "Binary" or shape.elements:
        yield b"".join(shape.apply(type, json) + b"\n" for json in jsons)
        return
    for json in jsons:
        async for part in binary.line(call, json):
            yield part


def _deletion(type: str, id: str) -> bytes:
    """Bulk Data Access 2.0, 2.6.1 (deleted): a transaction that deletes it."""
    entries = [{"request": {"method": "DELETE", "url": f"{type}/{id}"}}]
    return dump({"resourceType": "Bundle", "type": "transaction", "entry": entries}) + b"\n"


async def _ignored(names: list[str]) -> AsyncIterator[bytes]:
    said = f"Not supported here and left out: {', '.join(names)}."
    yield dump(outcome([{"severity": "warning", "code": "not-supported", "diagnostics": said[:500]}])) + b"\n"


def _streamed(request: Request, lines: AsyncIterator[bytes]) -> Response:
    headers = {"Cache-Control": "private, no-store", "Vary": "Accept-Encoding, Authorization"}
    if takes_gzip(request):
        return StreamingResponse(
            _zipped(lines), headers={**headers, "Content-Encoding": "gzip"}, media_type=NDJSON
        )
    return StreamingResponse(lines, headers=headers, media_type=NDJSON)


async def _zipped(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    zipper = zlib.compressobj(1, wbits=31)
    async for part in lines:
        if zipped := await asyncio.to_thread(zipper.compress, part):
            yield zipped
    yield zipper.flush()


async def _own(call: Call) -> Record:
    """The export, if it is this caller's. Raises NotFound."""
    await call.confirm()
    try:
        id = UUID(call.request.path_params["export"])
    except ValueError as error:
        raise NotFound() from error
    values = {
        "id": id,
        "client": call.actor.client_id,
        "account": call.actor.account_id,
        "now": clock.now(),
    }
    row = await call.services.db.fetch_one(QUERIES["export_of_caller"], values)
    if row is None:
        raise NotFound()
    asked = later.unseal(call.services, row["asked"], id.bytes)
    if (
        asked["actor"]["context_patient"] != call.actor.context_patient
    ):  # for another patient of the same person
        raise NotFound()
    return row


def _address(call: Call, id: UUID) -> str:
    return f"{call.base}/$export/{id}"
