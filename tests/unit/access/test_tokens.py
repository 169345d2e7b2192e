"""Access tokens (RFC 9068) and the keys that sign them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from server.access.keys import FOR_ACCESS, FOR_IDENTITY, SigningKeys
from server.access.scopes import Scopes
from server.access.services import Services
from server.access.tokens import Bearer, Tokens
from server.core import clock
from server.core.errors import NotAuthenticated

HOUR = timedelta(hours=1)
SCOPES = Scopes.parse("patient/*.rs openid")


def bearer() -> Bearer:
    return Bearer("patient", "account-1", "app-1", uuid4(), account_id=uuid4(), patient_id="p1")


async def test_a_token_says_what_it_was_made_with(services: Services) -> None:
    made = bearer()
    text, _ = await services.tokens.issue(made, SCOPES, lifetime=HOUR)
    read = await services.tokens.read(text)
    assert (read.bearer, read.scopes) == (made, SCOPES)
    assert read.expires_at - read.issued_at == HOUR


async def test_an_expired_token_is_dead_even_when_it_was_read_before(services: Services) -> None:
    text, _ = await services.tokens.issue(bearer(), SCOPES, lifetime=HOUR)
    await services.tokens.read(text)
    clock.travel(HOUR)
    with pytest.raises(NotAuthenticated):
        await services.tokens.read(text)


async def test_another_server_on_the_same_keys_refuses_a_foreign_audience(services: Services) -> None:
    """RFC 9068, 4: the resource server checks aud itself."""
    text, _ = await services.tokens.issue(bearer(), SCOPES, lifetime=HOUR)
    elsewhere = services.settings.model_copy(update={"base_url": "https://elsewhere.example"})
    with pytest.raises(NotAuthenticated):
        await Tokens(elsewhere, services.keys).read(text)


async def _claims(services: Services) -> tuple[dict[str, object], str]:
    text, _ = await services.tokens.issue(bearer(), SCOPES, lifetime=HOUR)
    keys = await services.keys.verifying(FOR_ACCESS)
    kid = str(keys.keys[0].kid)
    return jwt.decode(text, keys, algorithms=[FOR_ACCESS]).claims, kid


async def test_alg_none_is_refused(services: Services) -> None:
    """RFC 8725, 3.1."""
    claims, kid = await _claims(services)
    from joserfc.util import urlsafe_b64encode

    head = urlsafe_b64encode(orjson.dumps({"alg": "none", "typ": "at+jwt", "kid": kid})).decode()
    body = urlsafe_b64encode(orjson.dumps(claims)).decode()
    with pytest.raises(NotAuthenticated):
        await services.tokens.read(f"{head}.{body}.")


async def test_hs256_with_the_public_key_is_refused(services: Services) -> None:
    """RFC 8725, 2.1: the key of one algorithm used as the secret of another."""
    claims, kid = await _claims(services)
    public = (await services.keys.verifying(FOR_ACCESS)).keys[0]
    forged = jwt.encode(
        {"alg": "HS256", "typ": "at+jwt", "kid": kid},
        claims,
        OctKey.import_key(orjson.dumps(public.as_dict(private=False))),
        algorithms=["HS256"],
    )
    with pytest.raises(NotAuthenticated):
        await services.tokens.read(forged)


@pytest.mark.parametrize("changed", [{"kid": "unknown"}, {"typ": "JWT"}, {}])
async def test_a_token_of_another_key_is_refused(services: Services, changed: dict[str, str]) -> None:
    claims, kid = await _claims(services)
    header = {"alg": "ES256", "typ": "at+jwt", "kid": kid, **changed}
    forged = jwt.encode(header, claims, ECKey.generate_key("P-256"), algorithms=["ES256"])
    with pytest.raises(NotAuthenticated):
        await services.tokens.read(forged)


async def test_an_id_token_is_no_access_token(services: Services) -> None:
    claims, _ = await _claims(services)
    key = await services.keys.signing(FOR_IDENTITY)
    forged = jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key, algorithms=["RS256"])
    with pytest.raises(NotAuthenticated):
        await services.tokens.read(forged)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "..", "\ud800", "é.é.é", "x" * 100_000])
async def test_what_is_no_token_is_refused(services: Services, text: str) -> None:
    with pytest.raises(NotAuthenticated):
        await services.tokens.read(text)


async def test_rotation_keeps_old_tokens_alive_and_signs_with_the_new_key(services: Services) -> None:
    old, _ = await services.tokens.issue(bearer(), SCOPES, lifetime=HOUR)
    kid = await services.keys.rotate(FOR_ACCESS)
    new, _ = await services.tokens.issue(bearer(), SCOPES, lifetime=HOUR)
    assert (
        jwt.decode(new, await services.keys.verifying(FOR_ACCESS), algorithms=[FOR_ACCESS]).header["kid"]
        == kid
    )
    assert await services.tokens.read(old)
    assert kid in {key["kid"] for key in (await services.keys.jwks())["keys"]}


async def test_another_process_reads_a_key_it_has_not_met(services: Services) -> None:
    other = Tokens(services.settings, SigningKeys(services.db, services.keyring))
    first, _ = await services.tokens.issue(bearer(), SCOPES, lifetime=HOUR)
    assert await other.read(first)
    await services.keys.rotate(FOR_ACCESS)
    second, _ = await services.tokens.issue(bearer(), SCOPES, lifetime=HOUR)
    clock.travel(timedelta(seconds=3))
    assert await other.read(second)


async def test_processes_that_start_together_make_one_key(services: Services) -> None:
    several = [SigningKeys(services.db, services.keyring) for _ in range(4)]
    kids = {key.kid for key in await asyncio.gather(*(each.signing(FOR_ACCESS) for each in several))}
    assert len(kids) == 1


async def test_the_jwks_holds_no_private_part(services: Services) -> None:
    keys = (await services.keys.jwks())["keys"]
    assert {key["alg"] for key in keys} == {"ES256", "RS256"}
    assert not any({"d", "p", "q", "k"} & set(key) for key in keys)


async def test_keys_are_replaced_when_they_are_old(services: Services) -> None:
    first = (await services.keys.signing(FOR_ACCESS)).kid
    await services.keys.rotate_old()
    assert (await services.keys.signing(FOR_ACCESS)).kid == first
    clock.travel(timedelta(days=91))
    await services.keys.rotate_old()
    assert (await services.keys.signing(FOR_ACCESS)).kid != first
    assert len((await services.keys.jwks())["keys"]) == 4
