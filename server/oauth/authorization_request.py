"""An app's authorization request as a value, and the ways to answer it.

RFC 6749, 4.1.1 and 4.1.2; RFC 7636; RFC 9126 (kept requests); RFC 9207 (iss). Client and redirect URI are judged
first: while they are in doubt every error is a page, afterwards a redirect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.responses import Response

from server.access.scopes import Scopes
from server.access.services import Services
from server.access.sign_in import SignedIn
from server.core import clock, ids
from server.core.texts import N_

from . import clients, forms, launch, pages
from .clients import QUERIES, Client
from .problem import InvalidRequest, OAuthError

UNKNOWN_APP = N_("This app is not known here, so nothing was shared with it.")
UNKNOWN_ADDRESS = N_(
    "This app asked to be answered at an address it did not register, so nothing was shared with it."
)
TOO_LATE = N_("This request took too long. Start again from the app.")
KEPT = timedelta(minutes=10)
URN = "urn:ietf:params:oauth:request_uri:"
NO_SCOPES = Scopes()
ASKED_AT = "_asked_at"  # in a kept request: when it came, by our clock; nothing a client may say
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # SHA-256 in base64url


@dataclass(frozen=True)
class Asked:
    """An authorization request whose client and redirect URI are known; `problem` is what else is wrong."""

    client: Client
    redirect_uri: str
    parameters: Mapping[str, str]
    query: str  # as it was asked, to come back to after the sign-in
    scopes: Scopes = NO_SCOPES
    problem: OAuthError | None = None

    @property
    def state(self) -> str | None:
        return self.parameters.get("state")

    @property
    def prompt(self) -> frozenset[str]:
        """OpenID Connect Core, 3.1.2.1."""
        return frozenset(self.parameters.get("prompt", "").split())

    @property
    def ui_locales(self) -> str:
        return self.parameters.get("ui_locales", "")

    def wants_proof(self, signed_in: SignedIn) -> bool:
        """Whether the person must show again who they are: prompt=login, or max_age that has passed.

        Done once this request came, it holds for this request.
        """
        asked_at, shown_at = self.parameters.get(ASKED_AT), signed_in.confirmed_at
        if asked_at is not None and shown_at >= datetime.fromisoformat(asked_at):
            return False
        age = self.parameters.get("max_age")
        too_old = age is not None and clock.now() - shown_at > timedelta(seconds=int(age))
        return too_old or "login" in self.prompt


async def read(services: Services, pairs: list[tuple[str, str]]) -> Asked:
    """Parse a request. Raises OAuthError only while there is nowhere to redirect to."""
    parameters = forms.once(pairs)
    parameters = _own(parameters)
    query = urlencode(parameters)
    client = await clients.find(services.db, parameters.get("client_id", ""))
    if client is None or client.type == "backend":
        raise OAuthError("invalid_request", UNKNOWN_APP)
    if "request_uri" in parameters:
        parameters = await _kept(services, client, parameters["request_uri"])
    redirect_uri = parameters.get("redirect_uri", "")
    if not client.check_redirect_uri(redirect_uri):
        raise OAuthError("invalid_request", UNKNOWN_ADDRESS)
    try:
        scopes = _checked(services, client, parameters)
    except OAuthError as problem:
        return Asked(client, redirect_uri, parameters, query, problem=problem)
    return Asked(client, redirect_uri, parameters, query, scopes)


def refused(services: Services, asked: Asked, problem: OAuthError) -> Response:
    """The error, given to the app (RFC 6749, 4.1.2.1)."""
    return answered(services, asked, {"error": problem.error, "error_description": str(problem)})


def answered(services: Services, asked: Asked, values: Mapping[str, str]) -> Response:
    """Back to the app; 303, so that a browser does not send the form with the password or consent along."""
    state = {"state": asked.state} if asked.state is not None else {}
    query = urlencode({**values, **state, "iss": services.settings.base_url})
    joined = "&" if "?" in asked.redirect_uri else "?"
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache", "Referrer-Policy": "no-referrer"}
    # Not through RedirectResponse: it would spell the registered address anew.
    return Response(status_code=303, headers={**headers, "Location": f"{asked.redirect_uri}{joined}{query}"})


def to_authorize(asked: Asked, **more: str) -> Response:
    """The same request again."""
    added = f"&{urlencode(more)}" if more else ""
    return pages.redirect(f"/oauth/authorize?{asked.query}{added}")


def to_kept(client: Client, uri: str) -> str:
    """The path of a kept request."""
    return f"/oauth/authorize?{urlencode({'client_id': client.id, 'request_uri': uri})}"


async def keep(services: Services, client: Client, parameters: Mapping[str, Any]) -> str:
    """Keep a request on the server, and when it came; the request_uri to ask for it by."""
    uri = URN + ids.new_secret()
    parameters = {**_own(parameters), ASKED_AT: clock.now().isoformat()}
    row = {
        "uri_hash": ids.digest(uri),
        "client": client.id,
        "parameters": orjson.dumps(dict(parameters)).decode(),
        "expires_at": clock.now() + KEPT,
    }
    await services.db.execute(QUERIES["add_pushed_request"], row)
    return uri


def _own(parameters: Mapping[str, str]) -> dict[str, str]:
    """What a client may say; words that begin with _ are ours."""
    return {name: value for name, value in parameters.items() if not name.startswith("_")}


def _checked(services: Services, client: Client, parameters: Mapping[str, str]) -> Scopes:
    if parameters.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "The response_type must be code.")
    if parameters.get("response_mode", "query") != "query":
        raise InvalidRequest("The response_mode must be query.")
    if "request" in parameters:
        raise OAuthError("request_not_supported", "Request objects are not supported.")
    if parameters.get("code_challenge_method") != "S256":
        raise InvalidRequest("PKCE with code_challenge_method S256 is needed.")
    if not _CHALLENGE.fullmatch(parameters.get("code_challenge", "")):
        raise InvalidRequest("PKCE with a code_challenge is needed.")
    audience = parameters.get("aud", parameters.get("resource", ""))
    if audience.rstrip("/") != services.settings.fhir_base:
        raise InvalidRequest("The aud must be the FHIR base address of this server.")
    _check_prompt(parameters)
    asked = Scopes.parse(parameters.get("scope")).without_context("system").within(client.allowed)
    asked = launch.possible(asked, launched="launch" in parameters)
    if not asked:
        raise OAuthError("invalid_scope", "Nothing of the requested scope can be granted.")
    return asked


def _check_prompt(parameters: Mapping[str, str]) -> None:
    """OpenID Connect Core, 3.1.2.1: `none` stands alone; max_age is a number of seconds."""
    prompt = parameters.get("prompt", "").split()
    if "none" in prompt and len(prompt) > 1:
        raise InvalidRequest("The prompt none stands alone.")
    age = parameters.get("max_age")
    if age is not None and not re.fullmatch(r"[0-9]{1,9}", age):
        raise InvalidRequest("The max_age is a number of seconds.")


async def _kept(services: Services, client: Client, uri: str) -> dict[str, str]:
    values = {"uri_hash": ids.digest(uri), "client": client.id, "now": clock.now()}
    found = await services.db.fetch_val(QUERIES["pushed_request"], values)
    if found is None:
        raise OAuthError("invalid_request_uri", TOO_LATE)
    parameters: dict[str, str] = orjson.loads(found)
    return {**parameters, "client_id": client.id}
