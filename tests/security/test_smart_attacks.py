"""Attacks on the authorization server that are not one clause of one standard (RFC 9700, RFC 6819; issue 4)."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.conformance.smart.driver import CALLBACK, App, Browser, Form, es384, register, returned
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer


@pytest.fixture
async def browser(client: httpx.AsyncClient) -> Browser:
    return Browser(client)


@pytest.fixture
async def app(server: RunningServer) -> App:
    return await register(server)


@pytest.fixture
async def ada(people: People, browser: Browser) -> Person:
    person = await people.patient()
    await browser.sign_in(person)
    return person


async def test_a_client_id_that_looks_like_a_user(
    server: RunningServer, browser: Browser, people: People, ada: Person
) -> None:
    """RFC 9700, 4.15: `sub` of a client's own token is its client_id, which nobody chooses; it is no user's token."""
    wanted = str(ada.account_id)
    made = await browser.client.post(
        "/oauth/register", json={"client_id": wanted, "redirect_uris": [CALLBACK]}
    )
    assert made.json()["client_id"] != wanted
    organization = await people.backend()
    backend = await register(
        server, "backend", es384(), scope="system/*.cruds", organization_id=organization.organization_id
    )
    form = {"grant_type": "client_credentials", "scope": "system/*.rs", **backend.proof()}
    token = (await browser.client.post("/oauth/token", data=form)).json()["access_token"]
    browser.client.cookies.clear()
    answer = await browser.client.get("/oauth/userinfo", headers=bearer(token))
    assert answer.status_code == 401, "a system is no user"
    answer = await browser.client.get(f"/fhir/Patient/{ada.fhir_id}", headers=bearer(token))
    assert answer.status_code == 404
    form |= {"scope": "patient/*.rs user/*.rs openid fhirUser", **backend.proof()}
    assert (await browser.client.post("/oauth/token", data=form)).json()["error"] == "invalid_scope"


INJECTED = '"><script>alert(1)</script>\r\nSet-Cookie: a=b'


@pytest.mark.parametrize(
    "name", ["scope", "response_type", "code_challenge", "aud", "prompt", "max_age", "request"]
)
async def test_an_error_repeats_nothing_that_was_sent(
    app: App, browser: Browser, ada: Person, name: str
) -> None:
    """Error text injection (RFC 9700, 4.11; RFC 6749, 4.1.2.1): the description is ours alone."""
    answer = await browser.ask(app, **{name: INJECTED})
    if answer.status_code == 303:
        assert "\r" not in answer.headers["location"]
        assert "set-cookie" not in answer.headers
        back = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        assert "script" not in back.get("error_description", "")
        assert set(back) <= {"error", "error_description", "state", "iss"}
    assert "<script>alert" not in answer.text


async def test_a_state_is_carried_and_never_read(app: App, browser: Browser, ada: Person) -> None:
    answer = await browser.ask(app, state=INJECTED, scope="banana")
    assert "\r" not in answer.headers["location"]
    assert dict(parse_qsl(urlsplit(answer.headers["location"]).query))["state"] == INJECTED


@pytest.mark.parametrize(
    "form",
    [
        {"grant_type": INJECTED},
        {"grant_type": "authorization_code", "client_id": INJECTED},
        {"grant_type": "refresh_token", "refresh_token": INJECTED, "client_id": "x"},
        {"grant_type": "client_credentials", "client_assertion": INJECTED, "client_assertion_type": INJECTED},
    ],
)
async def test_the_token_endpoint_repeats_nothing(client: httpx.AsyncClient, form: dict[str, str]) -> None:
    answer = await client.post("/oauth/token", data=form)
    assert answer.status_code in (400, 401)
    assert "<script" not in answer.text
    assert answer.headers["content-type"].startswith("application/json")


async def test_a_planted_session_is_not_signed_in(
    app: App, browser: Browser, people: People, server: RunningServer
) -> None:
    """Session fixation: the cookie of before is worth nothing after the sign-in, for the one who planted it neither."""
    attacker, victim = await people.patient("At Tacker"), await people.patient("Vic Tim")
    await browser.sign_in(attacker)
    planted = dict(browser.client.cookies)
    page = await browser.client.get("/sign-in?again=1&next=/oauth/manage")
    fields = dict(Form(page.text).fields) | {"email": victim.email, "password": victim.password}
    assert (await browser.client.post("/sign-in", data=fields)).status_code == 303
    assert dict(browser.client.cookies) != planted
    async with httpx.AsyncClient(base_url=server.url, cookies=planted) as other:
        answer = await other.get("/oauth/authorize", params=app.parameters())
        assert answer.headers["location"].startswith("/sign-in"), "the planted session ended"


async def test_two_tabs_with_two_users(app: App, browser: Browser, people: People, ada: Person) -> None:
    """A page made for one is decided by nobody else, with whosever record is in it."""
    page = await browser.ask(app)
    other = await people.patient("Other One")
    await browser.sign_in(other)
    refused = await browser.decide(page)
    assert refused.status_code == 403
    mine = await browser.ask(app)
    answer = await browser.decide(mine, patient=ada.fhir_id)
    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_secrets_of_one_kind_are_not_of_another(app: App, browser: Browser, ada: Person) -> None:
    """A code, a refresh token, an id_token are no access tokens; an access token refreshes nothing."""
    code = await browser.allow(app)
    tokens = (await browser.client.post("/oauth/token", data=app.exchange(code))).json()
    browser.client.cookies.clear()
    for word in (code, tokens["refresh_token"], tokens["id_token"], tokens["access_token"][:-4] + "AAAA"):
        answer = await browser.client.get(f"/fhir/Patient/{ada.fhir_id}", headers=bearer(word))
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    for word in (tokens["access_token"], tokens["id_token"], code):
        refused = await browser.client.post("/oauth/token", data=app.refresh(word))
        assert refused.json()["error"] == "invalid_grant"


async def test_guessing_codes_spends_nothing(app: App, browser: Browser, ada: Person) -> None:
    """Brute force of codes: 256 random bits; wrong ones neither tell nor hinder."""
    code = await browser.allow(app)
    bodies = set()
    for _ in range(20):
        guess = secrets.token_urlsafe(32)
        answer = await browser.client.post("/oauth/token", data=app.exchange(guess))
        assert answer.status_code == 400
        bodies.add(answer.text)
    assert len(bodies) == 1
    assert (await browser.client.post("/oauth/token", data=app.exchange(code))).status_code == 200


async def test_guessing_passwords_before_consent_is_slowed_down(
    app: App, browser: Browser, people: People
) -> None:
    """Brute force of passwords: after a few, even the right one waits."""
    person = await people.patient()
    asked = await browser.ask(app)
    page = await browser.client.get(asked.headers["location"])
    fields = dict(Form(page.text).fields) | {"email": person.email}
    for _ in range(12):
        await browser.client.post("/sign-in", data=fields | {"password": "not this one at all"})
    answer = await browser.client.post("/sign-in", data=fields | {"password": person.password})
    assert answer.status_code == 422


async def test_mix_up(app: App, browser: Browser, ada: Person) -> None:
    """RFC 9207, 2.4: every answer names its issuer, as the metadata does; codes of another server are nothing here."""
    issuer = (await browser.client.get("/.well-known/oauth-authorization-server")).json()["issuer"]
    for answer in (
        returned(await browser.decide(await browser.ask(app))),
        returned(await browser.decide(await browser.ask(app), "deny")),
        returned(await browser.ask(app, scope="banana")),
    ):
        assert answer["iss"] == issuer
    foreign = await browser.client.post("/oauth/token", data=app.exchange("a-code-of-another-server"))
    assert foreign.json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "scope",
    ["patient/*.rs", "user/Patient.rs", "patient/Patient.cruds", "openid offline_access profile patient/Patient.r",
     "patient/ImagingStudy.rs", "patient/ImagingStudy.rs?modality=MR", "launch/encounter"],
)  # fmt: skip
async def test_a_refresh_widens_nothing(app: App, browser: Browser, ada: Person, scope: str) -> None:
    """RFC 6749, 6: neither by type, verb, context, filter nor word; and asking spends nothing."""
    granted = "launch/patient openid offline_access patient/Patient.r patient/ImagingStudy.rs?modality=CT"
    tokens = await browser.connect(app.with_scope(granted))
    form = app.refresh(tokens["refresh_token"], scope=scope)
    refused = await browser.client.post("/oauth/token", data=form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")
    part = app.refresh(tokens["refresh_token"], scope="patient/Patient.r")
    again = (await browser.client.post("/oauth/token", data=part)).json()
    assert again["scope"] == "patient/Patient.r"
    headers = bearer(again["access_token"])
    assert (await browser.client.get("/dicomweb/studies", headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "place",
    [
        {"headers": {}, "params": {"access_token": ""}},
        {"headers": {"Cookie": "access_token="}},
    ],
    ids=["query", "cookie"],
)
async def test_a_token_is_taken_from_the_header_only(
    app: App, browser: Browser, ada: Person, place: dict[str, Any]
) -> None:
    """RFC 9700, 4.3.2: what stands in addresses lies in logs and referrers."""
    token = (await browser.connect(app))["access_token"]
    browser.client.cookies.clear()
    headers = {name: value + token for name, value in place["headers"].items()}
    params = dict.fromkeys(place.get("params", {}), token)
    answer = await browser.client.get(f"/fhir/Patient/{ada.fhir_id}", headers=headers, params=params)
    assert answer.status_code == 401


async def test_no_page_of_a_decision_can_be_framed_or_read(app: App, browser: Browser, ada: Person) -> None:
    """Clickjacking (RFC 9700, 4.16), and CORS: a page where a person decides is read by no other origin."""
    tokens = await browser.connect(app)
    assert tokens
    for path in ("/oauth/manage", "/oauth/developers", f"/oauth/launch?patient={ada.fhir_id}"):
        answer = await browser.client.get(path, headers={"Origin": "https://app.example"})
        assert answer.status_code == 200, path
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in answer.headers, path
