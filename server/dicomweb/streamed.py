"""Answers that are made while they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from .conditional import CACHING


def streamed(
    request: Request,
    chunks: AsyncIterator[bytes],
    media_type: str,
    *,
    size: int | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """An answer of these chunks, `size` bytes in all where that is known.

    One that fails on the way is cut off, so that nobody takes a part for the whole: the length, or the last chunk
    of the chunked coding, is missing then.
    """
    fields = {"Content-Type": media_type, **CACHING, **(headers or {})}
    if size is not None:
        fields["Content-Length"] = str(size)
    if request.method == "HEAD":  # RFC 9110, 9.3.2: not made only to be thrown away
        answer = Response(status_code=status, headers=fields)
        if size is None:
            del answer.headers["content-length"]  # not known, and not zero
        return answer
    return StreamingResponse(chunks, status, headers=fields)
