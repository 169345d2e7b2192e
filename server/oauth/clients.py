"""Apps and systems that may ask for tokens (RFC 6749, 2; SMART App Launch 2.2, "Registering a SMART app")."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

import orjson
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from server.access.scopes import Scopes
from server.core import clock, ids
from server.core.errors import Unprocessable
from server.core.texts import N_
from server.storage.db import Database
from server.storage.sql import load

QUERIES = load(__package__)

TYPES = ("public", "confidential-symmetric", "confidential-asymmetric", "backend")
MOST_NAME = 120
_METHODS = {
    "public": frozenset({"none"}),
    "confidential-symmetric": frozenset({"client_secret_basic", "client_secret_post"}),
    "confidential-asymmetric": frozenset({"private_key_jwt"}),
    "backend": frozenset({"private_key_jwt"}),
}
# Hosts stand in Content-Security-Policy: nothing that ends a source there or begins another.
_AUTHORITY = re.compile(r"[A-Za-z0-9.:@_~\[\]-]*")
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
    name: str,
    type: str,
    redirect_uris: Sequence[str] = (),
    scope: str = "",
    jwks: dict[str, Any] | None = None,
    jwks_uri: str | None = None,
    launch_url: str | None = None,
    logo_uri: str | None = None,
    client_uri: str | None = None,
    policy_uri: str | None = None,
    tos_uri: str | None = None,
    contact: str = "",
    organization_id: str | None = None,
    trusted: bool = False,
    verified: bool = False,
    registered_by: str = "operator",
    registration_token: str | None = None,
) -> Added:
    """Register a client. Raises Unprocessable with one sentence for the first thing that cannot be."""
    secret = ids.new_secret() if type == "confidential-symmetric" else None
    client_id = ids.new_id()
    described = _described(
        by_operator=registered_by == "operator",
        name=name,
        type=type,
        redirect_uris=redirect_uris,
        scope=scope,
        jwks=jwks,
        jwks_uri=jwks_uri,
        launch_url=launch_url,
        logo_uri=logo_uri,
        client_uri=client_uri,
        policy_uri=policy_uri,
        tos_uri=tos_uri,
        contact=contact,
    )
    row = described | {
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
    db: Database, client: Client, *, presented: str, registration_token: str, **described: Any
) -> Added | None:
    """The whole registration anew (RFC 7592, 2.2), managed by a new token; None when the one presented is spent.

    A client that needs a secret and has one keeps it. Raises Unprocessable.
    """
    row = _described(by_operator=client.registered_by == "operator", **described)
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


def _described(*, by_operator: bool, **given: Any) -> dict[str, Any]:
    """What a registration says of the client, as columns. Raises Unprocessable."""
    _check_words(given["name"], given["type"], given["scope"])
    _check_redirect_uris(given["redirect_uris"], given["type"], by_operator=by_operator)
    _check_keys(given["jwks"], given["jwks_uri"])
    addresses = ("jwks_uri", "launch_url", "logo_uri", "client_uri", "policy_uri", "tos_uri")
    _check_addresses([given[each] for each in addresses], by_operator=by_operator)
    return given | {
        "name": " ".join(given["name"].split()),
        "type": str(given["type"]),
        "redirect_uris": list(dict.fromkeys(given["redirect_uris"])),
        "jwks": orjson.dumps(given["jwks"]).decode() if given["jwks"] else None,
    }


def read_jwks(described: dict[str, Any]) -> KeySet:
    """Public keys for ES384 and RS384; raises Unprocessable."""
    keys = described.get("keys")
    if not isinstance(keys, list) or not all(isinstance(each, dict) for each in keys):
        raise Unprocessable(N_("The keys are not a JWK Set."))
    if any(each.get("kty") not in ("RSA", "EC") for each in keys):
        raise Unprocessable(N_("The keys must be RSA or EC keys."))
    if any("d" in each for each in keys):
        raise Unprocessable(N_("The keys hold a private part; send the public ones only."))
    try:
        return KeySet.import_key_set({"keys": keys})
    except (JoseError, ValueError, KeyError, TypeError) as exc:
        raise Unprocessable(N_("The keys are not a JWK Set.")) from exc


def _check_words(name: str, type: str, scope: str) -> None:
    if type not in TYPES:
        raise Unprocessable(f"The type is one of {', '.join(TYPES)}.")
    if not name.strip() or len(name) > MOST_NAME or not name.isprintable():
        raise Unprocessable(f"A name is needed, of at most {MOST_NAME} characters.")
    if not all(Scopes.parse(text) for text in scope.split()):
        raise Unprocessable(N_("One of the scopes is not known."))


def _check_redirect_uris(uris: Sequence[str], type: str, *, by_operator: bool) -> None:
    if not uris and type != "backend" and not by_operator:
        raise Unprocessable(N_("At least one redirect URI is needed."))
    for uri in uris:
        _require_redirect_uri(uri)


def _check_keys(jwks: dict[str, Any] | None, jwks_uri: str | None) -> None:
    if jwks is not None and jwks_uri is not None:
        raise Unprocessable(N_("Keys are given inline or by address, not both."))
    if jwks is not None:
        read_jwks(jwks)


def _check_addresses(urls: Sequence[str | None], *, by_operator: bool) -> None:
    schemes = ("https", "http") if by_operator else ("https",)
    for url in urls:
        parts = _parts(url) if url is not None else None
        if url is not None and (parts is None or parts.scheme not in schemes or not parts.hostname):
            raise Unprocessable(N_("An address of the registration is not an https one."))


def _require_redirect_uri(uri: str) -> None:
    """RFC 9700, 4.1; RFC 8252, 7: https, http on loopback, or an app's own scheme with a dot."""
    parts = _parts(uri)
    if parts is None or parts.fragment or "#" in uri or "*" in uri or parts.username or parts.password:
        raise Unprocessable(N_("A redirect URI is absolute, without fragment, user or wildcard."))
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost"):
        return
    if "." in parts.scheme and parts.path:
        return
    raise Unprocessable(
        N_("A redirect URI is https; http on loopback; or a scheme of the app with a dot in it.")
    )


def _parts(url: str) -> SplitResult | None:
    """The parts of an address; None for what is none."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
        return parts if _AUTHORITY.fullmatch(parts.netloc) else None
    except ValueError:
        return None


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
