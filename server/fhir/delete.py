"""delete, also conditional.

FHIR R4, 3.1.0.7 and 3.1.0.7.1. What does not exist, or may not be seen, is answered 204 and nothing happens
(decision 1). A conditional delete takes one match only; an unknown parameter is an error, not every resource.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Verb
from server.access.reach import Reach
from server.audit.events import Event
from server.core.errors import NotAllowed, NotFound, PreconditionFailed
from server.records import store
from server.records.registry import resource_type
from server.records.serial import serializable
from server.records.store import Stored

from . import conditional, consents, subscription, trail
from .call import Call
from .format import Answer, etag_version, respond
from .writing import NOT_WRITTEN, READ_ONLY

NOT_DELETED = {
    "Patient": "A profile is deleted by its holder, in the account's own pages.",
    "ImagingStudy": "A study is deleted with its images, through DICOMweb or the portal.",
    "AuditEvent": "The audit log is append-only.",
    "Endpoint": "Endpoints are made by this server.",
}


async def delete_resource(request: Request) -> Response:
    """DELETE [base]/[type]/[id]"""
    call = await Call.of(request)
    names = request.path_params
    if_match = etag_version(request.headers.get("if-match"))
    return await respond(request, await delete(call, names["type"], names["id"], if_match=if_match))


async def delete_conditionally(request: Request) -> Response:
    """DELETE [base]/[type]?[search parameters]"""
    call = await Call.of(request)
    if_match = etag_version(request.headers.get("if-match"))
    type = request.path_params["type"]
    answer = await delete_matching(call, type, request.url.query, if_match=if_match)
    return await respond(request, answer)


async def delete(call: Call, type: str, id: str, *, if_match: int | None = None) -> Answer:
    """End a resource: 204 whether it was there or not."""
    resource_type(type)
    reach = await call.reach(type, Verb.DELETE)
    if type in NOT_DELETED:
        raise NotAllowed(NOT_DELETED[type], allow=READ_ONLY if type in NOT_WRITTEN else None)
    try:
        async with call.services.db.transaction():
            before = await store.locked(call.services.db, type, id, reach=reach)
            stored = await _delete(call, before, reach=reach, if_match=if_match)
            if not before.deleted:
                await trail.wrote(call, Event.RECORD_DELETED, stored)
    except NotFound:
        return Answer(204)
    return Answer(204, headers={"ETag": stored.etag})


async def _delete(call: Call, before: Stored, *, reach: Reach, if_match: int | None) -> Stored:
    if before.type == "Consent" and not before.deleted:
        return await consents.delete(call, before.id, reach=reach, if_match=if_match)
    if before.type == "Subscription" and not before.deleted:
        return await subscription.delete(call, before, reach=reach, if_match=if_match)
    return await store.delete(
        call.services.db, before.type, before.id, reach=reach, author=call.actor.author, if_match=if_match
    )


async def delete_matching(call: Call, type: str, criteria: str, *, if_match: int | None = None) -> Answer:
    """Delete the one resource that the search finds: none 204, many 412."""
    resource_type(type)
    await call.reach(type, Verb.DELETE)

    async def once() -> Answer:
        matches = await conditional.matches(call, type, criteria)
        if len(matches) > 1:
            raise PreconditionFailed("The search matches more than one resource.")
        if not matches:
            return Answer(204)
        return await delete(call, type, matches[0].id, if_match=if_match)

    return await serializable(call.services.db, once)
