"""Dynamic client registration (RFC 7591, 7592)."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.conftest import RunningServer
from tests.factories import People, Person, bearer

from .driver import CALLBACK, App, Browser, es384, public

GOOD = {"client_name": "My App", "redirect_uris": [CALLBACK]}


async def post(client: httpx.AsyncClient, **changed: Any) -> httpx.Response:
    return await client.post("/oauth/register", json=GOOD | changed)


async def test_an_app_registers_and_is_unverified(
    server: RunningServer, client: httpx.AsyncClient, browser: Browser, patient: Person
) -> None:
    answer = await post(client)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["token_endpoint_auth_method"] == "none"
    assert "client_secret" not in body
    assert "system/" not in body["scope"]
    app = App(server, body["client_id"])
    assert "Not verified" in (await browser.ask(app)).text
    assert (await browser.connect(app))["patient"] == patient.fhir_id


async def test_a_confidential_app_gets_a_secret(
    server: RunningServer, client: httpx.AsyncClient, browser: Browser, patient: Person
) -> None:
    body = (await post(client, token_endpoint_auth_method="client_secret_basic")).json()
    app = App(server, body["client_id"], body["client_secret"])
    assert (await browser.connect(app))["patient"] == patient.fhir_id


async def test_an_app_with_keys(
    server: RunningServer, client: httpx.AsyncClient, browser: Browser, patient: Person
) -> None:
    key = es384()
    body = (await post(client, token_endpoint_auth_method="private_key_jwt", jwks=public(key))).json()
    app = App(server, body["client_id"], key=key)
    assert (await browser.connect(app))["patient"] == patient.fhir_id


@pytest.mark.parametrize(
    "changed",
    [
        {"redirect_uris": []},
        {"redirect_uris": "https://app.example/"},
        {"redirect_uris": ["http://app.example/"]},
        {"redirect_uris": ["https://app.example/#x"]},
        {"redirect_uris": ["https://*.example/"]},
        {"redirect_uris": ["https://user:p@app.example/"]},
        {"redirect_uris": ["javascript:alert(1)"]},
        {"redirect_uris": ["data:text/html,x"]},
        {"redirect_uris": ["/callback"]},
        {"redirect_uris": ["https://app.example;script-src'unsafe-inline'/"]},
        {"redirect_uris": ["https://app.example,evil.example/"]},
        {"initiate_login_uri": "https://app.example;frame-ancestors/"},
        {"redirect_uris": [7]},
        {"client_name": "x" * 200},
        {"client_name": "a\u202eb"},
        {"client_name": 7},
        {"grant_types": ["client_credentials", "authorization_code"]},
        {"grant_types": ["implicit"]},
        {"response_types": ["token"]},
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"token_endpoint_auth_method": ["none"]},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"jwks": {"keys": [{"kty": "oct", "k": "AAAA", "kid": "x"}]}},
        {"jwks": "x"},
        {"jwks_uri": "http://app.example/jwks"},
        {"logo_uri": "http://app.example/logo.png"},
        {"scope": "banana"},
    ],
)
async def test_what_cannot_be_is_refused(client: httpx.AsyncClient, changed: dict[str, Any]) -> None:
    answer = await post(client, **changed)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"] in ("invalid_redirect_uri", "invalid_client_metadata")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"\xff"])
async def test_what_is_no_registration_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.post("/oauth/register", content=body)).status_code == 400


async def test_a_registration_never_gets_system_scopes(client: httpx.AsyncClient) -> None:
    body = (await post(client, scope="system/*.cruds patient/*.rs")).json()
    assert body["scope"] == "patient/*.rs"


async def test_an_app_takes_its_registration_back(
    server: RunningServer, client: httpx.AsyncClient, browser: Browser, patient: Person
) -> None:
    """RFC 7592, 2.3."""
    body = (await post(client)).json()
    app, address = App(server, body["client_id"]), body["registration_client_uri"]
    tokens = await browser.connect(app)
    assert (await client.get(address, headers=bearer("made up"))).status_code == 401
    assert (await client.delete(address)).status_code == 401
    mine = bearer(body["registration_access_token"])
    assert (await client.get(address, headers=mine)).json()["client_id"] == app.id
    assert (await client.delete(address, headers=mine)).status_code == 204
    assert (await client.get(address, headers=mine)).status_code == 401
    assert (await browser.ask(app)).status_code == 400
    refreshed = await client.post("/oauth/token", data=app.refresh(tokens["refresh_token"]))
    assert refreshed.status_code in (400, 401)


async def test_a_registration_is_replaced(
    server: RunningServer, client: httpx.AsyncClient, browser: Browser, patient: Person
) -> None:
    """RFC 7592, 2.2 and 3: the whole of it anew; the token that manages it is another one from then on."""
    body = (await post(client, client_uri="https://maker.example/", contacts=["a@maker.example"])).json()
    app, address = App(server, body["client_id"]), body["registration_client_uri"]
    assert (await browser.connect(app))["patient"] == patient.fhir_id
    first = bearer(body["registration_access_token"])
    shown = (await client.get(address, headers=first)).json()
    assert shown["registration_client_uri"] == address
    assert shown["registration_access_token"] == body["registration_access_token"]
    assert shown["client_uri"] == "https://maker.example/"
    wanted = GOOD | {"client_id": app.id, "client_name": "Renamed", "scope": "patient/Patient.rs"}
    changed = await client.put(address, headers=first, json=wanted)
    assert changed.status_code == 200, changed.text
    now = changed.json()
    assert (now["client_id"], now["client_name"], now["scope"]) == (app.id, "Renamed", "patient/Patient.rs")
    assert "client_uri" not in now, "what is left out is gone"
    assert now["registration_access_token"] != body["registration_access_token"]
    assert (await client.get(address, headers=first)).status_code == 401, "rotated"
    assert (await client.get(address, headers=bearer(now["registration_access_token"]))).status_code == 200
    page = await browser.ask(app.with_scope("launch/patient patient/Patient.rs patient/ImagingStudy.rs"))
    assert "Renamed" in page.text
    assert 'value="patient/ImagingStudy.rs"' not in page.text


async def test_a_registration_that_shrinks_shrinks_what_is_refreshed(
    server: RunningServer, client: httpx.AsyncClient, browser: Browser, patient: Person
) -> None:
    body = (await post(client)).json()
    app, address = App(server, body["client_id"]), body["registration_client_uri"]
    tokens = await browser.connect(app)
    wanted = GOOD | {"client_id": app.id, "scope": "launch/patient offline_access patient/Patient.rs"}
    assert (
        await client.put(address, headers=bearer(body["registration_access_token"]), json=wanted)
    ).status_code == 200
    again = (await client.post("/oauth/token", data=app.refresh(tokens["refresh_token"]))).json()
    assert again["scope"] == "launch/patient offline_access patient/Patient.rs"


async def test_an_app_becomes_confidential(client: httpx.AsyncClient) -> None:
    """A secret where one is needed and there was none; kept where there is one."""
    body = (await post(client)).json()
    address = body["registration_client_uri"]
    wanted = GOOD | {"client_id": body["client_id"], "token_endpoint_auth_method": "client_secret_post"}
    one = (await client.put(address, headers=bearer(body["registration_access_token"]), json=wanted)).json()
    assert one["client_secret"]
    assert one["token_endpoint_auth_method"] == "client_secret_post"
    wanted |= {"client_secret": one["client_secret"]}
    two = await client.put(address, headers=bearer(one["registration_access_token"]), json=wanted)
    assert two.status_code == 200, two.text
    assert "client_secret" not in two.json()


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "another"},
        {"client_id": None},
        {"client_secret": "chosen"},
        {"registration_access_token": "mine"},
        {"registration_client_uri": "https://elsewhere.example/"},
        {"redirect_uris": ["http://elsewhere.example/"]},
        {"grant_types": ["client_credentials"]},
        {"scope": "banana"},
        {"jwks_uri": "http://127.0.0.1/keys"},
    ],
)
async def test_a_replacement_that_cannot_be_changes_nothing(
    client: httpx.AsyncClient, changed: dict[str, Any]
) -> None:
    body = (await post(client)).json()
    address, mine = body["registration_client_uri"], bearer(body["registration_access_token"])
    wanted = {k: v for k, v in (GOOD | {"client_id": body["client_id"]} | changed).items() if v is not None}
    refused = await client.put(address, headers=mine, json=wanted)
    assert refused.status_code == 400, refused.text
    assert "error" in refused.json()
    assert (await client.get(address, headers=mine)).json()["redirect_uris"] == [CALLBACK]


async def test_a_registration_is_managed_by_its_own_token_only(client: httpx.AsyncClient) -> None:
    one, two = (await post(client)).json(), (await post(client)).json()
    other = bearer(two["registration_access_token"])
    for method in ("GET", "PUT", "DELETE"):
        answer = await client.request(
            method, one["registration_client_uri"], headers=other, json=GOOD | {"client_id": one["client_id"]}
        )
        assert answer.status_code == 401, method


async def test_a_provider_registers_a_backend_service_of_its_own_organization(
    server: RunningServer, browser: Browser, people: People
) -> None:
    provider, key = await people.provider(), es384()
    metadata = {
        "client_name": "PACS",
        "grant_types": ["client_credentials"],
        "scope": "system/ImagingStudy.cruds patient/*.rs",
        "jwks": public(key),
    }
    anonymous = await browser.client.post("/oauth/register", json=metadata)
    assert anonymous.status_code == 403
    await browser.sign_in(provider)
    forged = await browser.client.post("/oauth/register", json=metadata)
    assert forged.status_code == 403, "a cookie alone does not register"
    page = await browser.client.get("/oauth/manage")
    token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    headers = {"X-CSRF-Token": token or await _csrf(server, provider)}
    answer = await browser.client.post("/oauth/register", json=metadata, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.json()["scope"] == "system/ImagingStudy.cruds"
    app = App(server, answer.json()["client_id"], key=key)
    form = {"grant_type": "client_credentials", "scope": "system/ImagingStudy.cud", **app.proof()}
    issued = (await browser.client.post("/oauth/token", data=form)).json()
    read = await server.services.tokens.read(issued["access_token"])
    assert read.bearer.organization_id == provider.fhir_id


async def test_a_registered_app_is_no_open_redirector(
    server: RunningServer, client: httpx.AsyncClient
) -> None:
    """RFC 9700, 4.11.2: nobody is signed in, and the request was made to fail."""
    app = App(server, (await post(client)).json()["client_id"])
    answer = await client.get("/oauth/authorize", params=app.parameters(scope="banana"))
    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_a_developer_registers_by_the_form(
    server: RunningServer, client: httpx.AsyncClient, browser: Browser, patient: Person
) -> None:
    page = await client.get("/oauth/developers")
    assert f"{server.url}/fhir/.well-known/smart-configuration" in page.text
    wrong = {"name": "<i>My app</i>", "redirect_uris": "http://elsewhere.example/", "type": "confidential"}
    refused = await client.post("/oauth/developers", data=wrong)
    assert refused.status_code == 422
    assert "http://elsewhere.example/" in refused.text, "what was typed is kept"
    assert "<i>" not in refused.text
    done = await client.post("/oauth/developers", data={**wrong, "name": "My app", "redirect_uris": CALLBACK})
    assert done.status_code == 201
    client_id, secret = re.findall(r"<dd><code>([^<]+)</code></dd>", done.text)[:2]
    assert (await browser.connect(App(server, client_id, secret)))["patient"] == patient.fhir_id


async def test_a_flood_of_registrations_is_slowed_down(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.oauth.register.MOST_IN_AN_HOUR", 0)
    answer = await post(client)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


async def _csrf(server: RunningServer, person: Person) -> str:
    from server.accounts.sessions import sessions_of

    return (await sessions_of(server.services.db, person.account_id))[0].csrf_token
