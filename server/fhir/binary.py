"""Binary: content in its own format, or wrapped in a FHIR resource.

FHIR R4, Binary ("Serving Binary Resources using the RESTful API"). Served as an attachment that nothing in it can
run: an uploaded page must not become a page of this server. Large content is written while it arrives and sent while
it is read; a Bundle carries content up to a bound, beyond it the Binary is SUBSETTED and to be read by itself.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from email.utils import format_datetime

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from server.access.action import Action, Verb
from server.access.reach import NOTHING, Reach
from server.core.errors import Gone, InsufficientScope, NotFound, TooLarge
from server.core.media import MediaType, parse_accept, parse_media_type, quality
from server.core.ranges import byte_range, range_headers
from server.imaging import contents
from server.imaging.contents import INLINE, Content
from server.records import content, store
from server.records.content import Intake, Mark, marked
from server.records.document import Json, dump, load
from server.records.references import belonging
from server.records.registry import resource_type
from server.records.store import Stored

from . import fhir_xml
from .call import Call
from .format import FHIR_JSON, FHIR_XML, VARY, Answer, acceptable, body_of, names_tag, not_modified

_FHIR = (FHIR_JSON, "application/json", "text/json", FHIR_XML)
_SAFE = {
    "Content-Disposition": "attachment",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-cache",
    "Vary": VARY,
}


# -- in


@asynccontextmanager
async def intake(call: Call, type: str = "Binary") -> AsyncIterator[Call]:
    """The call, with room for content that is kept beside its row; not to be asked for inside of a transaction."""
    if type != "Binary":
        yield call
        return
    services = call.services
    async with content.opened(services.db, services.objects, services.keyring) as found:
        yield replace(call, contents=found)


async def taken(call: Call, resource: Json) -> Json:
    """A Binary with its content beside it, where that is large."""
    return resource if call.contents is None else await call.contents.take(resource)


def is_content(content_type: str) -> bool:
    """Whether what is sent to Binary is content and no resource: application/xml is content."""
    return bool(content_type) and "json" not in content_type and "fhir+xml" not in content_type


async def received(call: Call, content_type: str, *, limit: int) -> Json:
    """The Binary that raw content becomes (X-Security-Context says whose it is). Raises InvalidInput, TooLarge.

    What belongs to nobody has no key to be sealed with, and is held to the size of a row.
    """
    request = call.request
    whose = request.headers.get("x-security-context") or await _whose_it_was(call)
    resource = _head(content_type, whose)
    owned = await belonging(
        call.services.db, resource, resource_type("Binary"), base=call.base, required=False
    )
    if call.contents is None or not (owned.patient_id or call.actor.context_patient):
        return _with_data(resource, await body_of(request, limit=limit))
    found = await _received(request, call.contents, call.services.settings.max_binary_bytes)
    return marked(resource, found) if isinstance(found, Mark) else _with_data(resource, found)


async def _whose_it_was(call: Call) -> str | None:
    """An update that does not say whose the content is leaves it as it was."""
    if (id := call.request.path_params.get("id")) is None:
        return None
    try:
        reach = await call.reach("Binary", Verb.UPDATE)
        before = load((await store.read(call.services.db, "Binary", id, reach=reach)).json)
    except (NotFound, Gone):
        return None
    found: str | None = before.get("securityContext", {}).get("reference")
    return found


async def _received(request: Request, into: Intake, limit: int) -> bytes | Mark:
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"The content is larger than {limit} bytes.")
    return await into.receive(request.stream(), most=limit)


def _head(content_type: str, security_context: str | None) -> Json:
    resource: Json = {"resourceType": "Binary", "contentType": content_type}
    if security_context:
        resource["securityContext"] = {"reference": security_context}
    return resource


def _with_data(resource: Json, body: bytes) -> Json:
    return {**resource, "data": b64encode(body).decode()} if body else resource


# -- out


async def as_content(call: Call, stored: Stored, *, tag: str = "") -> Response | None:
    """The content itself, unless the request asks for FHIR; None for the resource.

    `tag`: of content that changes without a version; then the date of the version says nothing of it either.
    """
    request, binary = call.request, load(stored.json)
    kind = parse_media_type(binary.get("contentType", ""))
    if kind is None or not _wants_content(request, kind):
        return None
    headers = {**_SAFE, "ETag": tag or stored.etag}
    if not tag:
        headers["Last-Modified"] = format_datetime(stored.last_updated, usegmt=True)
    known, since = request.headers.get("if-none-match"), request.headers.get("if-modified-since")
    if names_tag(known, tag) if tag else not_modified(stored, known, since):
        return Response(status_code=304, headers=headers)
    found = await contents.content_of(call.services, binary, reach=await call.reach("Binary", Verb.READ))
    part = byte_range(request, found.size, headers["ETag"])
    start, stop = part or (0, found.size)
    headers |= {
        **range_headers(part, found.size),
        "Content-Length": str(stop - start),
        "Content-Type": kind.name,
    }
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(found.chunks(start, stop), status, headers)


def _wants_content(request: Request, kind: MediaType) -> bool:
    """R4, Binary: the content as such, unless one of FHIR's own types is asked for by name."""
    if "_format" in request.query_params:
        return False
    ranges = parse_accept(request.headers.get("accept") or "*/*")
    if any(each.name in _FHIR for each in ranges):
        return False
    return quality(ranges, kind) > 0


