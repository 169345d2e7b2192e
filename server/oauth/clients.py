"""Apps and systems that may ask for tokens (RFC 6749, 2; SMART App Launch 2.2, "Registering a SMART app")."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass, field
from typing import Any, Unpack
from urllib.parse import urlsplit

import orjson

from server.access.scopes import Scopes
from server.core import clock, ids
from server.storage.db import Database
from server.storage.sql import load

from .described import Described, columns_of

QUERIES = load(__package__)

_METHODS = {
    "public": frozenset({"none"}),
    "confidential-symmetric": frozenset({"client_secret_basic", "client_secret_post"}),
    "confidential-asymmetric": frozenset({"private_key_jwt"}),
    "backend": frozenset({"private_key_jwt"}),
}
# What an app may ask a person for when its registration names no scopes: nothing of a system's.
_FOR_PEOPLE = Scopes.parse(
    "patient/*.cruds user/*.cruds openid profile fhirUser launch launch/patient launch/encounter"
    " launch/imagingstudy online_access offline_access"
)


@dataclass(frozen=True)
class Client:
    """One registered client. The methods are what Authlib asks of a client."""

    id: str
    name: str
    type: str
    secret_hash: bytes | None = field(default=None, repr=False)
    redirect_uris: tuple[str, ...] = ()
    scope: str = ""
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    launch_url: str | None = None
    logo_uri: str | None = None
    contact: str = ""
    organization_id: str | None = None
    trusted: bool = False
    verified: bool = False
    registered_by: str = "operator"
    client_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    logo: bytes | None = field(default=None, repr=False)  # a PNG made here

    @property
    def client_id(self) -> str:
        return self.id

    @property
    def is_confidential(self) -> bool:
        """Whether it can keep a secret, and so must authenticate (RFC 6749, 2.1)."""
        return self.type != "public"

    @property
    def allowed(self) -> Scopes:
        """The most it may be granted; a backend client only what was agreed on before."""
        if self.type == "backend":
            return Scopes.parse(self.scope).without_context("patient", "user")
        if not self.scope:
            return _FOR_PEOPLE
        return Scopes.parse(self.scope).without_context("system")

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Exact comparison (RFC 9700, 2.1); a native app on loopback may choose its port (RFC 8252, 7.3)."""
        return any(
            redirect_uri == registered
            or (not self.is_confidential and _same_loopback(registered, redirect_uri))
            for registered in self.redirect_uris
        )

    def check_client_secret(self, client_secret: str) -> bool:
        return self.secret_hash is not None and hmac.compare_digest(
            self.secret_hash, ids.digest(client_secret)
        )

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in _METHODS[self.type]

    def check_grant_type(self, grant_type: str) -> bool:
        if self.type == "backend":
            return grant_type == "client_credentials"
        return grant_type in ("authorization_code", "refresh_token")


@dataclass(frozen=True)
class Added:
    """A client as registered; its secret is shown this once."""

    client: Client
    secret: str | None = field(repr=False)


async def find(db: Database, client_id: str) -> Client | None:
    """The client with this id, unless it was disabled."""
    row = await db.fetch_one(QUERIES["client"], {"id": client_id})
    if row is None:
        return None
    fields = {name: row[name] for name in Client.__dataclass_fields__}
    jwks = orjson.loads(row["jwks"]) if row["jwks"] else None
    return Client(**{**fields, "jwks": jwks, "redirect_uris": tuple(row["redirect_uris"])})


async def add(
    db: Database,
    *,
    organization_id: str | None = None,
    trusted: bool = False,
    verified: bool = False,
    registered_by: str = "operator",
    registration_token: str | None = None,
    **described: Unpack[Described],
) -> Added:
    """Register a client. Raises Unprocessable with one sentence for the first thing that cannot be."""
    columns = columns_of(described, by_operator=registered_by == "operator")
    secret = ids.new_secret() if columns["type"] == "confidential-symmetric" else None
    client_id = ids.new_id()
    row = columns | {
        "id": client_id,
        "secret_hash": ids.digest(secret) if secret else None,
        "organization": organization_id,
        "trusted": trusted,
        "verified": verified,
        "registered_by": registered_by,
        "now": clock.now(),
        "registration_token_hash": ids.digest(registration_token) if registration_token else None,
    }
    await db.execute(QUERIES["add_client"], row)
    client = await find(db, client_id)
    assert client is not None
    return Added(client, secret)


async def replace(
    db: Database, client: Client, *, presented: str, registration_token: str, **described: Unpack[Described]
) -> Added | None:
    """The whole registration anew (RFC 7592, 2.2), managed by a new token; None when the one presented is spent.

    A client that needs a secret and has one keeps it. Raises Unprocessable.
    """
    row = columns_of(described, by_operator=client.registered_by == "operator")
    secret = ids.new_secret() if row["type"] == "confidential-symmetric" and not client.secret_hash else None
    kept = client.secret_hash if row["type"] == "confidential-symmetric" else None
    row |= {
        "id": client.id,
        "secret_hash": ids.digest(secret) if secret else kept,
        "presented": ids.digest(presented),
        "registration_token_hash": ids.digest(registration_token),
    }
    if not await db.fetch_val(QUERIES["replace_client"], row):
        return None
    changed = await find(db, client.id)
    return Added(changed, secret) if changed is not None else None


def _same_loopback(registered: str, asked: str) -> bool:
    try:
        one, other = urlsplit(registered), urlsplit(asked)
        hosts = one.hostname, other.hostname
        if one.scheme != "http" or hosts[0] != hosts[1] or not _is_loopback(hosts[0]):
            return False
        # The asked one must be what it looks like: host and port alone, no user, nothing after the port.
        literal = f"[{other.hostname}]" if ":" in (other.hostname or "") else other.hostname
        plain = f"{literal}:{other.port}" if other.port else literal
    except ValueError:
        return False
    return asked == f"http://{plain}{registered.partition('://')[2][len(one.netloc) :]}"


def _is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
