"""`lightbox openapi`: OpenAPI 3.1 of what is neither FHIR nor DICOMweb, which describe themselves.

Made from the route table, so that nothing is forgotten; the fields of a form are those that our own pages send there,
those of the authorization server are named by their RFCs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import orjson
import typer
from starlette.routing import BaseRoute, Mount, Route

from server import __version__
from server.core.settings import read_settings

ELSEWHERE = ("/fhir", "/dicomweb", "/patients/", "/link/{guest}/dicomweb", "/app-state")
METHODS = ("get", "post", "put", "delete", "patch")
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
_PLACE = re.compile(r"\{(\w+)(?::(\w+))?\}")
_FORM = re.compile(r'<form\b[^>]*\baction="([^"]*)"[^>]*>(.*?)</form>', re.DOTALL)
_NAMES = (
    re.compile(r'\bname="(\w+)"'),
    re.compile(r'\b(?:field|area|choose|check)\(\s*form,\s*"(\w+)"'),
)
_EXPRESSION = re.compile(r"\{\{.*?\}\}")

# RFC 6749, 7009, 7636, 7662, 9126, 7591 and OpenID Connect; SMART App Launch for `launch` and `aud`.
_CLIENT = ("client_id", "client_secret", "client_assertion", "client_assertion_type")
_AUTHORIZE = ("response_type", "client_id", "redirect_uri", "scope", "state", "aud", "launch", "nonce", "prompt",
              "max_age", "code_challenge", "code_challenge_method", "request_uri")  # fmt: skip
OAUTH = {
    "/oauth/authorize": _AUTHORIZE,
    "/oauth/par": (*_CLIENT, *_AUTHORIZE),
    "/oauth/token": (
        *_CLIENT,
        "grant_type",
        "code",
        "redirect_uri",
        "code_verifier",
        "refresh_token",
        "scope",
    ),
    "/oauth/introspect": (*_CLIENT, "token", "token_type_hint"),
    "/oauth/revoke": (*_CLIENT, "token", "token_type_hint"),
}
IN_JSON = (
    "/oauth/register",
    "/oauth/ehr-launch",
    "/upload/held",
    "/upload/states",
    "/passkey/answer",
    "/passkeys",
)

Json = dict[str, Any]


def openapi() -> None:
    """Print the OpenAPI description of everything that is neither FHIR nor DICOMweb."""
    typer.echo(orjson.dumps(document(read_settings().base_url), option=orjson.OPT_INDENT_2).decode())


def document(base_url: str) -> Json:
    """The whole description."""
    paths: dict[str, Json] = {}
    sent = dict(_sent_by_pages())
    for path, route in sorted(_routes(), key=lambda pair: pair[0]):
        plain = _PLACE.sub(r"{\1}", path)
        for method in METHODS:
            if method.upper() in (route.methods or {"GET"}):
                paths.setdefault(plain, {})[method] = _operation(method, path, route, sent)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lightbox",
            "version": __version__,
            "description": "Portal, authorization server and operations. FHIR describes itself at /fhir/metadata,"
            " DICOMweb by OPTIONS on /dicomweb.",
        },
        "servers": [{"url": base_url}],
        "components": {
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "lightbox_session"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "client": {"type": "http", "scheme": "basic"},
            }
        },
        "paths": paths,
    }


def _routes() -> Iterator[tuple[str, Route]]:
    from server.app import routes  # the whole application: only this command needs it

    def walk(found: list[BaseRoute], prefix: str) -> Iterator[tuple[str, Route]]:
        for route in found:
            if isinstance(route, Mount):
                yield from walk(list(getattr(route.app, "routes", [])), prefix + route.path)
            elif isinstance(route, Route):
                yield prefix + route.path, route

    return ((path, route) for path, route in walk(routes(), "") if not path.startswith(ELSEWHERE))


def _operation(method: str, path: str, route: Route, sent: dict[str, list[str]]) -> Json:
    said = (inspect.getdoc(route.endpoint) or "").split("\n\n")[0].replace("\n", " ")
    places = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer", "minimum": 0}
            if kind == "int"
            else {"type": "string", "minLength": 1},
        }
        for name, kind in _PLACE.findall(path)
    ]
    query = OAUTH.get(path, ()) if method == "get" else ()
    places += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in query]
    made: Json = {
        "operationId": f"{method} {path}",
        "parameters": places,
        "responses": {"default": {"description": "A page, JSON, a redirect, or a refusal in words"}},
        "security": _security(path),
    }
    if said and not inspect.isclass(route.endpoint):
        made["summary"] = said
    if method in ("post", "put", "patch"):
        made["requestBody"] = {"content": _body(path, sent)}
    return made


def _security(path: str) -> list[Json]:
    if path in OAUTH and path != "/oauth/authorize":
        return [{"client": []}, {}]
    if path in ("/oauth/userinfo", "/oauth/ehr-launch") or path.startswith("/oauth/register"):
        return [{"bearer": []}, {}]
    return [{"session": []}, {}]


def _body(path: str, sent: dict[str, list[str]]) -> Json:
    if path.startswith("/oauth/register") or path.endswith(IN_JSON):
        return {JSON: {"schema": {"type": "object"}}}
    names = [*OAUTH.get(path, sent.get(_PLACE.sub("{}", path), ())), *(() if path in OAUTH else ("csrf",))]
    properties = {name: {"type": "string"} for name in dict.fromkeys(names)}
    return {FORM: {"schema": {"type": "object", "properties": properties, "additionalProperties": True}}}


def _sent_by_pages() -> Iterator[tuple[str, list[str]]]:
    """Where each form of a page goes, with {} for what differs, and the names of its fields."""
    found: dict[str, list[str]] = {}
    for package in ("portal", "oauth"):
        for page in (resources.files("server") / package / "templates").iterdir():
            if page.name.endswith(".html"):
                for action, inside in _FORM.findall(page.read_text(encoding="utf-8")):
                    names = found.setdefault(_EXPRESSION.sub("{}", action).partition("?")[0], [])
                    names += [name for pattern in _NAMES for name in pattern.findall(inside)]
    yield from found.items()
