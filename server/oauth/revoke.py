"""Revocation (RFC 7009): the grant behind a token ends, and with it every token made of it, at the next request."""

from __future__ import annotations

from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from server.access.services import Services
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock, ids
from server.core.errors import NotAuthenticated

from . import forms
from .authlib_bridge import authenticate
from .clients import QUERIES, Client
from .problem import NO_STORE, InvalidRequest


async def revoke(request: Request) -> Response:
    """POST /oauth/revoke; 200 for tokens unknown or of another client too (RFC 7009, 2.2)."""
    services: Services = request.app.state.services
    form = await forms.read_form(request)
    client = await authenticate(services, request, form)
    if "token" not in form:
        raise InvalidRequest("A token is needed.")
    grant_id = await _grant_behind(services, form["token"], client)
    if grant_id is not None:
        await end(services, grant_id, client)
    return Response(status_code=200, headers=NO_STORE)


async def end(services: Services, grant_id: UUID, client: Client) -> None:
    """End the grant, because its client said so."""
    async with services.db.transaction():
        values = {"grant": grant_id, "now": clock.now(), "why": "the app revoked it"}
        ended = await services.db.fetch_one(QUERIES["end_grant"], values)
        if ended is not None:
            await services.audit.record(
                Event.APP_REVOKED,
                who=Who(name=client.name, role="client", client_id=client.id, client_name=client.name),
                patient_id=ended["patient_id"],
            )


async def _grant_behind(services: Services, text: str, client: Client) -> UUID | None:
    row = await services.db.fetch_one(QUERIES["refresh_token"], {"token_hash": ids.digest(text)})
    if row is not None:
        return row["grant_id"] if row["client_id"] == client.id else None
    try:
        token = await services.tokens.read(text)
    except NotAuthenticated:
        return None
    return token.bearer.grant_id if token.bearer.client_id == client.id else None
