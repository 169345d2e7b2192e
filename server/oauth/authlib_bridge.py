"""Authlib's AuthorizationServer on Starlette: what it asks of a framework, and the traps closed.

Authlib is synchronous. A token request runs in a worker thread; what it needs of the database is asked by
`Bridge.run`, back in the event loop and in a task of its own. So no transaction may be open around it: each callback
that must be one whole is one function.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar, cast

from anyio import from_thread, to_thread
from authlib.oauth2 import AuthorizationServer, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import InvalidClientError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from starlette.requests import Request

from server.access.scopes import Scopes
from server.access.services import Services

from . import clients
from .client_auth import PrivateKeyJwt
from .clients import Client
from .problem import InvalidClient, InvalidRequest, InvalidScope, OAuthError

T = TypeVar("T")
METHODS = ["private_key_jwt", "client_secret_basic", "client_secret_post", "none"]


class FormRequest(OAuth2Request):  # type: ignore[misc]
    """A posted form as Authlib reads it."""

    def __init__(self, request: Request, form: Mapping[str, str]) -> None:
        # Whether TLS is needed is a matter of the base address and the proxy before us, not of this hop.
        super().__init__(request.method, f"https://lightbox{request.url.path}", headers=request.headers)
        self.payload = BasicOAuth2Payload(dict(form))

    @property
    def form(self) -> dict[str, str]:
        return cast(dict[str, str], self.payload.data)


class Bridge(AuthorizationServer):  # type: ignore[misc]
    """One request's authorization server."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self.register_client_auth_method("private_key_jwt", PrivateKeyJwt(self))

    def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Call an async function from Authlib's thread."""
        return from_thread.run(function, *args)

    def query_client(self, client_id: str) -> Client | None:
        return self.run(clients.find, self.services.db, client_id)

    def authenticate_client(
        self, request: FormRequest, methods: Sequence[str], endpoint: str = "token"
    ) -> Client:
        """Who proved itself, and named no other beside its proof (RFC 7521, 4.2)."""
        client: Client = super().authenticate_client(request, methods, endpoint)
        if request.form.get("client_id", client.id) != client.id:
            raise InvalidClientError()
        return client

    def create_oauth2_request(self, request: FormRequest) -> FormRequest:
        return request

    def validate_requested_scope(self, scope: str | None) -> None:
        """Authlib compares with a fixed set; ours is a grammar. What is unknown is left out, not all refused."""
        if not Scopes.parse(scope):
            raise InvalidScope()

    def handle_response(self, status: int, body: Any, headers: Any) -> Mapping[str, Any]:
        return cast(Mapping[str, Any], body)

    def handle_error_response(self, request: FormRequest, error: OAuth2Error) -> None:
        raise _ours(error)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""


async def token_response(server: Bridge, request: FormRequest) -> Mapping[str, Any]:
    """The body of a token response. Raises OAuthError."""
    _one_proof(request)
    return await _in_thread(lambda: server.create_token_response(request))


async def authenticate(services: Services, request: Request, form: Mapping[str, str]) -> Client:
    """The client that sent this form, proved where it is confidential. Raises InvalidClient."""
    asked = FormRequest(request, form)
    _one_proof(asked)
    server = Bridge(services)
    return await _in_thread(lambda: server.authenticate_client(asked, METHODS))


async def _in_thread(function: Callable[[], T]) -> T:
    try:
        return await to_thread.run_sync(function)
    except OAuth2Error as error:
        raise _ours(error) from error
    except UnicodeDecodeError as error:  # a Basic header whose base64 holds no text
        raise InvalidClient() from error


def _one_proof(request: FormRequest) -> None:
    """A client proves itself in one way only (RFC 6749, 2.3), and names itself once."""
    header = request.headers.get("authorization", "")
    ways = [bool(header), "client_secret" in request.form, "client_assertion" in request.form]
    if sum(ways) > 1:
        raise InvalidRequest("Use one way of client authentication.")


def _ours(error: OAuth2Error) -> OAuthError:
    """Authlib's errors without what a caller typed: it echoes the grant type and the like."""
    if isinstance(error, InvalidClientError):
        return InvalidClient()
    if error.error == "unsupported_grant_type":
        return OAuthError("unsupported_grant_type", "The grant type is not supported.")
    return OAuthError(error.error, error.description or "The request cannot be granted.")
