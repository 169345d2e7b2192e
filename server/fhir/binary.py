"""Binary: content in its own format, or wrapped in a FHIR resource.

FHIR R4, Binary ("Serving Binary Resources using the RESTful API"). Served as an attachment that nothing in it can
run: an uploaded page must not become a page of this server.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from starlette.requests import Request
from starlette.responses import Response

from server.core.media import parse_accept, parse_media_type, quality
from server.records.document import Json, load
from server.records.store import Stored

from .format import VARY

_FHIR = ("application/fhir+json", "application/json", "text/json", "application/fhir+xml")


def as_content(request: Request, stored: Stored) -> Response | None:
    """The content itself, when the request asks for its type and not for FHIR; None for the resource."""
    accept = request.headers.get("accept")
    if accept is None or "_format" in request.query_params:
        return None
    ranges = parse_accept(accept)
    if any(each.name in _FHIR for each in ranges):
        return None
    resource = load(stored.json)
    content_type = parse_media_type(resource.get("contentType", ""))
    if content_type is None or quality(ranges, content_type) <= 0:
        return None
    headers = {
        "ETag": stored.etag,
        "Content-Disposition": "attachment",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
        "Vary": VARY,
    }
    return Response(b64decode(resource.get("data", "")), 200, headers, media_type=content_type.name)


def from_content(body: bytes, content_type: str, security_context: str | None) -> Json:
    """The Binary that raw content posted to [base]/Binary becomes (X-Security-Context says whose it is)."""
    resource: Json = {"resourceType": "Binary", "contentType": content_type}
    if security_context:
        resource["securityContext"] = {"reference": security_context}
    return {**resource, "data": b64encode(body).decode()}
