"""update, also conditional.

FHIR R4, 3.1.0.4 and 3.1.0.4.3. PUT to an id that is hidden or unknown is 405 for people and apps; system tokens
may create by PUT (decision 1).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Verb
from server.access.reach import Reach
from server.audit.events import Event
from server.core.errors import InvalidInput, NotAllowed, NotFound, PreconditionFailed
from server.records import primitives, store
from server.records.document import Json
from server.records.serial import serializable
from server.records.store import Stored

from . import binary, conditional, consents, patients, studies, subscription, trail
from .call import Call
from .create import body_in, create, stored_new
from .format import Answer, etag_version, not_modified, respond
from .writing import READ_ONLY, Prefer, checked, require_type, writable, written


async def update_resource(request: Request) -> Response:
    """PUT [base]/[type]/[id]"""
    call = await Call.of(request)
    type = request.path_params["type"]
    await writable(call, type, Verb.UPDATE)
    async with binary.intake(call, type) as call:
        resource, id = await body_in(call, type), request.path_params["id"]
        if type == "Binary" and binary.is_content(request.headers.get("content-type", "")):
            resource = {**resource, "id": id}  # content as such has no other place for it
        answer = await update(
            call,
            type,
            id,
            resource,
            if_match=etag_version(request.headers.get("if-match")),
            if_none_match=request.headers.get("if-none-match"),
            prefer=Prefer.read(request.headers.get("prefer")),
        )
        return await respond(request, await binary.shown(call, answer))


async def update_conditionally(request: Request) -> Response:
    """PUT [base]/[type]?[search parameters]"""
    call = await Call.of(request)
    type = request.path_params["type"]
    await writable(call, type, Verb.UPDATE)
    async with binary.intake(call, type) as call:
        resource = await body_in(call, type)
        answer = await update_matching(
            call,
            type,
            request.url.query,
            resource,
            if_match=etag_version(request.headers.get("if-match")),
            if_none_match=request.headers.get("if-none-match"),
            prefer=Prefer.read(request.headers.get("prefer")),
        )
        return await respond(request, await binary.shown(call, answer))


async def update(
    call: Call,
    type: str,
    id: str,
    resource: Json,
    *,
    if_match: int | None = None,
    if_none_match: str | None = None,
    prefer: Prefer,
) -> Answer:
    """Store the next version of a resource: 200, or 201 when it was deleted before or is new."""
    reach = await writable(call, type, Verb.UPDATE)
    require_type(resource, type)
    if resource.get("id") != id:
        raise InvalidInput(
            "The id of the body is missing, or is not that of the address.", expression=f"{type}.id"
        )
    async with call.services.db.transaction():
        before = await current(call, type, id, reach=reach)
        if before is None:
            return await _create_by_put(call, type, id, resource, if_match=if_match, prefer=prefer)
        if not before.deleted and not_modified(before, if_none_match, None):
            raise PreconditionFailed("If-None-Match names what is there already.")  # RFC 9110, 13.1.2
        if before.deleted and if_match is not None:
            raise PreconditionFailed("If-Match names a version, but the resource is deleted.")
        stored = await replace(call, before, resource, reach=reach, if_match=if_match, method="PUT")
    return written(prefer, stored, 201 if before.deleted else 200, call.base)


async def replace(
    call: Call,
    before: Stored,
    resource: Json,
    *,
    reach: Reach,
    if_match: int | None,
    method: str,
    anew: bool = False,
) -> Stored:
    """Put the new content in the place of the old, by whatever way the type demands.

    `anew`: as a version of its own also where nothing changed.
    """
    if before.type == "Subscription":
        return await subscription.update(
            call, before, resource, reach=reach, if_match=if_match, method=method
        )
    owner = await checked(call, resource)
    if before.type == "Consent":
        return await consents.update(
            call,
            before,
            resource,
            reach=reach,
            patient_id=owner.patient_id,
            if_match=if_match,
            method=method,
        )
    stored = await store.update(
        call.services.db,
        resource,
        reach=reach,
        patient_id=owner.patient_id,
        study_uid=before.study_uid if before.type == "ImagingStudy" else owner.study_uid,
        author=call.actor.author,
        if_match=if_match,
        method=method,
        contents=call.contents,
        anew=anew,
    )
    if before.type == "Patient":
        await patients.asserted(call, resource, before.id)
    if stored.version != before.version:
        await studies.wrote(call, stored.type, resource, owner.patient_id)
        await trail.wrote(call, Event.RECORD_UPDATED, stored)
    return stored


async def current(call: Call, type: str, id: str, *, reach: Reach) -> Stored | None:
    """The row as it is, deleted or not; None when there is nothing that the caller may write."""
    try:
        return await store.locked(call.services.db, type, id, reach=reach)
    except NotFound:
        return None


async def update_matching(
    call: Call,
    type: str,
    criteria: str,
    resource: Json,
    *,
    if_match: int | None = None,
    if_none_match: str | None = None,
    prefer: Prefer,
    id: str | None = None,
) -> Answer:
    """Conditional update: none and no id creates; one updates; many are 412 (FHIR R4, 3.1.0.4.3).

    `id`: what a transaction calls a resource that is made here.
    """
    await writable(call, type, Verb.UPDATE)
    require_type(resource, type)
    chosen = id

    async def once() -> Answer:
        matches = await conditional.matches(call, type, criteria)
        if len(matches) > 1:
            raise PreconditionFailed("The search matches more than one resource.")
        id = resource.get("id")
        if id is not None and not isinstance(id, str):
            raise InvalidInput("The id of the body is no text.", expression=f"{type}.id")
        if matches:
            if id not in (None, matches[0].id):
                raise InvalidInput(
                    "The id of the body is not that of the resource found.", expression=f"{type}.id"
                )
            found = {**resource, "id": matches[0].id}
            return await update(
                call,
                type,
                matches[0].id,
                found,
                if_match=if_match,
                if_none_match=if_none_match,
                prefer=prefer,
            )
        if id is None:
            return await create(call, type, resource, prefer=prefer, id=chosen)
        return await update(
            call, type, id, resource, if_match=if_match, if_none_match=if_none_match, prefer=prefer
        )

    return await serializable(call.services.db, once)


async def _create_by_put(
    call: Call, type: str, id: str, resource: Json, *, if_match: int | None, prefer: Prefer
) -> Answer:
    if not call.is_system or type in ("Consent", "Subscription"):
        sentence = "There is nothing at this address that you may update; create with POST instead."
        raise NotAllowed(sentence, allow=READ_ONLY)
    if if_match is not None:
        raise PreconditionFailed("If-Match names a version, but there is no such resource.")
    if primitives.problem_of("id", id) is not None:
        raise InvalidInput("This is not a valid id.", expression=f"{type}.id")
    reach = await writable(call, type, Verb.CREATE)
    stored = await stored_new(call, type, resource, id, reach=reach, method="PUT")
    return written(prefer, stored, 201, call.base)
