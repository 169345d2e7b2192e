"""Standalone launch: from the app's request to the token, and what may go wrong on the way.

SMART App Launch 2.2, "App launch: standalone"; RFC 6749, 4.1; RFC 7636; RFC 9207.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.conftest import RunningServer
from tests.factories import People, Person

from .driver import CALLBACK, App, Browser, Form, challenge_of, register, returned


async def test_a_launch_ends_with_a_token(any_app: App, browser: Browser, patient: Person) -> None:
    code = await browser.allow(any_app)
    answer = await browser.client.post("/oauth/token", data=any_app.exchange(code), auth=any_app.auth)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert isinstance(body["access_token"], str)
    assert 0 < body["expires_in"] <= 3600
    assert set(body["scope"].split()) == set(any_app.scope.split())
    assert body["patient"] == patient.fhir_id
    assert body["need_patient_banner"] is True
    assert body["smart_style_url"].startswith(any_app.server.url)
    assert {"id_token", "refresh_token"} <= set(body)


async def test_every_answer_names_the_issuer(app: App, browser: Browser, patient: Person) -> None:
    """RFC 9207: errors too."""
    allowed = returned(await browser.decide(await browser.ask(app)))
    denied = returned(await browser.decide(await browser.ask(app), "deny"))
    wrong = returned(await browser.ask(app, response_type="token"))
    assert {answer["iss"] for answer in (allowed, denied, wrong)} == {app.server.url}
    assert {answer["state"] for answer in (allowed, denied, wrong)} == {app.state}
    assert denied["error"] == "access_denied"
    assert "code" not in denied


async def test_state_comes_back_exactly(app: App, browser: Browser, patient: Person) -> None:
    state = "a b+c&d=e%20/ü"
    page = await browser.ask(app, state=state)
    assert returned(await browser.decide(page))["state"] == state


async def test_who_is_not_signed_in_signs_in_and_comes_back(
    app: App, browser: Browser, people: People
) -> None:
    answer = await browser.ask(app)
    assert answer.status_code == 303
    parts = urlsplit(answer.headers["location"])
    assert parts.path == "/sign-in"
    (back,) = parse_qs(parts.query)["next"]
    assert back.startswith("/oauth/authorize?")
    await browser.sign_in(await people.patient())
    assert "code" in returned(await browser.decide(await browser.client.get(back)))


async def test_post_starts_a_launch_too(app: App, browser: Browser, patient: Person) -> None:
    """SMART "authorize-post": from another site, so without a cookie of ours."""
    async with httpx.AsyncClient(base_url=app.server.url) as elsewhere:
        answer = await elsewhere.post("/oauth/authorize", data=app.parameters())
    assert answer.status_code == 303
    page = await browser.client.get(answer.headers["location"])
    assert returned(await browser.decide(page))["state"] == app.state


async def test_a_pushed_request(any_app: App, browser: Browser, patient: Person) -> None:
    """RFC 9126."""
    pushed = await browser.client.post(
        "/oauth/par", data=any_app.parameters(client_id=None) | any_app.proof(), auth=any_app.auth
    )
    assert pushed.status_code == 201, pushed.text
    uri = pushed.json()["request_uri"]
    page = await browser.client.get("/oauth/authorize", params={"client_id": any_app.id, "request_uri": uri})
    assert returned(await browser.decide(page))["state"] == any_app.state


async def test_a_pushed_request_is_its_own_clients(app: App, browser: Browser, patient: Person) -> None:
    other = await register(app.server)
    pushed = await browser.client.post("/oauth/par", data=app.parameters())
    params = {"client_id": other.id, "request_uri": pushed.json()["request_uri"]}
    answer = await browser.client.get("/oauth/authorize", params=params)
    assert answer.status_code == 400


async def test_deselected_scopes_are_not_in_the_token(app: App, browser: Browser, patient: Person) -> None:
    body = await browser.connect(app, untick=("patient/ImagingStudy.rs", "offline_access"))
    assert "patient/ImagingStudy.rs" not in body["scope"]
    assert "patient/Patient.rs" in body["scope"]
    assert "refresh_token" not in body


async def test_a_form_cannot_add_scopes(app: App, browser: Browser, patient: Person) -> None:
    page = await browser.ask(app)
    code = returned(await browser.decide(page, scope="patient/*.cruds"))
    assert code["error"] == "access_denied", "nothing that was asked for is ticked"


async def test_v1_scopes_come_back_as_v1(app: App, browser: Browser, patient: Person) -> None:
    scope = "launch/patient patient/Patient.read patient/ImagingStudy.read"
    assert (await browser.connect(app.with_scope(scope)))["scope"] == scope


async def test_unknown_scopes_are_left_out(app: App, browser: Browser, patient: Person) -> None:
    scope = "patient/Patient.rs patient/Patient.sr system/*.rs banana patient/Patient.rs?name=x"
    assert (await browser.connect(app.with_scope(scope)))["scope"] == "patient/Patient.rs"


async def test_a_client_gets_no_more_than_it_is_registered_for(
    server: RunningServer, browser: Browser, patient: Person
) -> None:
    app = await register(server, scope="launch/patient patient/ImagingStudy.rs")
    body = await browser.connect(app.with_scope("launch/patient openid patient/*.cruds"))
    assert body["scope"] == "launch/patient patient/ImagingStudy.rs"


WRONG: list[tuple[dict[str, str | None], str]] = [
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": None}, "unsupported_response_type"),
    ({"code_challenge": None}, "invalid_request"),
    ({"code_challenge": ""}, "invalid_request"),
    ({"code_challenge": "short"}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"aud": "https://elsewhere.example/fhir"}, "invalid_request"),
    ({"aud": None}, "invalid_request"),
    ({"scope": "banana"}, "invalid_scope"),
    ({"scope": None}, "invalid_scope"),
    ({"prompt": "none"}, "consent_required"),
    ({"request": "e30.e30."}, "request_not_supported"),
]


async def test_what_is_wrong_goes_back_without_a_code(
    any_app: App, browser: Browser, patient: Person
) -> None:
    for changed, error in WRONG:
        answer = returned(await browser.ask(any_app, **changed))
        assert answer["error"] == error, changed
        assert answer["iss"] == any_app.server.url
        assert "code" not in answer


async def test_resource_is_a_synonym_of_aud(app: App, browser: Browser, patient: Person) -> None:
    """RFC 8707."""
    page = await browser.ask(app, aud=None, resource=f"{app.server.url}/fhir/")
    assert "code" in returned(await browser.decide(page))


ELSEWHERE = (
    None,
    "",
    CALLBACK + "/",
    CALLBACK + "/more",
    CALLBACK + "?x=1",
    CALLBACK + "#f",
    CALLBACK.upper(),
    "https://app.example:443/callback",
    "https://app.example:8443/callback",
    "https://app.example.evil.example/callback",
    "https://user@app.example/callback",
    "https://app.example@evil.example/callback",
    "https://app.example%2Fevil.example/callback",
    "https://app.example/%63allback",
    "https://app.example/../callback",
    "https://app.example\\@evil.example/callback",
    "http://app.example/callback",
    "//app.example/callback",
    "javascript:alert(1)",
    CALLBACK + "\r\nLocation: https://evil.example",
)


async def test_an_unregistered_redirect_uri_gets_a_page(app: App, browser: Browser, patient: Person) -> None:
    """RFC 6749, 3.1.2.4; RFC 9700, 4.1: never a redirect."""
    for redirect_uri in ELSEWHERE:
        answer = await browser.ask(app, redirect_uri=redirect_uri)
        assert answer.status_code == 400, redirect_uri
        assert "location" not in answer.headers
        assert "evil" not in answer.text


@pytest.mark.parametrize("client_id", [None, "", "unknown", "' OR 1=1 --", "x" * 5000])
async def test_an_unknown_client_gets_a_page(
    app: App, browser: Browser, patient: Person, client_id: str | None
) -> None:
    answer = await browser.ask(app, client_id=client_id)
    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_a_native_app_chooses_its_port_on_loopback(
    server: RunningServer, browser: Browser, patient: Person
) -> None:
    """RFC 8252, 7.3: the port and nothing else."""
    app = await register(server, redirect_uris=("http://127.0.0.1/callback",))
    right = "http://127.0.0.1:50123/callback"
    page = await browser.ask(app, redirect_uri=right)
    assert "code" in returned(await browser.decide(page), to=right)
    for wrong in ("http://127.0.0.1:50123/other", "http://127.0.0.2:50123/callback", "http://127.0.0.1:1@evil/callback",
                  "http://localhost:50123/callback", "https://127.0.0.1:50123/callback"):  # fmt: skip
        assert (await browser.ask(app, redirect_uri=wrong)).status_code == 400, wrong


async def test_a_repeated_parameter_is_refused(app: App, browser: Browser, patient: Person) -> None:
    """RFC 6749, 3.1."""
    query = str(httpx.QueryParams(app.parameters())) + "&scope=patient%2F*.cruds"
    answer = await browser.client.get(f"/oauth/authorize?{query}")
    assert answer.status_code == 400


async def test_the_page_cannot_be_framed_or_cached(app: App, browser: Browser, patient: Person) -> None:
    """RFC 9700, 4.16; 4.2 (referrer)."""
    page = await browser.ask(app)
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in page.headers


async def test_the_page_has_a_box_for_each_scope(app: App, browser: Browser, patient: Person) -> None:
    form = Form((await browser.ask(app)).text)
    assert sorted(form.boxes) == sorted(app.scope.split())


async def test_the_page_shows_names_as_text(server: RunningServer, browser: Browser, patient: Person) -> None:
    app = await register(server)
    await server.services.db.execute(
        _statement("UPDATE client SET name = :name WHERE id = :id"), {"name": "<b>x</b>", "id": app.id}
    )
    assert "<b>x</b>" not in (await browser.ask(app)).text


async def test_a_decision_needs_the_sessions_token(app: App, browser: Browser, patient: Person) -> None:
    """Forged consent: the form of another session, or none."""
    page = await browser.ask(app)
    assert (await browser.decide(page, csrf="made up")).status_code == 403
    assert (await browser.decide(page, csrf="")).status_code == 403


async def test_a_decision_from_another_site_is_refused(app: App, browser: Browser, patient: Person) -> None:
    browser.client.headers["Sec-Fetch-Site"] = "cross-site"
    page = await browser.ask(app)
    assert (await browser.decide(page)).status_code == 403


async def test_somebody_else_signs_in(
    app: App, browser: Browser, own_patient: Person, people: People
) -> None:
    """The button for another person ends the session and asks again, with the same request."""
    back = await browser.decide(await browser.ask(app), "switch")
    assert back.headers["location"].startswith("/oauth/authorize?")
    signed_out = await browser.client.get(back.headers["location"])
    assert signed_out.headers["location"].startswith("/sign-in?next=")
    other = await people.patient("Other Person")
    await browser.sign_in(other)
    page = await browser.client.get(back.headers["location"])
    assert returned(await browser.decide(page))["state"] == app.state


async def test_who_was_signed_out_meanwhile_signs_in_again(
    app: App, browser: Browser, patient: Person
) -> None:
    page = await browser.ask(app)
    browser.client.cookies.clear()
    answer = await browser.decide(page)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/oauth/authorize?")


async def test_two_tabs_with_two_users(app: App, browser: Browser, patient: Person, people: People) -> None:
    """The page of one user decided while another is signed in grants nothing."""
    page = await browser.ask(app)
    await browser.sign_in(await people.patient("Other Person"))
    assert (await browser.decide(page)).status_code == 403


async def test_a_strangers_patient_cannot_be_chosen(
    app: App, browser: Browser, patient: Person, people: People
) -> None:
    stranger = await people.patient("Other Person")
    answer = await browser.decide(await browser.ask(app), patient=stranger.fhir_id)
    assert answer.status_code == 400
    assert "location" not in answer.headers


BAD: list[dict[str, str | None]] = [
    {"code_verifier": None},
    {"code_verifier": ""},
    {"code_verifier": "wrong" * 12},
    {"code": "wrong"},
    {"code": None},
    {"code": "\x00"},
    {"redirect_uri": None},
    {"redirect_uri": "https://elsewhere.example/"},
    {"grant_type": "password"},
    {"grant_type": None},
    {"grant_type": 'a"b\\c'},
]


async def test_a_bad_exchange_is_refused(any_app: App, browser: Browser, patient: Person) -> None:
    for changed in BAD:
        code = await browser.allow(any_app)
        answer = await browser.client.post(
            "/oauth/token", data=any_app.exchange(code, **changed), auth=any_app.auth
        )
        assert answer.status_code in (400, 401), changed
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["error"]
        assert "access_token" not in answer.json()


async def test_the_challenge_is_no_verifier(app: App, browser: Browser, patient: Person) -> None:
    code = await browser.allow(app)
    form = app.exchange(code, code_verifier=challenge_of(app.verifier))
    assert (await browser.client.post("/oauth/token", data=form)).status_code == 400


async def test_a_code_is_spent_once_and_its_replay_ends_everything(
    app: App, browser: Browser, patient: Person
) -> None:
    """RFC 6749, 4.1.2; RFC 9700, 4.5."""
    code = await browser.allow(app)
    first = await browser.client.post("/oauth/token", data=app.exchange(code))
    again = await browser.client.post("/oauth/token", data=app.exchange(code))
    assert (first.status_code, again.status_code) == (200, 400)
    assert again.json()["error"] == "invalid_grant"
    refreshed = await browser.client.post("/oauth/token", data=app.refresh(first.json()["refresh_token"]))
    assert refreshed.status_code == 400


async def test_a_code_is_its_own_clients(app: App, browser: Browser, patient: Person) -> None:
    """Code injection: RFC 9700, 4.5."""
    code = await browser.allow(app)
    other = await register(app.server)
    stolen = other.exchange(code, code_verifier=app.verifier)
    assert (await browser.client.post("/oauth/token", data=stolen)).status_code == 400
    assert (await browser.client.post("/oauth/token", data=app.exchange(code))).status_code == 200


async def test_a_confidential_client_must_prove_itself(
    server: RunningServer, browser: Browser, patient: Person
) -> None:
    app = await register(server, "confidential-symmetric")
    code = await browser.allow(app)
    form = app.exchange(code, client_id=app.id)
    for auth in (None, httpx.BasicAuth(app.id, "wrong"), httpx.BasicAuth("unknown", "wrong")):
        answer = await browser.client.post("/oauth/token", data=app.exchange(code), auth=auth)
        assert answer.status_code == 401
        assert answer.json()["error"] == "invalid_client"
        assert "www-authenticate" in answer.headers
    posted = await browser.client.post("/oauth/token", data={**form, "client_secret": app.secret})
    assert posted.status_code == 200, "client_secret_post is tolerated"


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic /////w==", "Basic Og==", "Digest x"])
async def test_a_malformed_authorization_header(app: App, client: httpx.AsyncClient, header: str) -> None:
    form = {"grant_type": "authorization_code", "code": "x"}
    answer = await client.post("/oauth/token", data=form, headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_client"


async def test_two_proofs_at_once_are_refused(server: RunningServer, client: httpx.AsyncClient) -> None:
    """RFC 6749, 2.3."""
    app = await register(server, "confidential-symmetric")
    form = {"grant_type": "refresh_token", "refresh_token": "x", "client_secret": "y"}
    answer = await client.post("/oauth/token", data=form, auth=app.auth)
    assert answer.json()["error"] == "invalid_request"


async def test_the_token_endpoint_reads_forms_only(app: App, client: httpx.AsyncClient) -> None:
    answer = await client.post("/oauth/token", json=app.exchange("x"))
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"


async def test_cors_for_a_registered_origin_only(app: App, client: httpx.AsyncClient) -> None:
    """A public app in a browser reads the token endpoint; others do not."""
    for origin, may in (("https://app.example", True), ("https://evil.example", False)):
        answer = await client.post("/oauth/token", data={"grant_type": "x"}, headers={"Origin": origin})
        assert (answer.headers.get("access-control-allow-origin") == origin) is may


def _statement(text: str) -> object:
    from server.storage.sql import Statement

    return Statement("test", text)
