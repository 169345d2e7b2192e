"""Backend services: private_key_jwt and client_credentials.

SMART App Launch 2.2, "Backend Services" and "Client authentication: asymmetric"; RFC 7523.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from joserfc.util import urlsafe_b64encode

from server.core import clock, outbound
from tests.conftest import RunningServer
from tests.factories import People

from .driver import App, es384, public, register, rs384

SCOPE = "system/*.rs"


def form(app: App, assertion: str | None = None, **changed: str | None) -> dict[str, str]:
    usual: dict[str, str | None] = {"grant_type": "client_credentials", "scope": SCOPE, **app.proof()}
    if assertion is not None:
        usual["client_assertion"] = assertion
    return {name: value for name, value in (usual | changed).items() if value is not None}


async def test_a_backend_service_gets_a_short_token(backend: App, client: httpx.AsyncClient) -> None:
    answer = await client.post("/oauth/token", data=form(backend))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert 0 < body["expires_in"] <= 300
    assert body["scope"] == SCOPE
    assert "refresh_token" not in body
    token = await backend.server.services.tokens.read(body["access_token"])
    assert (token.bearer.kind, token.bearer.client_id) == ("client", backend.id)
    assert token.bearer.organization_id


@pytest.mark.parametrize(
    "changed",
    [
        {"grant_type": "not_a_grant_type"},
        {"grant_type": None},
        {"client_assertion_type": "not_an_assertion_type"},
        {"client_assertion_type": None},
        {"client_assertion": None},
        {"client_assertion": "a.b.c"},
        {"client_assertion": "..."},
        {"client_assertion": ""},
        {"client_assertion": "é"},
        {"scope": None},
        {"scope": "patient/*.rs"},
        {"scope": "banana"},
    ],
)
async def test_a_bad_request_is_refused(
    backend: App, client: httpx.AsyncClient, changed: dict[str, str | None]
) -> None:
    answer = await client.post("/oauth/token", data=form(backend, **changed))
    assert answer.status_code in (400, 401)
    assert answer.json()["error"]
    assert "access_token" not in answer.json()


def soon(seconds: float) -> float:
    return int(clock.now().timestamp() + seconds)


CLAIMS: list[dict[str, Any]] = [
    {"iss": None},
    {"iss": "someone-else"},
    {"sub": None},
    {"sub": "someone-else"},
    {"sub": 7},
    {"aud": None},
    {"aud": "https://elsewhere.example/oauth/token"},
    {"exp": None},
    {"exp": "soon"},
    {"exp": 10**30},
    {"jti": None},
    {"jti": ""},
    {"jti": 7},
    {"jti": "x" * 300},
    {"jti": "a\0b"},
]


@pytest.mark.parametrize("changed", CLAIMS)
async def test_a_wrong_claim_is_refused(
    backend: App, client: httpx.AsyncClient, changed: dict[str, Any]
) -> None:
    answer = await client.post("/oauth/token", data=form(backend, backend.assertion(**changed)))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_the_audience_is_the_token_endpoint_alone(backend: App, client: httpx.AsyncClient) -> None:
    """Decision 18: a string, or an array of that one string."""
    url = f"{backend.server.url}/oauth/token"
    for aud, status in (([url], 200), ([url, "https://elsewhere.example"], 401), (backend.server.url, 401)):
        answer = await client.post("/oauth/token", data=form(backend, backend.assertion(aud=aud)))
        assert answer.status_code == status, aud


@pytest.mark.parametrize("seconds", [-1, 0, 400, 3600])
async def test_an_assertion_lives_five_minutes_at_most(
    backend: App, client: httpx.AsyncClient, seconds: int
) -> None:
    answer = await client.post("/oauth/token", data=form(backend, backend.assertion(exp=soon(seconds))))
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        {"kid": None},
        {"kid": "unknown"},
        {"typ": None},
        {"typ": "at+jwt"},
        {"jku": "https://elsewhere.example/jwks"},
        {"jwk": {"kty": "oct"}},
        {"crit": ["exp"]},
    ],
)
async def test_a_wrong_header_is_refused(
    backend: App, client: httpx.AsyncClient, header: dict[str, Any]
) -> None:
    head = {
        "alg": "RS384" if backend.key.key_type == "RSA" else "ES384",
        "kid": backend.key.kid,
        "typ": "JWT",
    }
    given = {name: value for name, value in (head | header).items() if value is not None}
    assertion = _sign_by_hand(backend, given)
    answer = await client.post("/oauth/token", data=form(backend, assertion))
    assert answer.status_code == 401


async def test_a_reused_jti_is_refused(backend: App, client: httpx.AsyncClient) -> None:
    assertion = backend.assertion()
    answers = await asyncio.gather(
        *(client.post("/oauth/token", data=form(backend, assertion)) for _ in range(3))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401]


async def test_alg_none_is_refused(backend: App, client: httpx.AsyncClient) -> None:
    assertion = backend.assertion()
    body = assertion.split(".")[1]
    head = urlsafe_b64encode(orjson.dumps({"alg": "none", "typ": "JWT", "kid": backend.key.kid})).decode()
    for forged in (f"{head}.{body}.", f"{assertion.rpartition('.')[0]}."):
        assert (await client.post("/oauth/token", data=form(backend, forged))).status_code == 401


async def test_hs256_with_the_public_key_is_refused(backend: App, client: httpx.AsyncClient) -> None:
    claims = orjson.loads(_part(backend.assertion(), 1))
    secret = OctKey.import_key(orjson.dumps(backend.key.as_dict(private=False)))
    for alg in ("HS256", "HS384"):
        head = {"alg": alg, "kid": backend.key.kid, "typ": "JWT"}
        forged = jwt.encode(head, claims, secret, algorithms=[alg])
        assert (await client.post("/oauth/token", data=form(backend, forged))).status_code == 401


async def test_another_key_with_the_same_kid_is_refused(backend: App, client: httpx.AsyncClient) -> None:
    other = es384(backend.key.kid) if backend.key.key_type == "EC" else rs384(backend.key.kid)
    forged = backend.assertion(key=other)
    assert (await client.post("/oauth/token", data=form(backend, forged))).status_code == 401


async def test_a_secret_is_no_proof_of_a_backend(server: RunningServer, client: httpx.AsyncClient) -> None:
    app = await register(server, "confidential-symmetric")
    data = {"grant_type": "client_credentials", "scope": SCOPE}
    answer = await client.post("/oauth/token", data=data, auth=app.auth)
    assert answer.status_code in (400, 401)


async def test_a_backend_gets_no_more_than_was_agreed_on(
    server: RunningServer, people: People, client: httpx.AsyncClient
) -> None:
    app = await register(server, "backend", es384(), scope="system/ImagingStudy.cu")
    answer = await client.post("/oauth/token", data=form(app, scope="system/*.cruds"))
    assert answer.json()["scope"] == "system/ImagingStudy.cu"
    none = await register(server, "backend", es384(), scope="")
    assert (await client.post("/oauth/token", data=form(none))).json()["error"] == "invalid_scope"


async def test_keys_by_address(server: RunningServer, client: httpx.AsyncClient) -> None:
    """An operator may name a private address; keys are fetched again when the client has rotated."""
    keys = [es384("one")]
    served, address = await _serve(lambda: public(*keys))
    async with served:
        app = await register(server, "backend", keys[0], scope="system/*.rs", jwks_uri=address)
        assert (await client.post("/oauth/token", data=form(app))).status_code == 200
        header = {"jku": address}
        assert (await client.post("/oauth/token", data=form(app, app.assertion(header)))).status_code == 200
    elsewhere = {"jku": address + "?x"}
    assert (await client.post("/oauth/token", data=form(app, app.assertion(elsewhere)))).status_code == 401


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/jwks",
        "https://127.0.0.1/jwks",
        "https://localhost/jwks",
        "https://[::1]/jwks",
        "https://[::ffff:127.0.0.1]/jwks",
        "https://2130706433/jwks",
        "https://0x7f.1/jwks",
        "https://0/jwks",
        "https://10.0.0.1/jwks",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00::1]/jwks",
        "https://[64:ff9b::7f00:1]/jwks",
        "https://user@example.com/jwks",
        "ftp://example.com/jwks",
        "file:///etc/passwd",
        "https://",
        "not an address",
    ],
)
async def test_a_fetched_address_is_never_a_private_one(url: str) -> None:
    """SSRF, in whatever spelling (decision 21)."""
    with pytest.raises(outbound.Refused):
        await outbound.get(url, accept="application/json")


def _part(token: str, number: int) -> bytes:
    from joserfc.util import urlsafe_b64decode

    return urlsafe_b64decode(token.split(".")[number].encode())


def _sign_by_hand(app: App, head: dict[str, Any]) -> str:
    """A signature over a header that joserfc would not write."""
    from joserfc.jws import JWSRegistry

    claims = _part(app.assertion(), 1)
    signed = f"{urlsafe_b64encode(orjson.dumps(head)).decode()}.{urlsafe_b64encode(claims).decode()}"
    algorithm = JWSRegistry(algorithms=[head["alg"]]).get_alg(head["alg"])
    signature = algorithm.sign(signed.encode(), app.key)
    return f"{signed}.{urlsafe_b64encode(signature).decode()}"


async def _serve(content: Any) -> tuple[asyncio.Server, str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = orjson.dumps(content())
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
