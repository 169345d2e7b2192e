"""Apps that register themselves (RFC 7591), and manage their registration (RFC 7592).

What comes this way is shown to patients as unverified, gets nothing of a system's, and keys only over https. A backend
service is registered by a signed-in provider, and is their own organization's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from server.access.actor import ActorKind
from server.access.services import Services
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock, ids
from server.core.errors import Forbidden, NotAuthenticated, TooLarge, TooManyRequests, Unprocessable

from . import clients, logos, problem
from .clients import QUERIES, Client
from .problem import NO_STORE, OAuthError

MOST_BYTES = 64 * 1024
MOST_IN_AN_HOUR = 200
_TYPE_OF = {
    "none": "public",
    "client_secret_basic": "confidential-symmetric",
    "client_secret_post": "confidential-symmetric",
    "private_key_jwt": "confidential-asymmetric",
}
_GRANTS = {"authorization_code", "refresh_token"}
_ADDRESSES = ("jwks_uri", "logo_uri", "client_uri", "policy_uri", "tos_uri")
Json = dict[str, Any]


async def register(request: Request) -> Response:
    """POST /oauth/register"""
    services: Services = request.app.state.services
    metadata = await _read(request)
    await require_not_too_many(services)
    token = ids.new_secret()
    organization = await _organization(request, services, metadata)
    registration = _registration(metadata, organization)
    with _in_words():
        added = await keep(services, **registration, organization_id=organization, registration_token=token)
    issued = {"client_id_issued_at": int(clock.now().timestamp())}
    return problem.json(_answer(services, added, token) | issued | _way(metadata, added), 201)


async def read_registration(request: Request) -> Response:
    """GET /oauth/register/{client_id} (RFC 7592, 2.1)"""
    client, token = await _managed(request)
    return problem.json(_answer(request.app.state.services, clients.Added(client, None), token))


async def replace_registration(request: Request) -> Response:
    """PUT /oauth/register/{client_id} (RFC 7592, 2.2): all of it anew; what manages it from then on is a new token."""
    services: Services = request.app.state.services
    client, presented = await _managed(request)
    metadata = await _read(request)
    _check_own(client, metadata)
    if client.type == "backend" and _texts(metadata, "grant_types") != ["client_credentials"]:
        raise _invalid("A backend service stays one.")
    if client.type != "backend":
        await _organization(request, services, metadata, for_people=True)
    registration = _registration(metadata, client.organization_id if client.type == "backend" else None)
    token = ids.new_secret()
    with _in_words():
        changed = await _replaced(services, client, presented, token, registration)
    if changed is None:
        raise NotAuthenticated("The registration access token is not valid.")
    await logos.fetch(services, changed.client)
    return problem.json(_answer(services, changed, token) | _way(metadata, changed))


async def delete_registration(request: Request) -> Response:
    """DELETE /oauth/register/{client_id} (RFC 7592, 2.3): the app goes, and all that it may do."""
    services: Services = request.app.state.services
    client, _ = await _managed(request)
    async with services.db.transaction():
        now = clock.now()
        await services.db.execute(QUERIES["disable_client"], {"id": client.id, "now": now})
        await services.db.execute(QUERIES["forget_registration_token"], {"id": client.id})
        values = {"client": client.id, "now": now, "why": "the app took its registration back"}
        await services.db.execute(QUERIES["end_grants_of_client"], values)
        await services.db.execute(QUERIES["forget_state_of_client"], {"client": client.id})
    return Response(status_code=204, headers=NO_STORE)


async def _replaced(
    services: Services, client: Client, presented: str, token: str, registration: Json
) -> clients.Added | None:
    async with services.db.transaction():
        changed = await clients.replace(
            services.db, client, presented=presented, registration_token=token, **registration
        )
        who = Who(role="client", client_id=client.id, client_name=client.name)
        await services.audit.record(
            Event.CLIENT_REGISTERED, who=who, patient_id=None, detail={"what": "changed"}
        )
    return changed


def _check_own(client: Client, metadata: Json) -> None:
    """RFC 7592, 2.2: it says whose it is, and changes nothing that the server gives. Raises OAuthError."""
    if metadata.get("client_id") != client.id:
        raise _invalid("The client_id must be that of this registration.")
    given = {
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    }
    if given & metadata.keys():
        raise _invalid("What the server gives cannot be set.")
    secret = metadata.get("client_secret")
    if secret is not None and not (isinstance(secret, str) and client.check_client_secret(secret)):
        raise _invalid("The client_secret cannot be chosen.")


@contextmanager
def _in_words() -> Iterator[None]:
    """What cannot be registered, in the words of RFC 7591, 3.2.2."""
    try:
        yield
    except Unprocessable as exc:
        word = "invalid_redirect_uri" if "redirect" in str(exc) else "invalid_client_metadata"
        raise OAuthError(word, str(exc)) from exc


def _answer(services: Services, added: clients.Added, token: str) -> Json:
    """RFC 7591, 3.2.1 and RFC 7592, 3."""
    answer = _described(added.client) | {
        "registration_access_token": token,
        "registration_client_uri": f"{services.settings.base_url}/oauth/register/{added.client.id}",
    }
    if added.secret:
        answer |= {"client_secret": added.secret, "client_secret_expires_at": 0}
    return answer


def _way(metadata: Json, added: clients.Added) -> Json:
    """Both ways of sending a secret are one type here; the one that was asked for is confirmed."""
    method = metadata.get("token_endpoint_auth_method")
    is_symmetric = added.client.type == "confidential-symmetric"
    return {"token_endpoint_auth_method": method} if is_symmetric and method else {}


async def _organization(
    request: Request, services: Services, metadata: Json, *, for_people: bool = False
) -> str | None:
    """The organization of a backend service; None for an app of people. Raises Forbidden, OAuthError."""
    grants = _texts(metadata, "grant_types")
    if for_people or grants != ["client_credentials"]:
        if not set(grants) <= _GRANTS:
            raise _invalid("Apps that register themselves use authorization_code and refresh_token only.")
        return None
    actor = await services.gate.actor(request)
    if actor.kind is not ActorKind.PROVIDER or actor.scopes is not None or not actor.organization_id:
        raise Forbidden("A backend service is registered by a signed-in provider.")
    return actor.organization_id


def _registration(metadata: Json, organization: str | None) -> Json:
    """What the metadata says, as `clients` keeps it. Raises OAuthError."""
    kind = _kind(metadata) if organization is None else "backend"
    keys = metadata.get("jwks"), metadata.get("jwks_uri")
    if kind in ("confidential-asymmetric", "backend") and keys == (None, None):
        raise _invalid("Public keys are needed, inline or by address.")
    if keys[0] is not None and not isinstance(keys[0], dict):
        raise _invalid("The keys are not a JWK Set.")
    return {
        "name": _text(metadata, "client_name") or "An app without a name",
        "type": kind,
        "redirect_uris": _redirects(metadata) if kind != "backend" else (),
        "scope": _text(metadata, "scope"),
        "jwks": keys[0],
        "launch_url": _text(metadata, "initiate_login_uri") or None,
        "contact": ", ".join(_texts(metadata, "contacts"))[:300],
        **{name: _text(metadata, name) or None for name in _ADDRESSES},
    }


def _kind(metadata: Json) -> str:
    method = metadata.get("token_endpoint_auth_method", "none")
    if not isinstance(method, str) or method not in _TYPE_OF:
        raise _invalid("The token_endpoint_auth_method is not supported.")
    if metadata.get("response_types", ["code"]) != ["code"]:
        raise _invalid("The response_types must be code.")
    return _TYPE_OF[method]


def _redirects(metadata: Json) -> list[str]:
    redirects = _texts(metadata, "redirect_uris")
    if not 0 < len(redirects) <= 20:
        raise OAuthError("invalid_redirect_uri", "Between one and twenty redirect_uris are needed.")
    return redirects


def _described(client: Client) -> Json:
    """RFC 7591, 2: what is registered, as registered."""
    is_backend = client.type == "backend"
    methods = {type: method for method, type in reversed(_TYPE_OF.items())}
    described: Json = {
        "client_id": client.id,
        "client_name": client.name,
        "redirect_uris": list(client.redirect_uris),
        "grant_types": ["client_credentials"] if is_backend else sorted(_GRANTS),
        "response_types": [] if is_backend else ["code"],
        "token_endpoint_auth_method": methods.get(client.type, "private_key_jwt"),
        "scope": client.allowed.text,
    }
    for name in ("jwks", *_ADDRESSES):
        if value := getattr(client, name):
            described[name] = value
    if client.launch_url:
        described["initiate_login_uri"] = client.launch_url
    if client.contact:
        described["contacts"] = client.contact.split(", ")
    return described


async def _managed(request: Request) -> tuple[Client, str]:
    """The registration and the token that manages it. Raises NotAuthenticated (RFC 7592, 2.1: 401)."""
    services: Services = request.app.state.services
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    values = {"id": request.path_params["client_id"], "token_hash": ids.digest(token.strip())}
    found = await services.db.fetch_val(QUERIES["client_of_registration"], values)
    client = await clients.find(services.db, found) if found and kind.lower() == "bearer" else None
    if client is None:
        raise NotAuthenticated("The registration access token is not valid.")
    return client, token.strip()


async def keep(services: Services, **registration: Any) -> clients.Added:
    """Register what came by itself. Raises Unprocessable."""
    async with services.db.transaction():
        added = await clients.add(services.db, registered_by="dynamic", **registration)
        await services.audit.record(
            Event.CLIENT_REGISTERED,
            who=Who(role="client", client_id=added.client.id, client_name=added.client.name),
            patient_id=None,
        )
    await logos.fetch(services, added.client)
    return added


async def require_not_too_many(services: Services) -> None:
    """A flood of registrations is slowed down for everybody who registers; nothing else suffers."""
    since = clock.now() - timedelta(hours=1)
    if await services.db.fetch_val(QUERIES["registered_lately"], {"since": since}) >= MOST_IN_AN_HOUR:
        raise TooManyRequests("Too many apps were registered lately.", retry_after=600)


async def _read(request: Request) -> Json:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise TooLarge("The registration is too large.")
    try:
        metadata = orjson.loads(bytes(body))
    except orjson.JSONDecodeError as exc:
        raise _invalid("The registration is not JSON.") from exc
    if not isinstance(metadata, dict):
        raise _invalid("The registration is not a JSON object.")
    return metadata


def _text(metadata: Mapping[str, Any], name: str) -> str:
    value = metadata.get(name, "")
    if not isinstance(value, str) or len(value) > 4000 or "\0" in value:
        raise _invalid("A field of the registration is not a text.")
    return value


def _texts(metadata: Mapping[str, Any], name: str) -> list[str]:
    values = metadata.get(name, [])
    if not isinstance(values, list) or not all(isinstance(each, str) and "\0" not in each for each in values):
        raise _invalid("A field of the registration is not a list of texts.")
    return values


def _invalid(sentence: str) -> OAuthError:
    return OAuthError("invalid_client_metadata", sentence)
