"""Asking only for what changed, and for a stretch of it.

RFC 9110, 8.8.3 and 13.1.2 (ETag, If-None-Match), 14 (Range). Stored objects never change, so the tag of what is
made of one is the digest of the original and of how it is made.
"""

from __future__ import annotations

import hashlib
import re

from starlette.requests import Request
from starlette.responses import Response

from server.core.errors import RangeNotSatisfiable

# Health data: kept by the browser of the caller only, and asked for again each time (the share may have ended).
CACHING = {"Cache-Control": "private, no-cache", "Vary": "Accept, Accept-Encoding, Authorization, Cookie"}


def etag(*facts: object) -> str:
    """A strong entity tag of the facts that decide every byte."""
    digest = hashlib.blake2b(repr(facts).encode(), digest_size=16)
    return f'"{digest.hexdigest()}"'


def not_modified(request: Request, tag: str) -> Response | None:
    """304 when the caller holds this already; None when it must be sent."""
    held = request.headers.get("if-none-match")
    if held is None:
        return None
    tags = [each.strip().removeprefix("W/") for each in held.split(",")]
    if tag not in tags and "*" not in tags:
        return None
    return Response(status_code=304, headers={"ETag": tag, **CACHING})


def byte_range(request: Request, size: int, tag: str) -> tuple[int, int] | None:
    """The stretch asked for as (start, stop); None for all of it.

    Several ranges, other units, and an If-Range that does not hold give all of it, as RFC 9110, 14.2 allows.
    Raises RangeNotSatisfiable for one that lies outside.
    """
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", request.headers.get("range", "").replace(" ", ""))
    if found is None or not (found[1] or found[2]) or request.headers.get("if-range", tag) != tag:
        return None
    if not found[1]:
        start, stop = max(size - int(found[2]), 0), size if int(found[2]) else 0
    else:
        start, stop = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
    if start >= size or start >= stop:
        raise RangeNotSatisfiable(f"The range lies outside of the content, which has {size} bytes.")
    return start, stop


def range_headers(part: tuple[int, int] | None, size: int) -> dict[str, str]:
    """The headers of an answer that may be a stretch (206) of `size` bytes."""
    headers = {"Accept-Ranges": "bytes"}
    if part is not None:
        headers["Content-Range"] = f"bytes {part[0]}-{part[1] - 1}/{size}"
    return headers
