"""What this service can do, for programs; and the answer for what is not in the table of routes.

DICOM PS3.18, 8.9 (Retrieve Capabilities) and H (WADL); both the WADL and the JSON form are made from the routes
themselves, so they cannot say what is not so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from xml.sax.saxutils import quoteattr

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from server.core.errors import NotAllowed, NotFound, ServerError
from server.core.media import best

from .urls import accept_of, patient_of, root_of

WADL, JSON = "application/vnd.sun.wadl+xml", "application/json"


class Offered(Protocol):
    """What a resource takes and gives (offers.py)."""

    @property
    def query(self) -> tuple[str, ...]: ...
    @property
    def takes(self) -> tuple[str, ...]: ...
    @property
    def gives(self) -> tuple[str, ...]: ...


class _NotHere(NotAllowed):
    """The path exists, the method does not."""

    def __init__(self, allowed: str) -> None:
        super().__init__(f"This method is not possible here; these are: {allowed}.")
        self._allowed = allowed

    @property
    def headers(self) -> dict[str, str]:
        return {"Allow": self._allowed}  # RFC 9110, 15.5.6


class Elsewhere:
    """Answers OPTIONS, and requests that no route takes."""

    def __init__(self, routes: Sequence[Route], offer_of: Callable[[Any], Offered]) -> None:
        self._routes = routes
        self._offer_of = offer_of

    async def answer(self, request: Request) -> Response:
        """Capabilities (needs no token, as it names nobody), or why there is nothing else here."""
        if request.method != "OPTIONS":
            raise self._refusal(request)
        allowed = self._methods(request)
        if not allowed and request.path_params.get("path"):
            raise NotFound()
        described = [route for route in self._routes if not allowed or _matches(route, request)]
        resources = [_described(route, self._offer_of(route.endpoint)) for route in described]
        return _capabilities(request, resources, allowed or ["OPTIONS"])

    def _refusal(self, request: Request) -> ServerError:
        if allowed := self._methods(request):
            return _NotHere(", ".join(allowed))
        return NotFound()

    def _methods(self, request: Request) -> list[str]:
        """The methods that the path of this request has, the same path under any method."""
        found = {
            method for route in self._routes if _matches(route, request) for method in route.methods or ()
        }
        return [*sorted(found), "OPTIONS"] if found else []


def _matches(route: Route, request: Request) -> bool:
    path = "/" + str(request.path_params.get("path", ""))
    scope = {"type": "http", "method": "OPTIONS", "path": path, "root_path": ""}
    return route.matches(scope)[0] is not Match.NONE


def _capabilities(request: Request, described: list[dict[str, Any]], allowed: list[str]) -> Response:
    kind = best(accept_of(request), (WADL, JSON, "application/xml", "text/xml"))
    base = root_of(request).base(patient_of(request))
    body = orjson.dumps({"base": base, "resources": described}) if kind == JSON else _wadl(base, described)
    return Response(body, headers={"Content-Type": kind, "Allow": ", ".join(allowed)})


def _described(route: Route, offer: Offered) -> dict[str, Any]:
    methods = sorted((route.methods or set()) - {"HEAD"})
    summary = (route.endpoint.__doc__ or "").strip().partition("\n")[0]
    return {
        "path": route.path,
        "methods": methods,
        "id": route.name,
        "summary": summary,
        "query": list(offer.query),
        "takes": list(offer.takes),
        "gives": list(offer.gives),
    }


def _wadl(base: str, resources: list[dict[str, Any]]) -> bytes:
    body = "".join(
        f"<resource path={quoteattr(each['path'].lstrip('/'))}>"
        + "".join(_parameter(step) for step in each["path"].split("/") if step.startswith("{"))
        + "".join(_method(name, each) for name in each["methods"])
        + "</resource>"
        for each in resources
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<application xmlns="http://wadl.dev.java.net/2009/02">'
        f"<resources base={quoteattr(base)}>{body}</resources></application>"
    ).encode()


def _method(name: str, each: dict[str, Any]) -> str:
    query = "".join(f'<param name={quoteattr(one)} style="query"/>' for one in ("accept", *each["query"]))
    taken, given = (
        "".join(f"<representation mediaType={quoteattr(one)}/>" for one in each[way])
        for way in ("takes", "gives")
    )
    return (
        f"<method name={quoteattr(name)} id={quoteattr(each['id'] + name)}>"
        f"<request>{query}{taken}</request><response>{given}</response></method>"
    )


def _parameter(step: str) -> str:
    name = step.strip("{}").partition(":")[0]
    return f'<param name={quoteattr(name)} style="template" required="true"/>'
