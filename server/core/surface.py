"""A surface: the routes of one protocol, and the one place where it turns errors into answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
from starlette.convertors import PathConvertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import InvalidInput, NotAllowed, NotFound, ServerError
from .web import METHODS

Problem = Callable[[Request, ServerError], Response]

log = structlog.get_logger(__name__)

_DEEPEST = 40  # slashes; no route has so many, so that strange addresses do not fill the memory


class Surface:
    """An ASGI application of routes whose errors speak the surface's language.

    What is not a ServerError is ours: it is logged with its trace, and the caller gets the general sentence only.
    """

    def __init__(self, routes: Sequence[BaseRoute], problem: Problem) -> None:
        self.routes = list(routes)  # walked by the test of every route
        self._routers: dict[tuple[str, int], ASGIApp] = {}
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._router(scope)(scope, receive, sending)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:
            known = as_server_error(error)
            if known.status >= 500 and known.status not in (503, 507):
                log.error("unexpected error", exc_info=error, surface=scope.get("root_path", ""))
            if started:
                raise  # the answer is cut off, so that nobody takes a part for the whole
            response = self._problem(Request(scope, receive), known)
            if known.status == 405 and (methods := self._methods(scope)):
                response.headers.setdefault("Allow", ", ".join(methods))  # RFC 9110, 15.5.6
            await response(scope, receive, send)

    def _router(self, scope: Scope) -> ASGIApp:
        """The router of the routes as deep as the address: one that tries them all costs more than the answer.

        Those of the request's method come first. The others stay, for an address that is there answers 405.
        """
        path, method = scope["path"], scope.get("method", "")
        depth = min(path.removeprefix(scope.get("root_path", "")).count("/"), _DEEPEST)
        known = self._routers.get((method, depth))
        if known is None:
            fitting = [route for route in self.routes if _may_match(route, depth)]
            fitting.sort(key=lambda route: not _may_answer(route, method))
            known = Router(routes=fitting, redirect_slashes=False)
            if method in METHODS:  # others are endless
                self._routers[method, depth] = known
        return known

    def _methods(self, scope: Scope) -> list[str]:
        """What else this address answers to."""
        here = (each for each in self.routes if each.matches(scope)[0] is not Match.NONE)
        found = {method for each in here if isinstance(each, Route) for method in each.methods or ()}
        return sorted(found - {scope["method"]})


def _may_match(route: BaseRoute, depth: int) -> bool:
    """Whether an address with so many slashes may be this route's: only a `path` takes slashes in."""
    if not isinstance(route, Route) or any(
        isinstance(each, PathConvertor) for each in route.param_convertors.values()
    ):
        return True
    return route.path.count("/") == depth


def _may_answer(route: BaseRoute, method: str) -> bool:
    return not isinstance(route, Route) or route.methods is None or method in route.methods


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
