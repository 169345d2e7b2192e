"""What the headers of a refusal say to a program that came with a bearer token, or without one (RFC 6750, 3)."""

from __future__ import annotations

from starlette.requests import Request

from .errors import InsufficientScope, NotAuthenticated, ServerError

_REALM = 'Bearer realm="lightbox"'


def headers_of(request: Request, error: ServerError) -> dict[str, str]:
    """The error's own headers, and the challenge where a token is missing, dead or not enough."""
    match error:
        case NotAuthenticated():
            dead = ', error="invalid_token"' if "authorization" in request.headers else ""
            return {**error.headers, "WWW-Authenticate": _REALM + dead}
        case InsufficientScope():
            return {**error.headers, "WWW-Authenticate": f'{_REALM}, error="insufficient_scope"'}
    return error.headers
