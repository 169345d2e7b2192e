"""Asking only for what changed, and for a stretch of it.

RFC 9110, 8.8 and 13.1 (ETag, Last-Modified, If-None-Match, If-Modified-Since). Stored objects never
change, so the tag of what is made of one is the digest of the original and of how it is made.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from starlette.requests import Request
from starlette.responses import Response

from server.core.ranges import byte_range, range_headers

# Health data: kept by the browser of the caller only, and asked for again each time (the share may have ended).
CACHING = {"Cache-Control": "private, no-cache", "Vary": "Accept, Accept-Encoding, Authorization, Cookie"}


def etag(*facts: object) -> str:
    """A strong entity tag of the facts that decide every byte."""
    digest = hashlib.blake2b(repr(facts).encode(), digest_size=16)
    return f'"{digest.hexdigest()}"'


def last_modified(stored: datetime) -> dict[str, str]:
    """Of one instance, which never changes: when it was stored. Of several, a date could not tell what was deleted."""
    return {"Last-Modified": format_datetime(stored.astimezone(UTC), usegmt=True)}


def not_modified(request: Request, tag: str, stored: datetime | None = None) -> Response | None:
    """304 when the caller holds this already; None when it must be sent. `stored`: see `last_modified`."""
    held = request.headers.get("if-none-match")
    if held is not None:
        tags = [each.strip().removeprefix("W/") for each in held.split(",")]
        unchanged = tag in tags or "*" in tags
    else:
        unchanged = stored is not None and _is_since(request.headers.get("if-modified-since"), stored)
    if not unchanged:
        return None
    dated = last_modified(stored) if stored is not None else {}
    return Response(status_code=304, headers={"ETag": tag, **CACHING, **dated})


def _is_since(asked: str | None, stored: datetime) -> bool:
    """Whether the date asked for is that of the store, or later (RFC 9110, 13.1.3); what is no date asks nothing."""
    try:
        moment = parsedate_to_datetime(asked or "")
    except ValueError:
        return False
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return stored.replace(microsecond=0) <= moment


def content_answer(
    request: Request, content: bytes, media_type: str, tag: str, headers: dict[str, str] | None = None
) -> Response:
    """The content, or the stretch of it that is asked for."""
    part = byte_range(request, len(content), tag)
    start, stop = part or (0, len(content))
    fields = {**CACHING, "ETag": tag, "Content-Type": media_type, **range_headers(part, len(content))}
    return Response(content[start:stop], 200 if part is None else 206, headers={**fields, **(headers or {})})
