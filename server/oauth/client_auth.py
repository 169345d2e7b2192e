"""Clients that prove themselves with a signed assertion: private_key_jwt.

RFC 7523, 2.2 and 3; SMART App Launch 2.2, "Client authentication: asymmetric". Authlib finds the client and calls
back; every check on the assertion stands here, for Authlib's own knows neither RS384 and ES384 nor the cap on exp.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from joserfc.util import urlsafe_b64decode

from server.core import clock, outbound
from server.core.errors import ServerError

from .clients import QUERIES, Client
from .described import read_jwks
from .problem import InvalidClient

if TYPE_CHECKING:
    from server.access.services import Services

    from .authlib_bridge import Bridge

ALGORITHMS = ["RS384", "ES384"]
LONGEST = timedelta(minutes=5)
_SKEW = timedelta(seconds=10)
_MOST_JTI = 256
_LONGEST_KEPT = 3600.0
_SHORTEST_KEPT = 5.0

_fetched: dict[str, tuple[datetime, datetime, KeySet]] = {}  # address -> (until, when, keys)


class PrivateKeyJwt(JWTBearerClientAssertion):  # type: ignore[misc]
    """The assertion a client signs with its private key."""

    CLIENT_AUTH_METHOD = "private_key_jwt"

    def __init__(self, server: Bridge) -> None:
        super().__init__()
        self._server = server

    def resolve_client_public_key(self, client: Client) -> KeySet:
        """Authlib wants a key before it calls back; the right one is chosen by kid in `process`."""
        self._client = client
        return KeySet([])

    def process_assertion_claims(self, assertion: str, resolve_key: Any) -> None:
        self._server.run(process, self._server.services, self._client, assertion)


async def process(services: Services, client: Client, assertion: str) -> None:
    """Check the assertion of this client and take its jti. Raises InvalidClient."""
    if not client.check_endpoint_auth_method("private_key_jwt", "token"):
        raise InvalidClient()
    try:
        header = _header(assertion)
        key = await _key(client, header)
        token = jwt.decode(assertion, key, algorithms=ALGORITHMS)
        until = _check_claims(token.claims, client.id, f"{services.settings.base_url}/oauth/token")
    except (JoseError, ValueError, KeyError, TypeError, ServerError) as exc:
        raise InvalidClient() from exc
    jti = str(token.claims["jti"])
    row = {"client": client.id, "jti": jti, "expires_at": until + _SKEW}
    if not await services.db.fetch_val(QUERIES["take_jti"], row):
        raise InvalidClient("The assertion was used before.")


def _header(assertion: str) -> dict[str, Any]:
    """The protected header, checked by SMART's table; raises ValueError."""
    segment = assertion.partition(".")[0]
    header = orjson.loads(urlsafe_b64decode(segment.encode()))
    if not isinstance(header, dict) or header.get("alg") not in ALGORITHMS:
        raise ValueError("alg")
    if not isinstance(header.get("kid"), str) or str(header.get("typ", "")).upper() != "JWT":
        raise ValueError("kid, typ")
    if "crit" in header or "jwk" in header or "x5u" in header:
        raise ValueError("a key or a rule that the token itself brings")
    return header


def _check_claims(claims: dict[str, Any], client_id: str, audience: str) -> datetime:
    """When the assertion runs out; raises ValueError or KeyError."""
    now = clock.now()
    if claims["iss"] != client_id or claims["sub"] != client_id:
        raise ValueError("iss, sub")
    if claims["aud"] not in (audience, [audience]):
        raise ValueError("aud")
    if not isinstance(claims["jti"], str) or not 0 < len(claims["jti"]) <= _MOST_JTI:
        raise ValueError("jti")
    if "\0" in claims["jti"]:
        raise ValueError("jti")
    until = _moment(claims["exp"])
    if not now < until <= now + LONGEST + _SKEW:
        raise ValueError("exp")
    if "nbf" in claims and _moment(claims["nbf"]) > now + _SKEW:
        raise ValueError("nbf")
    return until


def _moment(value: Any) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**40:
        raise ValueError("not a NumericDate")
    return datetime.fromtimestamp(value, UTC)


async def _key(client: Client, header: dict[str, Any]) -> RSAKey | ECKey:
    """The client's key with this kid, fit for the algorithm; raises ValueError."""
    if "jku" in header and (client.jwks_uri is None or header["jku"] != client.jwks_uri):
        raise ValueError("jku")
    if client.jwks is not None:
        return _fit(read_jwks(client.jwks), header)
    if client.jwks_uri is None:
        raise ValueError("no keys")
    keys, just_now = await _keys_at(client)
    try:
        return _fit(keys, header)
    except ValueError:
        if just_now:
            raise
    keys, _ = await _keys_at(client, again=True)  # the client may have rotated
    return _fit(keys, header)


def _fit(keys: KeySet, header: dict[str, Any]) -> RSAKey | ECKey:
    for key in keys.keys:
        if key.kid != header["kid"] or key.get("use", "sig") != "sig":
            continue
        if header["alg"] == "RS384" and isinstance(key, RSAKey):
            return key
        if header["alg"] == "ES384" and isinstance(key, ECKey) and key.curve_name == "P-384":
            return key
    raise ValueError("kid")


async def _keys_at(client: Client, *, again: bool = False) -> tuple[KeySet, bool]:
    """The keys at the client's address and whether they were fetched just now; kept as Cache-Control says."""
    url, now = str(client.jwks_uri), clock.now()
    known = _fetched.get(url)
    fresh_enough = known and now - known[1] < timedelta(seconds=_SHORTEST_KEPT)
    if known and known[0] > now and (not again or fresh_enough):
        return known[2], False
    answer = await outbound.get(url, accept="application/json", private=client.registered_by == "operator")
    if answer.status != 200:
        raise ValueError("jwks_uri")
    keys = read_jwks(orjson.loads(answer.body))
    if len(_fetched) > 1000:
        _fetched.clear()
    _fetched[url] = (now + timedelta(seconds=_lifetime(answer.headers.get("cache-control", ""))), now, keys)
    return keys, True


def _lifetime(cache_control: str) -> float:
    """Seconds an answer may be kept (RFC 9111, 5.2.2)."""
    rules = dict(part.strip().lower().partition("=")[::2] for part in cache_control.split(","))
    if "no-store" in rules or "no-cache" in rules:
        return 0.0
    try:
        return min(max(float(rules.get("max-age", "60").strip('"')), 0.0), _LONGEST_KEPT)
    except ValueError:
        return 0.0
