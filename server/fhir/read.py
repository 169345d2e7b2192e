"""read and vread: one resource as it is, or as it was.

FHIR R4, 3.1.0.2 and 3.1.0.3. What may not be seen answers like what does not exist.
"""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Verb
from server.access.reach import Reach
from server.core.errors import Gone, NotFound
from server.records import store
from server.records.registry import resource_type
from server.records.store import Stored

from . import audit_event, binary, studies, trail
from .call import Call
from .format import Answer, not_modified, resource_answer, respond, version_number
from .summary import shape_of


async def read_resource(request: Request) -> Response:
    """GET [base]/[type]/[id]"""
    call = await Call.of(request)
    stored = await read(call, request.path_params["type"], request.path_params["id"])
    return await _shown(call, stored)


async def read_version(request: Request) -> Response:
    """GET [base]/[type]/[id]/_history/[vid]"""
    call = await Call.of(request)
    names = request.path_params
    return await _shown(call, await vread(call, names["type"], names["id"], version_number(names["vid"])))


async def _shown(call: Call, stored: Stored) -> Response:
    if stored.type == "Binary":
        if (raw := await binary.as_content(call, stored)) is not None:
            return raw
        whole = await binary.as_resource(call, stored)
        if isinstance(whole, Response):
            return whole
        stored = whole
    return await respond(call.request, _answer(call.request, stored))


def _answer(request: Request, stored: Stored) -> Answer:
    if not_modified(stored, request.headers.get("if-none-match"), request.headers.get("if-modified-since")):
        return Answer(304, b"", resource_answer(stored).headers)
    if not request.scope["query_string"]:
        return resource_answer(stored)
    shape = shape_of(request.query_params.multi_items())
    return resource_answer(stored, json=shape.apply(stored.type, stored.json))


async def read(call: Call, type: str, id: str) -> Stored:
    """The current version within reach. Raises NotFound, Gone."""
    resource_type(type)
    if type == "AuditEvent" and (event := await audit_event.read(call, id)) is not None:
        return event
    reach = await call.reach(type, Verb.READ, lazily=True)
    try:
        stored = await _current(call, type, id, reach)
    except (NotFound, Gone):
        await call.confirm()
        raise
    await trail.read(call, stored)
    return stored


async def _current(call: Call, type: str, id: str, reach: Reach) -> Stored:
    """What is made from images is read at once where nothing of its patient is behind, which is nearly always."""
    if type in studies.MADE_FROM_IMAGES:
        with suppress(NotFound, Gone):
            return await store.read(call.services.db, type, id, reach=reach, also=studies.UP_TO_DATE)
        await studies.fresh(call, reach)
    return await store.read(call.services.db, type, id, reach=reach)


async def vread(call: Call, type: str, id: str, version: int) -> Stored:
    """One version within reach. Raises NotFound, Gone."""
    resource_type(type)
    reach = await call.reach(type, Verb.READ)
    stored = await store.read_version(call.services.db, type, id, version, reach=reach)
    await trail.read(call, stored, old=True)
    return stored
