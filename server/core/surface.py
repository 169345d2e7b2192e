"""A surface: the routes of one protocol, and the one place where it turns errors into answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import InvalidInput, NotAllowed, NotFound, ServerError

Problem = Callable[[Request, ServerError], Response]

log = structlog.get_logger(__name__)


class Surface:
    """An ASGI application of routes whose errors speak the surface's language.

    What is not a ServerError is ours: it is logged with its trace, and the caller gets the general sentence only.
    """

    def __init__(self, routes: Sequence[BaseRoute], problem: Problem) -> None:
        self.routes = list(routes)  # walked by the test of every route
        self._router: ASGIApp = Router(routes=self.routes, redirect_slashes=False)
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._router(scope, receive, sending)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:
            known = as_server_error(error)
            if known.status >= 500 and known.status not in (503, 507):
                log.error("unexpected error", exc_info=error, surface=scope.get("root_path", ""))
            if started:
                raise  # the answer is cut off, so that nobody takes a part for the whole
            response = self._problem(Request(scope, receive), known)
            await response(scope, receive, send)


def as_server_error(error: Exception) -> ServerError:
    """Any error as one of ours; a stranger becomes the general one, its text kept inside."""
    if isinstance(error, ServerError):
        return error
    if isinstance(error, HTTPException):
        return _from_framework(error)
    return ServerError()


def _from_framework(error: HTTPException) -> ServerError:
    match error.status_code:
        case 404:
            return NotFound()
        case 405:
            return NotAllowed()
        case status if 400 <= status < 500:
            return InvalidInput(error.detail)
    return ServerError()
