"""A stretch of some content.

RFC 9110, 14 (Range requests). Several ranges, other units, and an If-Range that does not hold give all of it, as
14.2 allows.
"""

from __future__ import annotations

import re

from starlette.requests import Request

from .errors import RangeNotSatisfiable

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def byte_range(request: Request, size: int, tag: str) -> tuple[int, int] | None:
    """The stretch asked for as (start, stop); None for all of it. Raises RangeNotSatisfiable."""
    found = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if found is None or not (found[1] or found[2]) or request.headers.get("if-range", tag) != tag:
        return None
    if not found[1]:
        start, stop = max(size - int(found[2]), 0), size if int(found[2]) else 0
    else:
        start, stop = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
    if start >= size or start >= stop:
        raise RangeNotSatisfiable(size)
    return start, stop


def range_headers(part: tuple[int, int] | None, size: int) -> dict[str, str]:
    """The headers of an answer that may be a stretch (206) of `size` bytes."""
    headers = {"Accept-Ranges": "bytes"}
    if part is not None:
        headers["Content-Range"] = f"bytes {part[0]}-{part[1] - 1}/{size}"
    return headers
