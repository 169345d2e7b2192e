"""patch: JSON Patch and FHIRPath Patch.

FHIR R4, 3.1.0.6. id, versionId, lastUpdated and resourceType do not change; what comes of it is validated; what
changes nothing makes no version.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as replace_fields
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Verb
from server.core.errors import Gone, InvalidInput, NotFound, PreconditionFailed, UnsupportedMediaType
from server.records import document, store
from server.records.document import Json
from server.records.serial import serializable

from . import binary, blind, conditional, fhir_xml, fhirpath_patch, json_patch
from .call import Call
from .format import FHIR_JSON, FHIR_XML, Answer, aside, body_of, etag_version, respond
from .update import replace
from .writing import Prefer, writable, written

JSON_PATCH = "application/json-patch+json"


async def patch_resource(request: Request) -> Response:
    """PATCH [base]/[type]/[id]"""
    call = await Call.of(request)
    names = request.path_params
    body = await _body(request, call, names["type"])
    if_match, prefer = _conditions(request)
    answer = await patch(call, names["type"], names["id"], body, if_match=if_match, prefer=prefer)
    return await respond(request, await binary.shown(call, answer))


async def patch_conditionally(request: Request) -> Response:
    """PATCH [base]/[type]?…"""
    call = await Call.of(request)
    type = request.path_params["type"]
    body = await _body(request, call, type)
    if_match, prefer = _conditions(request)
    answer = await patch_matching(call, type, request.url.query, body, if_match=if_match, prefer=prefer)
    return await respond(request, await binary.shown(call, answer))


def _conditions(request: Request) -> tuple[int | None, Prefer]:
    return etag_version(request.headers.get("if-match")), Prefer.read(request.headers.get("prefer"))


async def _body(request: Request, call: Call, type: str) -> bytes:
    await writable(call, type, Verb.UPDATE)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (JSON_PATCH, "application/json", FHIR_JSON, FHIR_XML):
        raise UnsupportedMediaType(f"A patch is {JSON_PATCH}, or a FHIRPath Patch in {FHIR_JSON}.")
    body = await body_of(request, limit=call.services.settings.max_resource_bytes)
    if kind == FHIR_XML:
        body = document.dump(await aside(body, fhir_xml.parse))
    return body


async def patch_matching(
    call: Call, type: str, criteria: str, body: bytes, *, if_match: int | None = None, prefer: Prefer
) -> Answer:
    """Conditional patch: what the criteria find is patched; none is 404, many are 412 (FHIR R4, 3.1.0.6)."""
    await writable(call, type, Verb.UPDATE)

    async def once() -> Answer:
        matches = await conditional.matches(call, type, criteria)
        if len(matches) > 1:
            raise PreconditionFailed("The search matches more than one resource.")
        if not matches:
            raise NotFound()
        return await patch(call, type, matches[0].id, body, if_match=if_match, prefer=prefer)

    return await serializable(call.services.db, once)


async def patch(
    call: Call, type: str, id: str, body: bytes, *, if_match: int | None = None, prefer: Prefer
) -> Answer:
    """Change parts of a resource. Raises NotFound, Gone, InvalidInput, Unprocessable."""
    reach = await writable(call, type, Verb.UPDATE)
    asked = await aside(body, document.parse_any)
    change = _change(asked)
    async with call.services.db.transaction():
        before = await store.locked(call.services.db, type, id, reach=reach)
        if before.deleted:
            raise Gone()
        blindly = not await blind.may_see(call, type, id)
        if blindly:
            blind.require_blind(type, asked)
        was = document.load_exact(before.json)
        patched = change(was)
        _require_same_identity(was, patched)
        stored = await replace(
            call, before, patched, reach=reach, if_match=if_match, method="PATCH", anew=blindly
        )
    if blindly and prefer.returning == "representation":
        prefer = replace_fields(prefer, returning="minimal")
    return written(prefer, stored, 200, call.base)


def _change(read: Any) -> Callable[[Json], Any]:
    """What the patch does to a resource: a JSON array is a JSON Patch, an object a FHIRPath Patch."""
    if isinstance(read, dict) and read.get("resourceType") == "Parameters":
        return lambda resource: fhirpath_patch.apply(resource, read)
    return lambda resource: json_patch.apply(resource, read)


def _require_same_identity(was: Json, now: object) -> None:
    """R4, 3.1.0.6: a patch does not change who a resource is."""
    if not isinstance(now, dict) or not isinstance(now.get("meta", {}), dict):
        raise InvalidInput("The patch leaves no resource behind.")
    same = all(was.get(name) == now.get(name) for name in ("resourceType", "id"))
    before, after = was.get("meta", {}), now.get("meta", {})
    if not same or any(before.get(name) != after.get(name) for name in ("versionId", "lastUpdated")):
        raise InvalidInput("A patch cannot change resourceType, id, versionId or lastUpdated.")
