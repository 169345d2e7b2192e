"""Prepared DICOM JSON on its way out: joined, the root put in, compressed when the caller takes it.

DICOM PS3.18, 8.7.3.4 and F. No row is parsed here: answers were prepared when they were written.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from server.core.compression import WORTHWHILE, gzipped, takes_gzip

from .conditional import CACHING

DICOM_JSON = "application/dicom+json"


def joined(rows: Iterable[bytes]) -> bytes:
    """Prepared objects as one array."""
    return b"[" + b",".join(rows) + b"]"


async def json_answer(
    request: Request,
    body: bytes,
    *,
    media_type: str = DICOM_JSON,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """The answer with this body."""
    fields = {"Content-Type": media_type, **CACHING, **(headers or {})}
    if len(body) > WORTHWHILE and takes_gzip(request):
        body = await gzipped(body)
        fields["Content-Encoding"] = "gzip"
    return Response(body, status, headers=fields)
