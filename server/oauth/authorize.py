"""The authorization endpoint, and requests pushed to it.

RFC 6749, 3.1; SMART App Launch 2.2, "Obtain authorization code" (GET and form POST); RFC 9126.
"""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from server.access.services import Services

from . import consent_page, forms, pages, problem
from .authlib_bridge import authenticate
from .authorization_request import KEPT, Asked, keep, read, refused
from .problem import InvalidRequest, OAuthError

_PROOFS = ("client_secret", "client_assertion", "client_assertion_type")


async def authorize(request: Request) -> Response:
    """GET and POST /oauth/authorize"""
    services: Services = request.app.state.services
    if request.method == "POST":
        return await _posted(request, services)
    asked = await read(services, forms.parse(request.url.query))
    signed_in = await services.gate.sign_in.of(request)
    if asked.problem:
        # RFC 9700, 4.11.2: who registers an app and sends people a link must not get a redirector out of it.
        if asked.client.registered_by != "operator" and signed_in is None:
            raise OAuthError("invalid_request", "The app asked in a way that cannot be answered.")
        return refused(services, asked, asked.problem)
    if signed_in is None:
        return _to_sign_in(services, asked)
    if "none" in asked.parameters.get("prompt", "").split():
        return refused(services, asked, OAuthError("consent_required", "The person has to be asked."))
    return await consent_page.show(request, services, asked, signed_in)


async def push(request: Request) -> Response:
    """POST /oauth/par: keep a request for later (RFC 9126, 2)."""
    services: Services = request.app.state.services
    form = await forms.read_form(request)
    client = await authenticate(services, request, form)
    if "request_uri" in form:
        raise InvalidRequest("A pushed request has no request_uri.")
    own = {name: value for name, value in form.items() if name not in _PROOFS} | {"client_id": client.id}
    asked = await read(services, list(own.items()))
    if asked.problem:
        raise asked.problem
    uri = await keep(services, client, own)
    return problem.json({"request_uri": uri, "expires_in": int(KEPT.total_seconds())}, 201)


async def _posted(request: Request, services: Services) -> Response:
    """A form from another site carries no cookie of ours (SameSite), so the request is kept and asked by GET."""
    form = await forms.read_form(request)
    asked = await read(services, list(form.items()))
    if asked.problem:
        if asked.client.registered_by != "operator":  # as above: who is signed in is not known here
            raise asked.problem
        return refused(services, asked, asked.problem)
    uri = form.get("request_uri") or await keep(services, asked.client, asked.parameters)
    return pages.redirect(f"/oauth/authorize?{urlencode({'client_id': asked.client.id, 'request_uri': uri})}")


def _to_sign_in(services: Services, asked: Asked) -> Response:
    if "none" in asked.parameters.get("prompt", "").split():
        return refused(services, asked, OAuthError("login_required", "Nobody is signed in."))
    return pages.to_sign_in(f"/oauth/authorize?{asked.query}")
