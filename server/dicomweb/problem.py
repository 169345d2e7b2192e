"""Errors in DICOMweb's words: a status, and one sentence as application/json.

DICOM PS3.18, 8.5 (status codes) and 8.7.6 (status report); RFC 6750, 3 (WWW-Authenticate).
"""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response

from server.core.errors import (
    InsufficientScope,
    NotAuthenticated,
    ServerError,
    TooManyRequests,
    Unavailable,
)


def problem(request: Request, error: ServerError) -> Response:
    """The answer that says what went wrong."""
    response = Response(orjson.dumps({"error": str(error)}), error.status, media_type="application/json")
    match error:
        case NotAuthenticated():
            dead = ', error="invalid_token"' if "authorization" in request.headers else ""
            response.headers["WWW-Authenticate"] = f'Bearer realm="lightbox"{dead}'
        case InsufficientScope():
            response.headers["WWW-Authenticate"] = 'Bearer realm="lightbox", error="insufficient_scope"'
        case TooManyRequests() | Unavailable():
            response.headers["Retry-After"] = str(error.retry_after)
    if allowed := getattr(error, "allowed", None):
        response.headers["Allow"] = allowed  # RFC 9110, 15.5.6
    if (size := getattr(error, "size", None)) is not None:
        response.headers["Content-Range"] = f"bytes */{size}"  # RFC 9110, 15.5.17
    return response
