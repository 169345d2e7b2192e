"""The token endpoint: Authlib reads the request and holds the protocol, `issue` makes the tokens.

RFC 6749, 4.1.3, 4.4.2 and 6; RFC 7636; SMART App Launch 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc7636 import CodeChallenge
from starlette.requests import Request
from starlette.responses import Response

from server.access.services import Services
from server.audit.events import Event, Outcome
from server.audit.who import Who
from server.core import clock, ids

from . import codes, forms, issue, problem
from .authlib_bridge import METHODS, Bridge, FormRequest, token_response
from .clients import QUERIES, Client
from .codes import Code
from .issue import Grant
from .problem import InvalidGrant, InvalidRequest


async def exchange(request: Request) -> Response:
    """POST /oauth/token"""
    form = await forms.read_form(request)
    if "grant_type" not in form:
        raise InvalidRequest("A grant_type is needed.")
    services: Services = request.app.state.services
    if "refresh_token" in form and "client_id" not in form and "authorization" not in request.headers:
        form |= await _client_of(services, form["refresh_token"])
    server = Bridge(services)
    server.register_grant(AuthorizationCode, [S256(required=True)])
    server.register_grant(RefreshToken)
    server.register_grant(ClientCredentials)
    return problem.json(await token_response(server, FormRequest(request, form)))


async def _client_of(services: Services, token: str) -> dict[str, str]:
    """Public apps may leave client_id out of a refresh (RFC 6749, 6 asks for none; SMART's JavaScript client does).

    It proves nothing: a confidential client must authenticate all the same.
    """
    row = await services.db.fetch_one(QUERIES["refresh_token"], {"token_hash": ids.digest(token)})
    return {"client_id": row["client_id"]} if row is not None else {}


class S256(CodeChallenge):  # type: ignore[misc]
    """PKCE for every client and S256 only; Authlib lets confidential clients go without, and takes plain."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_verifier(self, grant: AuthorizationCode, result: Any) -> None:
        if not grant.request.form.get("code_verifier"):
            raise InvalidRequest("A code_verifier is needed.")
        super().validate_code_verifier(grant, result)


class AuthorizationCode(grants.AuthorizationCodeGrant):  # type: ignore[misc]
    """A code for tokens."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        """Spends it too: whatever is wrong with the rest of the request, a code is presented once."""
        spent: Code | None = self.server.run(codes.spend, self.server.services, code, client.id)
        return spent

    def create_token_response(self) -> tuple[int, Mapping[str, Any], list[Any]]:
        code = self.request.authorization_code
        return 200, self.server.run(issue.for_code, self.server.services, self.request.client, code), []


class RefreshToken(grants.RefreshTokenGrant):  # type: ignore[misc]
    """A refresh token for new tokens; rotated each time, with the grant as its family."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def authenticate_refresh_token(self, refresh_token: str) -> Grant | None:
        client_id = self.request.client.id
        found: Grant | None = self.server.run(
            find_refreshable, self.server.services, refresh_token, client_id
        )
        return found

    def _validate_token_scope(self, token: Grant) -> None:
        """Before the token is spent: an app that asks for too much may ask again. Authlib compares as sets."""
        issue.narrowed(self.request.payload.scope, token.get_scope())

    def create_token_response(self) -> tuple[int, Mapping[str, Any], list[Any]]:
        request, services = self.request, self.server.services
        token, scope = request.form["refresh_token"], request.payload.scope
        return 200, self.server.run(refreshed, services, request.client, token, scope), []


class ClientCredentials(grants.ClientCredentialsGrant):  # type: ignore[misc]
    """A system that acts for itself (SMART Backend Services); proves itself with a key, never with a secret."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("private_key_jwt",)

    def create_token_response(self) -> tuple[int, Mapping[str, Any], list[Any]]:
        client, scope = self.request.client, self.request.payload.scope
        return 200, self.server.run(issue.for_client, self.server.services, client, scope), []


async def find_refreshable(services: Services, token: str, client_id: str) -> Grant | None:
    """The grant behind a refresh token of this client; one that was spent before ends it (RFC 9700, 4.14.2)."""
    row = await services.db.fetch_one(QUERIES["refresh_token"], {"token_hash": ids.digest(token)})
    if row is None or row["client_id"] != client_id:
        return None
    if row["used_at"] is not None:
        await _reused(services, row["grant_id"])
        return None
    return issue.grant_of(row) if row["expires_at"] > clock.now() else None


async def refreshed(services: Services, client: Client, token: str, scope: str | None) -> Mapping[str, Any]:
    """New tokens; when another request spent the same token in this very moment, that is a second use too."""
    try:
        return await issue.for_refresh(services, client, token, scope)
    except InvalidGrant:
        await find_refreshable(services, token, client.id)
        raise


async def _reused(services: Services, grant_id: Any) -> None:
    async with services.db.transaction():
        ended = await services.db.fetch_one(
            QUERIES["end_grant"],
            {"grant": grant_id, "now": clock.now(), "why": "a refresh token was used twice"},
        )
        if ended is not None:
            await services.audit.record(
                Event.TOKEN_REUSED,
                who=Who(client_id=ended["client_id"], role="client"),
                patient_id=ended["patient_id"],
                outcome=Outcome.REFUSED,
                detail={"what": "refresh token"},
            )
