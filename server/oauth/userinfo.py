"""Who signed in, asked with the access token (OpenID Connect Core, 5.3)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from server.access.services import Services
from server.core.errors import InsufficientScope, NotAuthenticated

from . import problem


async def userinfo(request: Request) -> Response:
    """GET and POST /oauth/userinfo: what the id_token says, and the name for who asked for a profile."""
    services: Services = request.app.state.services
    actor = await services.gate.actor(request)
    if actor.scopes is None or actor.account_id is None:
        raise NotAuthenticated()
    await services.gate.confirm(request)
    if not actor.scopes.has("openid"):
        raise InsufficientScope("The access token has no scope for openid.")
    claims: dict[str, Any] = {"sub": str(actor.account_id)}
    user = f"{services.settings.fhir_base}/{actor.fhir_user}" if actor.fhir_user else None
    if user and (actor.scopes.has("fhirUser") or actor.scopes.has("profile")):
        claims |= {"fhirUser": user, "profile": user}
    if actor.scopes.has("profile"):
        claims["name"] = actor.name
    return problem.json(claims)
