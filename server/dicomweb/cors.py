"""Cross-origin requests: any page may ask with a bearer token; cookies are never taken from another origin.

Fetch Standard, 3.2 (CORS protocol); DICOM PS3.18, 8.10.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
_READABLE = "Content-Location, Content-Range, Accept-Ranges, ETag, Last-Modified, Warning, WWW-Authenticate"


def is_preflight(request: Request) -> bool:
    """A browser's question before the real request, as against OPTIONS for capabilities (decision 15)."""
    return "origin" in request.headers and "access-control-request-method" in request.headers


def preflight(request: Request) -> Response:
    """What may be asked from elsewhere; needs no token, for browsers send none."""
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": "Authorization, Accept, Content-Type, If-None-Match, Range, X-CSRF-Token",
        "Access-Control-Max-Age": "86400",
        "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }
    return Response(status_code=204, headers=headers)


def allow_others(request: Request, response: Response) -> None:
    """Let a page of another origin read the answer. `*` keeps browsers from sending cookies along."""
    if "origin" in request.headers:
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Expose-Headers"] = _READABLE
