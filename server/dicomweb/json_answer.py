"""Prepared DICOM JSON on its way out: joined, the root put in, compressed when the caller takes it.

DICOM PS3.18, 8.7.3.4 and F. No row is parsed here: answers were prepared when they were written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from server.core.compression import WORTHWHILE, accepts_gzip, gzipped

from .conditional import CACHING, etag, not_modified

DICOM_JSON = "application/dicom+json"
TAGGED = 256 * 1024  # bytes: to see that a longer list is the same costs as much as sending it


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
    """The answer with this body, or 304 where the caller holds it."""
    fields = {"Content-Type": media_type, **CACHING, **(headers or {})}
    zipped = len(body) > WORTHWHILE and accepts_gzip(request)
    if len(body) <= TAGGED:
        fields["ETag"] = etag(hashlib.blake2b(body, digest_size=16).digest(), media_type, zipped, headers)
        if (answer := not_modified(request, fields["ETag"])) is not None:
            return answer
    if zipped:
        body = await gzipped(body)
        fields["Content-Encoding"] = "gzip"
    return Response(body, status, headers=fields)
