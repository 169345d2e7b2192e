"""Access tokens: JWTs by RFC 9068, written and read in this one file.

A token names the grant behind it; that the grant lives is asked by the statement that fetches the data.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import extract_compact
from joserfc.jwt import JWTClaimsRegistry

from server.core import clock, ids
from server.core.errors import NotAuthenticated

from .keys import FOR_ACCESS, SigningKeys
from .scopes import Scopes

if TYPE_CHECKING:
    from server.core.settings import Settings

_HEADER_TYPE = "at+jwt"  # RFC 9068, 2.1
_LONGEST = 16_384  # characters of a token worth reading
_REMEMBERED = 10_000
_DEAD = "The access token is not valid, or has expired."


@dataclass(frozen=True)
class Bearer:
    """On whose behalf a token speaks: what the gate must know, fixed when the token is made."""

    kind: str  # patient | doctor | provider | operator | client
    subject: str  # account or client id
    client_id: str
    grant_id: UUID
    account_id: UUID | None = None
    practitioner_id: str | None = None
    organization_id: str | None = None
    trusted: bool = False
    patient_id: str | None = None  # the patient in context
    fhir_user: str | None = None  # absolute URL


@dataclass(frozen=True)
class AccessToken:
    """An access token that was read: signature, audience and time hold."""

    id: str
    bearer: Bearer
    scopes: Scopes
    issued_at: datetime
    expires_at: datetime


class _Known(NamedTuple):
    """A token that was read before, and the keys of which one is its own."""

    kid: str
    keys: KeySet
    token: AccessToken


class Tokens:
    """Issues and reads access tokens."""

    def __init__(self, settings: Settings, keys: SigningKeys) -> None:
        self.keys = keys
        self._issuer = settings.base_url
        self._audience = settings.fhir_base
        self._read: OrderedDict[bytes, _Known] = OrderedDict()

    async def issue(self, bearer: Bearer, scopes: Scopes, *, lifetime: timedelta) -> tuple[str, AccessToken]:
        """A new token, as text and as what it says."""
        now = clock.now().replace(microsecond=0)
        token = AccessToken(ids.new_id(), bearer, scopes, now, now + lifetime)
        key = await self.keys.signing(FOR_ACCESS)
        header = {"alg": FOR_ACCESS, "typ": _HEADER_TYPE, "kid": key.kid}
        claims = {"iss": self._issuer, "aud": self._audience, **_claims(token)}
        return jwt.encode(header, claims, key, algorithms=[FOR_ACCESS]), token

    async def read(self, text: str) -> AccessToken:
        """Raises NotAuthenticated when the token is not ours, altered, for another audience, or expired."""
        if len(text) > _LONGEST:
            raise NotAuthenticated(_DEAD)
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
        known = self._read.get(digest)
        kid = known.kid if known else _kid(text)
        keys = await self.keys.verifying(FOR_ACCESS, kid)
        if known is None or known.keys is not keys:
            if not any(key.kid == kid for key in keys.keys):
                raise NotAuthenticated(_DEAD)
            known = _Known(kid, keys, known.token if known else self._verify(text, keys))
        if known.token.expires_at <= clock.now():
            self._read.pop(digest, None)
            raise NotAuthenticated(_DEAD)
        self._remember(digest, known)
        return known.token

    def _verify(self, text: str, keys: Any) -> AccessToken:
        rules = JWTClaimsRegistry(
            now=int(clock.now().timestamp()),
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
        )
        try:
            decoded = jwt.decode(text, keys, algorithms=[FOR_ACCESS])
            rules.validate(decoded.claims)
            if decoded.header.get("typ") != _HEADER_TYPE:  # an id_token is no access token
                raise ValueError
            return _token(decoded.claims)
        except (JoseError, ValueError, KeyError, TypeError) as exc:
            raise NotAuthenticated(_DEAD) from exc

    def _remember(self, digest: bytes, known: _Known) -> None:
        """A signature that held once holds; its key and its time are looked at every time."""
        self._read[digest] = known
        self._read.move_to_end(digest)
        while len(self._read) > _REMEMBERED:
            self._read.popitem(last=False)


def _kid(text: str) -> str:
    try:
        kid = extract_compact(text.encode()).headers().get("kid")
    except (JoseError, ValueError, TypeError) as exc:
        raise NotAuthenticated(_DEAD) from exc
    if not isinstance(kid, str):
        raise NotAuthenticated(_DEAD)
    return kid


def _claims(token: AccessToken) -> dict[str, Any]:
    bearer = token.bearer
    claims = {
        "sub": bearer.subject,
        "exp": int(token.expires_at.timestamp()),
        "iat": int(token.issued_at.timestamp()),
        "jti": token.id,
        "client_id": bearer.client_id,
        "scope": token.scopes.text,
        "grant": str(bearer.grant_id),
        "kind": bearer.kind,
        "patient": bearer.patient_id,
        "fhirUser": bearer.fhir_user,
        "account": str(bearer.account_id) if bearer.account_id else None,
        "practitioner": bearer.practitioner_id,
        "organization": bearer.organization_id,
        "trusted": bearer.trusted or None,
    }
    return {name: value for name, value in claims.items() if value is not None}


def _token(claims: dict[str, Any]) -> AccessToken:
    bearer = Bearer(
        kind=claims["kind"],
        subject=claims["sub"],
        client_id=claims["client_id"],
        grant_id=UUID(claims["grant"]),
        account_id=UUID(claims["account"]) if "account" in claims else None,
        practitioner_id=claims.get("practitioner"),
        organization_id=claims.get("organization"),
        trusted=claims.get("trusted") is True,
        patient_id=claims.get("patient"),
        fhir_user=claims.get("fhirUser"),
    )
    return AccessToken(
        claims["jti"], bearer, Scopes.parse(claims["scope"]), _moment(claims["iat"]), _moment(claims["exp"])
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
