"""A file that is made while it is sent: whole, or from where a download was cut (RFC 9110, 14)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from starlette.responses import Response, StreamingResponse

from server.core.ranges import byte_range, range_headers

from .pages import HEADERS
from .visit import Visit


class Content(Protocol):
    """What can be sent from anywhere on."""

    @property
    def size(self) -> int: ...
    def stream(self, start: int, stop: int) -> AsyncIterator[bytes]: ...


def zip_answer(visit: Visit, content: Content, *, name: str, etag: str) -> Response:
    """The ZIP, or the stretch of it that is asked for. Raises RangeNotSatisfiable."""
    part = byte_range(visit.request, content.size, etag)
    start, stop = part or (0, content.size)
    headers = {
        **HEADERS,
        **range_headers(part, content.size),
        "Content-Disposition": f'attachment; filename="{name}"',
        "ETag": etag,
        "Content-Length": str(stop - start),
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    status = 200 if part is None else 206
    if visit.request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="application/zip")
    return StreamingResponse(
        content.stream(start, stop), status, headers=headers, media_type="application/zip"
    )
