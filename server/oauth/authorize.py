"""The authorization endpoint, and requests pushed to it.

RFC 6749, 3.1; SMART App Launch 2.2, "Obtain authorization code" (GET and form POST); RFC 9126.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from server.access.services import Services
from server.access.sign_in import SignedIn

from . import consent_page, forms, pages, problem, profiles
from .authlib_bridge import authenticate
from .authorization_request import ASKED_AT, KEPT, Asked, keep, read, refused, to_kept
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
    if "none" in asked.prompt:
        return refused(services, asked, await _silent(request, services, asked, signed_in))
    if signed_in is None:
        return pages.to_sign_in(f"/oauth/authorize?{asked.query}")
    if asked.wants_proof(signed_in):
        return await to_proof(services, asked)
    return await consent_page.show(request, services, asked, signed_in)


async def to_proof(services: Services, asked: Asked) -> Response:
    """To the sign-in, though somebody is signed in; the request is kept, so that it is known when it came."""
    path = f"/oauth/authorize?{asked.query}"
    if ASKED_AT not in asked.parameters:
        path = to_kept(asked.client, await keep(services, asked.client, asked.parameters))
    return pages.to_sign_in(path, again=True)


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
    return pages.redirect(to_kept(asked.client, uri))


async def _silent(
    request: Request, services: Services, asked: Asked, signed_in: SignedIn | None
) -> OAuthError:
    """Why a request that may show no page cannot be granted (OpenID Connect Core, 3.1.2.6): a person decides here."""
    if signed_in is None or asked.wants_proof(signed_in):
        return OAuthError("login_required", "Nobody is signed in, or too long ago.")
    choosing = consent_page.needs_patient(asked.scopes) and "launch" not in asked.parameters
    if choosing and len(await profiles.in_reach(request, services, signed_in)) > 1:
        return OAuthError("interaction_required", "The person has to be asked whose record this is about.")
    return OAuthError("consent_required", "The person has to be asked.")
