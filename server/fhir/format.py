"""Requests in, responses out: media types, `_format`, `_pretty`, `_summary` of a single resource, sizes.

FHIR R4, 3.1.0.1.8 to 11 (content types, `_format`), 2.1.0 (formats). Resources are kept as JSON; XML is made of it
where it is asked for, and turned into it where it comes in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from server.core.compression import WORTHWHILE, gzipped, takes_gzip
from server.core.errors import InvalidInput, NotAcceptable, TooLarge, UnsupportedMediaType
from server.core.media import MediaType, parse_accept, parse_media_type, quality
from server.records.document import Json, dump, load_exact, parse
from server.records.store import Stored

from . import fhir_xml

FHIR_JSON = "application/fhir+json"
FHIR_XML = "application/fhir+xml"
_JSON = (FHIR_JSON, "application/json", "text/json")
_XML = (FHIR_XML, "application/xml", "text/xml")
_OFFERS = (*_JSON, *_XML)
# `_format` has short names too, and a plus that form decoding made a space.
_FORMATS = {
    **{name: name for name in _OFFERS},
    "json": FHIR_JSON,
    "application/fhir json": FHIR_JSON,
    "xml": FHIR_XML,
    "application/fhir xml": FHIR_XML,
}
R4 = "4.0"
_NEITHER = "This server answers in JSON (application/fhir+json) and XML (application/fhir+xml)."
VARY = "Accept, Accept-Encoding, Authorization, Cookie"
LARGE = 64 * 1024  # bytes
REMEMBERED = 500  # characters of an Accept header whose meaning is kept
MOST_IN_BUNDLE = 8  # a batch may be this many times as large as one resource


T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What an interaction answers, before it is put into HTTP or into a Bundle."""

    status: int = 200
    json: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    last_modified: datetime | None = None  # to the millisecond: the header of HTTP has whole seconds


def resource_answer(stored: Stored, status: int = 200, *, json: bytes | None = None) -> Answer:
    """A resource with its ETag and Last-Modified (FHIR R4, 3.1.0.1.3)."""
    headers = {
        "ETag": stored.etag,
        "Last-Modified": format_datetime(stored.last_updated, usegmt=True),
    }
    return Answer(status, stored.json if json is None else json, headers, stored.last_updated)


