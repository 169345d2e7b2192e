"""Errors in DICOMweb's words: a status, and one sentence as application/json.

DICOM PS3.18, 8.5 (status codes) and 8.7.6 (status report); RFC 6750, 3 (WWW-Authenticate).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

import orjson
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from server.core.errors import (
    InsufficientScope,
    NotAuthenticated,
    ServerError,
    TooManyRequests,
    Unavailable,
)

from .cors import allow_others

log = structlog.get_logger(__name__)

Handler = Callable[[Request], Awaitable[Response]]


def answered(handler: Handler) -> Handler:
    """The handler with its errors turned into answers; the one place where that happens."""

    @wraps(handler)
    async def endpoint(request: Request) -> Response:
        try:
            response = await handler(request)
        except ServerError as error:
            response = problem(error, request)
        except ClientDisconnect:
            response = Response(status_code=400)  # nobody is there to read it
        except Exception:
            log.exception("unexpected error", method=request.method)
            response = problem(ServerError(), request)
        allow_others(request, response)
        return _without_body(response) if request.method == "HEAD" else response

    return endpoint


def problem(error: ServerError, request: Request) -> Response:
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
    return response


def _without_body(response: Response) -> Response:
    """The headers alone (RFC 9110, 9.3.2): a stream is not made only to be thrown away."""
    if not isinstance(response, StreamingResponse):
        return response  # the server leaves the body out
    bare = Response(status_code=response.status_code)
    bare.raw_headers = response.raw_headers
    return bare
