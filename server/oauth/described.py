"""What a registration says of a client, checked (RFC 7591, 2; RFC 9700; RFC 8252)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Required, TypedDict
from urllib.parse import SplitResult, urlsplit

import orjson
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from server.access.scopes import Scopes
from server.core.errors import Unprocessable
from server.core.texts import N_

TYPES = ("public", "confidential-symmetric", "confidential-asymmetric", "backend")
MOST_NAME = 120
# Hosts stand in Content-Security-Policy: nothing that ends a source there or begins another.
_AUTHORITY = re.compile(r"[A-Za-z0-9.:@_~\[\]-]*")


class Described(TypedDict, total=False):
    """What whoever registers a client says of it."""

    name: Required[str]
    type: Required[str]
    redirect_uris: Sequence[str]
    scope: str
    jwks: dict[str, Any] | None
    jwks_uri: str | None
    launch_url: str | None
    logo_uri: str | None
    client_uri: str | None
    policy_uri: str | None
    tos_uri: str | None
    contact: str


_UNSAID: dict[str, Any] = {
    **dict.fromkeys(("jwks", "jwks_uri", "launch_url", "logo_uri", "client_uri", "policy_uri", "tos_uri")),
    "redirect_uris": (),
    "scope": "",
    "contact": "",
}


def columns_of(described: Described, *, by_operator: bool) -> dict[str, Any]:
    """The description as columns of the row. Raises Unprocessable."""
    given: dict[str, Any] = {**_UNSAID, **described}
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
