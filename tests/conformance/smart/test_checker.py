"""What outside checkers ask and other tests here do not: origins at each endpoint, mixed proofs, keys turned over."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet

from server.access.keys import FOR_ACCESS, FOR_IDENTITY
from tests.conftest import RunningServer
from tests.factories import Person, bearer

from .driver import App, Browser, es384, register

ORIGIN = {"Origin": "https://app.example"}  # of the registered address
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


async def test_origins_of_registered_apps(app: App, browser: Browser, patient: Person) -> None:
    """smart.md, CORS: token and resources for registered origins, refusals too; never with cookies."""
    tokens, client = await browser.connect(app), browser.client
    mine = bearer(tokens["access_token"])
    for path in ("/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/par", "/oauth/register"):
        asked = await client.options(path, headers=ORIGIN | ASKED)
        refused = await client.post(path, data={"token": "x"}, headers=ORIGIN)
        for answer in (asked, refused):
            assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"], path
            assert "access-control-allow-credentials" not in answer.headers
            assert "Origin" in answer.headers["vary"]
        assert refused.status_code in (400, 401), path
        assert refused.json().keys() == {"error", "error_description"}, path
        assert (refused.headers["cache-control"], refused.headers["pragma"]) == ("no-store", "no-cache"), path
    for path, headers in (
        (f"/fhir/Patient/{patient.fhir_id}", mine),
        ("/fhir/Patient/nobody", mine),
        ("/fhir/Patient", {}),
        ("/dicomweb/studies", mine),
        ("/oauth/userinfo", mine),
    ):
        answer = await client.get(path, headers=ORIGIN | headers)
        assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"], path
        exposed = answer.headers["access-control-expose-headers"]
        assert {"ETag", "Location", "WWW-Authenticate"} <= set(exposed.split(", ")), path


async def test_without_a_state_none_comes_back(app: App, browser: Browser, patient: Person) -> None:
    """RFC 6749, 4.1.2: required if it was present; an address with a query of its own keeps it."""
    callback = "https://app.example/callback?tenant=a%2Fb"
    other = await register(app.server, redirect_uris=(callback,))
    page = await browser.ask(other, state=None, redirect_uri=callback)
    location = (await browser.decide(page)).headers["location"]
    assert location.startswith(f"{callback}&")
    assert parse_qs(urlsplit(location).query).keys() == {"tenant", "code", "iss"}


async def test_a_client_proves_itself_in_one_way(
    server: RunningServer, browser: Browser, patient: Person
) -> None:
    """RFC 6749, 2.3: one method a request, and for itself; either way of sending a secret is known (2.3.1)."""
    app, other = [await register(server, "confidential-symmetric") for _ in range(2)]
    assert app.secret
    in_form = {"client_id": app.id, "client_secret": app.secret}
    signer = await register(server, "confidential-asymmetric", es384())
    code = await browser.allow(app)
    for form, auth in (
        (in_form, app.auth),
        (in_form, other.auth),
        ({"client_id": other.id}, app.auth),
        (in_form | signer.proof(), None),
        ({"client_id": app.id}, None),
        ({"client_id": app.id, "client_secret": ""}, None),
        (signer.proof() | {"client_id": app.id}, None),
    ):
        answer = await browser.client.post("/oauth/token", data=app.exchange(code) | form, auth=auth)
        assert answer.status_code in (400, 401), (form.keys(), answer.text)
        assert answer.json()["error"] in ("invalid_request", "invalid_client"), form.keys()
    done = await browser.client.post("/oauth/token", data=app.exchange(code) | in_form)
    assert done.status_code == 200, "what was refused before it was proved spent nothing"


async def test_keys_are_turned_over(
    app: App, browser: Browser, patient: Person, server: RunningServer
) -> None:
    """OpenID Connect Core, 10.1.1: what was signed before stays good; what is signed now names the new key."""
    before = await browser.connect(app)
    for algorithm in (FOR_ACCESS, FOR_IDENTITY):
        await server.services.keys.rotate(algorithm)
    after = await browser.connect(app)
    keys = KeySet.import_key_set((await browser.client.get("/oauth/jwks")).json())
    kids = []
    for tokens in (before, after):
        kids.append(jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).header["kid"])
        answer = await browser.client.get(
            f"/fhir/Patient/{patient.fhir_id}", headers=bearer(tokens["access_token"])
        )
        assert answer.status_code == 200
    assert kids[0] != kids[1]
    assert all("d" not in key for key in (await browser.client.get("/oauth/jwks")).json()["keys"])


async def test_what_introspection_says(server: RunningServer, browser: Browser, patient: Person) -> None:
    """RFC 7662, 2.2; SMART App Launch 2.2, "Token introspection": what the token response said, and no more."""
    app = await register(server, "confidential-symmetric")
    tokens = await browser.connect(app)
    answer = await browser.client.post(
        "/oauth/introspect", data={"token": tokens["access_token"]}, auth=app.auth
    )
    said = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert said["active"] is True
    assert set(said["scope"].split()) == set(tokens["scope"].split())
    assert (said["client_id"], said["patient"], said["iss"]) == (app.id, patient.fhir_id, server.url)
    assert isinstance(said["exp"], int)
    assert said["fhirUser"] == f"{server.url}/fhir/Patient/{patient.fhir_id}"
    identity = jwt.decode(
        tokens["id_token"],
        KeySet.import_key_set((await browser.client.get("/oauth/jwks")).json()),
        algorithms=["RS256"],
    )
    assert said["sub"] == identity.claims["sub"]
    read = await browser.client.get(said["fhirUser"], headers=bearer(tokens["access_token"]))
    assert read.json()["id"] == patient.fhir_id
    hint = {"token": tokens["refresh_token"], "token_type_hint": "access_token"}  # a hint only (2.1)
    assert (await browser.client.post("/oauth/introspect", data=hint, auth=app.auth)).json()["active"] is True
    revoked = await browser.client.post("/oauth/revoke", data=hint, auth=app.auth)
    assert (revoked.status_code, revoked.content) == (200, b"")
    for token in (tokens["access_token"], tokens["refresh_token"], "made up", tokens["id_token"]):
        answer = await browser.client.post("/oauth/introspect", data={"token": token}, auth=app.auth)
        assert answer.json() == {"active": False}
    async with httpx.AsyncClient(base_url=server.url) as nobody:
        assert (await nobody.post("/oauth/introspect", data={"token": "x"})).status_code == 401
