"""What every answer passes through: security headers, CORS, the access log and metrics. Plain ASGI, no copies."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import cache

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger("access")

REQUESTS = Counter("lightbox_requests_total", "Answers given", ["surface", "method", "status"])
SECONDS = Histogram(
    "lightbox_request_seconds",
    "Time to the first byte of an answer",
    ["surface"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
SURFACES = ("dicomweb", "patients", "fhir", "oauth", "viewer", "health", "metrics", ".well-known")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

EXPOSED = (
    "ETag, Location, Content-Location, Content-Range, Accept-Ranges, Content-Disposition, Retry-After,"
    " WWW-Authenticate, Link, Warning"
)
ALLOWED_HEADERS = (
    "Authorization, Content-Type, Accept, Accept-Charset, If-Match, If-None-Match, If-None-Exist,"
    " If-Modified-Since, If-Range, Prefer, Range, X-Requested-With"
)

MayRead = Callable[[str, str], Awaitable[bool]]


class Observed:
    """Counts and logs each answer: surface, method, status, time. No path and no query: they name people."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        surface, method = surface_of(scope["path"]), scope["method"]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = time.perf_counter() - began
                _seconds(surface).observe(seconds)
                _requests(surface, method if method in METHODS else "other", message["status"]).inc()
                log.debug(
                    "answered", surface=surface, method=method, status=message["status"], seconds=seconds
                )
            await send(message)

        await self.app(scope, receive, sending)


@cache
def _seconds(surface: str) -> Histogram:
    """The child of a label, which looks it up under a lock each time."""
    return SECONDS.labels(surface)


@cache
def _requests(surface: str, method: str, status: int) -> Counter:
    return REQUESTS.labels(surface, method, status)


class Headed:
    """Headers every answer carries: nosniff, no referrer, HSTS on https; a surface's own stand."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        self._headers = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
        if https:
            self._headers.append((b"strict-transport-security", b"max-age=31536000; includeSubDomains"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                missing = [each for each in self._headers if each[0] not in given]
                message["headers"] = [*message["headers"], *missing]
            await send(message)

        await self.app(scope, receive, sending if scope["type"] == "http" else send)


class Cors:
    """Cross-origin reads (https://fetch.spec.whatwg.org/#http-cors-protocol), without credentials, ever.

    `may_read(origin, path)` decides. A preflight is answered here and needs no token; a plain OPTIONS goes on.
    """

    def __init__(self, app: ASGIApp, *, may_read: MayRead) -> None:
        self.app = app
        self._may_read = may_read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        if origin is None:
            await self.app(scope, receive, send)
            return
        allowed = await self._may_read(origin, scope["path"])
        if scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope):
            await _preflight(send, origin if allowed else None)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                if allowed:
                    headers["access-control-allow-origin"] = origin
                    headers["access-control-expose-headers"] = EXPOSED
            await send(message)

        await self.app(scope, receive, sending)


async def _preflight(send: Send, origin: str | None) -> None:
    headers = MutableHeaders({"vary": "Origin", "content-length": "0"})
    if origin:
        headers["access-control-allow-origin"] = origin
        headers["access-control-allow-methods"] = ", ".join(METHODS)
        headers["access-control-allow-headers"] = ALLOWED_HEADERS
        headers["access-control-max-age"] = "600"
    await send({"type": "http.response.start", "status": 204, "headers": headers.raw})
    await send({"type": "http.response.body", "body": b""})


def surface_of(path: str) -> str:
    """The first part of a path when it is one of ours; a bounded set, fit for a metric's label."""
    first = path.split("/", 2)[1] if path.count("/") else ""
    return first if first in SURFACES else "portal"
