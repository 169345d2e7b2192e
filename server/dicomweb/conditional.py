"""Asking only for what changed, and for a stretch of it.

RFC 9110, 8.8 and 13.1 (ETag, Last-Modified, If-None-Match, If-Modified-Since), 14 (Range). Stored objects never
change, so the tag of what is made of one is the digest of the original and of how it is made.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from starlette.requests import Request
from starlette.responses import Response

from server.core.errors import RangeNotSatisfiable

# Health data: kept by the browser of the caller only, and asked for again each time (the share may have ended).
CACHING = {"Cache-Control": "private, no-cache", "Vary": "Accept, Accept-Encoding, Authorization, Cookie"}


class Beyond(RangeNotSatisfiable):
    """The range lies outside; the answer says how long the content is (RFC 9110, 15.5.17)."""

    def __init__(self, size: int) -> None:
        super().__init__(f"The range lies outside of the content, which has {size} bytes.")
        self.size = size


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


def byte_range(request: Request, size: int, tag: str) -> tuple[int, int] | None:
    """The stretch asked for as (start, stop); None for all of it.

    Several ranges, other units, and an If-Range that does not hold give all of it, as RFC 9110, 14.2 allows.
    Raises Beyond for one that lies outside.
    """
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", request.headers.get("range", "").replace(" ", ""))
    if found is None or not (found[1] or found[2]) or request.headers.get("if-range", tag) != tag:
        return None
    if not found[1]:
        start, stop = max(size - int(found[2]), 0), size if int(found[2]) else 0
    else:
        start, stop = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
    if start >= size or start >= stop:
        raise Beyond(size)
    return start, stop


def range_headers(part: tuple[int, int] | None, size: int) -> dict[str, str]:
    """The headers of an answer that may be a stretch (206) of `size` bytes."""
    headers = {"Accept-Ranges": "bytes"}
    if part is not None:
        headers["Content-Range"] = f"bytes {part[0]}-{part[1] - 1}/{size}"
    return headers
