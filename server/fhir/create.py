"""create, also conditional.

FHIR R4, 3.1.0.8 and 3.1.0.8.1 (If-None-Exist): no match 201, one match 200 and nothing written, many 412. Search
and insert share a serializable transaction, so that of two at once one wins.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Verb
from server.access.reach import Reach
from server.audit.events import Event
from server.core.errors import PreconditionFailed
from server.records import store
from server.records.document import Json
from server.records.serial import serializable
from server.records.store import Stored

from . import binary, conditional, consents, patients, studies, subscription, trail
from .call import Call
from .format import Answer, aside, body_of, reader_of, respond
from .writing import Prefer, checked, require_type, writable, written


async def create_resource(request: Request) -> Response:
    """POST [base]/[type]"""
    call = await Call.of(request)
    type = request.path_params["type"]
    await writable(call, type, Verb.CREATE)  # before the body is read: a refusal needs none
    prefer = Prefer.read(request.headers.get("prefer"))
    async with binary.intake(call, type) as call:
        resource = await body_in(call, type)
        answer = await create(
            call, type, resource, if_none_exist=request.headers.get("if-none-exist"), prefer=prefer
        )
        return await respond(request, await binary.shown(call, answer))


async def body_in(call: Call, type: str) -> Json:
    """The resource in a request's body; of a Binary also as content of its own type (R4, Binary)."""
    request, limit = call.request, call.services.settings.max_resource_bytes
    content_type = request.headers.get("content-type", "")
    if type == "Binary" and binary.is_content(content_type):
        return await binary.received(call, content_type, limit=limit)
    resource = await aside(await body_of(request, limit=limit), reader_of(content_type))
    return await binary.taken(call, resource)


async def create(
    call: Call,
    type: str,
    resource: Json,
    *,
    if_none_exist: str | None = None,
    prefer: Prefer,
    id: str | None = None,
) -> Answer:
    """Store a new resource; id, versionId and lastUpdated of the body are ignored.

    A transaction gives the `id`, for other entries refer to it already.
    """
    reach = await writable(call, type, Verb.CREATE)
    require_type(resource, type)
    resource = _without_server_parts(resource)
    if if_none_exist is None:
        async with call.services.db.transaction():
            stored = await stored_new(call, type, resource, id, reach=reach)
        return written(prefer, stored, 201, call.base)
    criteria = if_none_exist

    async def once() -> Answer:
        matches = await conditional.matches(call, type, criteria)
        if len(matches) > 1:
            raise PreconditionFailed("If-None-Exist matches more than one resource.")
        if matches:
            return written(prefer, conditional.as_stored(matches[0]), 200, call.base, found=True)
        return written(prefer, await stored_new(call, type, resource, id, reach=reach), 201, call.base)

    return await serializable(call.services.db, once)


async def stored_new(
    call: Call, type: str, resource: Json, id: str | None, *, reach: Reach, method: str = "POST"
) -> Stored:
    """Store a new resource with all that follows from it, in the caller's transaction."""
    if type == "Patient":
        return await patients.create(call, resource, id)
    if type == "Subscription":
        return await subscription.create(call, resource, reach=reach, id=id)
    owner = await checked(call, resource)
    if type == "Consent":
        return await consents.create(call, resource, reach=reach, patient_id=owner.patient_id, id=id)
    stored = await store.create(
        call.services.db,
        resource,
        reach=reach,
        patient_id=owner.patient_id,
        study_uid=owner.study_uid,
        author=call.actor.author,
        id=id,
        method=method,
        contents=call.contents,
    )
    await studies.wrote(call, stored.type, resource, owner.patient_id)
    await trail.wrote(call, Event.RECORD_CREATED, stored)
    return stored


def _without_server_parts(resource: Json) -> Json:
    given = resource.get("meta", {})
    if not isinstance(given, dict):
        return resource  # what it is instead, the checks of its structure say
    meta = {k: v for k, v in given.items() if k not in ("versionId", "lastUpdated")}
    rest = {k: v for k, v in resource.items() if k not in ("id", "meta")}
    return {**rest, "meta": meta} if meta else rest