def json_answer(resource: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A resource made on the spot."""
    return Answer(status, dump(resource), headers or {})


async def respond(request: Request, answer: Answer) -> Response:
    """The answer over HTTP, in the form that the request asks for. Health data: nobody on the way may keep it."""
    media_type = acceptable(request)
    headers = {
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Authorization, Cookie",
        **answer.headers,
    }
    if not answer.json:
        return Response(b"", answer.status, headers)
    body = answer.json
    if media_type in _XML:
        body = await aside(body, _as_xml)
    elif _asked(request, "_pretty") == "true":
        body = dump(load_exact(body), pretty=True)
    if len(body) > WORTHWHILE and takes_gzip(request):
        body = await gzipped(body)
        headers["Content-Encoding"] = "gzip"
    return Response(body, answer.status, headers, media_type=f"{media_type}; charset=utf-8")


def _as_xml(body: bytes) -> bytes:
    return fhir_xml.dump(load_exact(body))


async def aside(body: bytes, work: Callable[[bytes], T]) -> T:
    """What `work` makes of the body; a large one in a thread, for it would hold up other requests."""
    return await asyncio.to_thread(work, body) if len(body) > LARGE else work(body)


def acceptable(request: Request) -> str:
    """The media type of the answer; raises NotAcceptable. `_format` comes before Accept (R4, 3.1.0.1.11)."""
    wanted = _asked(request, "_format")
    if wanted:
        name = _FORMATS.get(wanted.partition(";")[0].strip().lower())
        if name is None or not _is_r4(parse_media_type(wanted)):
            raise NotAcceptable(_NEITHER)
        return name
    accept = request.headers.get("accept")
    short = accept is None or len(accept) <= REMEMBERED
    return _by_accept(accept) if short else _by_accept.__wrapped__(accept)


def _asked(request: Request, name: str) -> str | None:
    """A parameter of the address, which is taken apart where the name may stand in it only."""
    query: bytes = request.scope["query_string"]
    if name.encode() not in query and b"%" not in query:
        return None
    return request.query_params.get(name)


@lru_cache(maxsize=512)
def _by_accept(accept: str | None) -> str:
    if accept is None:
        return FHIR_JSON
    ranges = tuple(filter(_is_r4, parse_accept(accept)))
    if any(each.name == "text/html" for each in ranges):
        # A browser, which asks for application/xml beside pages, is shown JSON.
        return FHIR_JSON
    offers = [(quality(ranges, offer), name) for name in _OFFERS if (offer := parse_media_type(name))]
    best = max(offers, key=lambda each: each[0])
    if best[0] > 0:
        return best[1]
    raise NotAcceptable(_NEITHER)


def _is_r4(asked: MediaType | None) -> bool:
    """Whether no other version of FHIR is meant (R4, 3.1.0.1.10: fhirVersion)."""
    return asked is None or asked.parameters.get("fhirversion", R4) == R4


async def body_of(request: Request, *, limit: int) -> bytes:
    """The whole body; raises TooLarge beyond `limit` bytes, whatever Content-Length says."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"The body is larger than {limit} bytes.")
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"The body is larger than {limit} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


async def resource_of(request: Request, *, limit: int) -> Json:
    """The resource in the body. Raises UnsupportedMediaType, InvalidInput, TooLarge."""
    reads = reader_of(request.headers.get("content-type", ""))
    return await aside(await body_of(request, limit=limit), reads)


def reader_of(content_type: str) -> Callable[[bytes], Json]:
    """What reads a body of this type. Raises UnsupportedMediaType unless it is JSON or XML."""
    read = parse_media_type(content_type)
    if not _is_r4(read):
        raise UnsupportedMediaType("This server keeps FHIR R4 (fhirVersion=4.0).")
    if read is not None and read.name in _XML:
        return fhir_xml.parse
    require_json(content_type)
    return resource_in


def resource_in(body: bytes) -> Json:
    """The resource that these bytes are in JSON; raises InvalidInput."""
    resource = parse(body)
    if not isinstance(resource.get("resourceType"), str):
        raise InvalidInput("The body is not a FHIR resource: resourceType is missing.")
    return resource


def require_json(content_type: str) -> None:
    """Raise UnsupportedMediaType unless the body says it is JSON, in UTF-8."""
    read = parse_media_type(content_type)
    if read is None or read.name not in _JSON:
        raise UnsupportedMediaType("The body must be application/fhir+json or application/fhir+xml.")
    if read.parameters.get("charset", "utf-8").lower().replace("_", "-") not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("The body must be in UTF-8.")


def etag_version(header: str | None) -> int | None:
    """The version an If-Match names: `W/"3"`, `"3"`. Raises InvalidInput for what is no entity tag (R4: 400)."""
    if header is None:
        return None
    tag = header.strip().removeprefix("W/")
    if len(tag) < 3 or tag[0] != '"' or tag[-1] != '"':
        raise InvalidInput('If-Match must be one entity tag, as in W/"1".')
    return version_number(tag[1:-1])


def version_number(text: str) -> int:
    """A version id as a number; one that this server never gave is -1 and fits nothing."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def names_tag(if_none_match: str | None, tag: str) -> bool:
    """Whether the header names this tag, or any (RFC 9110, 13.1.2: compared as weak ones)."""
    tags = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return "*" in tags or tag.removeprefix("W/") in tags


def not_modified(stored: Stored, if_none_match: str | None, if_modified_since: str | None) -> bool:
    """Whether the caller has this version already (FHIR R4, 3.1.0.1.4; RFC 9110, 13.1)."""
    if if_none_match is not None:
        return names_tag(if_none_match, stored.etag)
    if if_modified_since is None:
        return False
    try:
        since = parsedate_to_datetime(if_modified_since)
        return stored.last_updated.replace(microsecond=0) <= since
    except (ValueError, TypeError):
        return False