async def as_resource(call: Call, stored: Stored) -> Response | Stored:
    """The resource with its content: as an answer that is made while it is sent, where that is large."""
    if not contents.is_apart(stored.json):
        return stored
    binary = load(stored.json)
    mark, reach = content.mark_of(binary), await call.reach("Binary", Verb.READ)
    if mark is None or mark.size <= INLINE or _is_shaped(call.request):
        return replace(stored, json=await contents.filled(call.services, stored.json, reach=reach))
    return _poured(call, stored, binary, await contents.content_of(call.services, binary, reach=reach))


def _is_shaped(request: Request) -> bool:
    return bool({"_summary", "_elements"} & set(request.query_params))


def _poured(call: Call, stored: Stored, binary: Json, found: Content) -> Response:
    request, media_type = call.request, acceptable(call.request)
    headers = {
        "ETag": stored.etag,
        "Last-Modified": format_datetime(stored.last_updated, usegmt=True),
        "Cache-Control": "private, no-cache",
        "Vary": VARY,
    }
    if not_modified(stored, request.headers.get("if-none-match"), request.headers.get("if-modified-since")):
        return Response(status_code=304, headers=headers)
    around = contents.around(binary)
    whole = fhir_xml.dump(around) if media_type.endswith("xml") else dump(around)
    return StreamingResponse(
        contents.poured(whole, found), headers=headers, media_type=f"{media_type}; charset=utf-8"
    )


async def filled(call: Call, resources: Sequence[bytes]) -> list[bytes]:
    """Resources that go into one answer, those with content beside them filled, as long as there is room."""
    if not any(map(contents.is_apart, resources)):
        return list(resources)
    reach = await _any_reach(call)
    room, answers = INLINE if reach else 0, []
    for json in resources:
        whole = await contents.filled(call.services, json, reach=reach, most=room)
        room -= len(whole) * 3 // 4 if whole is not json else 0
        answers.append(whole)
    return answers


async def line(call: Call, json: bytes) -> AsyncIterator[bytes]:
    """One line of NDJSON, the content in it however large it is."""
    binary = load(json)
    if content.mark_of(binary) is None:
        yield json + b"\n"
        return
    reach = await call.reach("Binary", Verb.READ)
    try:
        found = await contents.content_of(call.services, binary, reach=reach)
    except NotFound:  # gone with the image it lay in
        yield await contents.filled(call.services, json, reach=reach, most=-1) + b"\n"
        return
    async for part in contents.poured(dump(contents.around(binary)), found):
        yield part
    yield b"\n"


async def shown(call: Call, answer: Answer) -> Answer:
    """The answer to a write, its resource with its content."""
    [json] = await filled(call, [answer.json])
    return replace(answer, json=json)


async def _any_reach(call: Call) -> Reach:
    """Of a token that may read, or search: who only writes is not shown what lies there."""
    for verb in (Verb.READ, Verb.SEARCH):
        with suppress(InsufficientScope):
            return await call.services.gate.reach_for_actor(call.actor, Action("Binary", verb))
    return NOTHING
