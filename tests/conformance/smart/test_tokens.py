"""What tokens do afterwards: refresh, introspection, revocation, identity.

RFC 6749, 6; RFC 7009; RFC 7662; RFC 9700, 4.14; OpenID Connect Core; SMART App Launch 2.2.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from server.accounts import people as accounts
from server.accounts import sessions
from server.core import clock
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer

from .driver import App, Browser, register


async def token_lives(client: httpx.AsyncClient, token: str) -> bool:
    """Whether the gate takes it: introspection asked with the token itself."""
    answer = await client.post("/oauth/introspect", data={"token": token}, headers=bearer(token))
    assert answer.status_code in (200, 401)
    return answer.status_code == 200 and answer.json()["active"]


async def refresh(app: App, browser: Browser, token: str, **changed: str | None) -> httpx.Response:
    return await browser.client.post("/oauth/token", data=app.refresh(token, **changed), auth=app.auth)


async def test_a_refresh_token_gives_new_tokens(any_app: App, browser: Browser, patient: Person) -> None:
    first = await browser.connect(any_app)
    answer = await refresh(any_app, browser, first["refresh_token"])
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    second = answer.json()
    assert second["scope"] == first["scope"]
    assert second["patient"] == patient.fhir_id
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert await token_lives(browser.client, second["access_token"])


async def test_a_refresh_may_ask_for_less(app: App, browser: Browser, patient: Person) -> None:
    first = await browser.connect(app)
    second = (await refresh(app, browser, first["refresh_token"], scope="patient/Patient.r")).json()
    assert second["scope"] == "patient/Patient.r"
    third = (await refresh(app, browser, second["refresh_token"])).json()
    assert third["scope"] == first["scope"], "what was granted stays granted"


@pytest.mark.parametrize(
    "scope", ["patient/*.rs", "patient/Patient.cruds", "user/Patient.rs", "system/*.rs", "banana"]
)
async def test_a_refresh_cannot_ask_for_more(app: App, browser: Browser, patient: Person, scope: str) -> None:
    first = await browser.connect(app)
    answer = await refresh(app, browser, first["refresh_token"], scope=scope)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert (await refresh(app, browser, first["refresh_token"])).status_code == 200, "it may try again"


async def test_a_used_refresh_token_ends_the_family(app: App, browser: Browser, patient: Person) -> None:
    """RFC 9700, 4.14.2: a stolen token and the original cannot both live."""
    first = await browser.connect(app)
    second = (await refresh(app, browser, first["refresh_token"])).json()
    assert (await refresh(app, browser, first["refresh_token"])).status_code == 400
    assert (await refresh(app, browser, second["refresh_token"])).status_code == 400
    assert not await token_lives(browser.client, second["access_token"])


async def test_a_refresh_token_is_its_own_clients(app: App, browser: Browser, patient: Person) -> None:
    first = await browser.connect(app)
    other = await register(app.server)
    assert (await refresh(other, browser, first["refresh_token"])).status_code == 400
    assert (await refresh(app, browser, first["refresh_token"])).status_code == 200


async def test_a_public_app_may_leave_out_its_client_id(app: App, browser: Browser, patient: Person) -> None:
    """RFC 6749, 6: possession of the token is all that a public client has."""
    first = await browser.connect(app)
    assert (await refresh(app, browser, first["refresh_token"], client_id=None)).status_code == 200
    unknown = await refresh(app, browser, "unknown", client_id=None)
    assert unknown.status_code == 401


async def test_a_confidential_app_proves_itself_at_a_refresh(
    server: RunningServer, browser: Browser, patient: Person
) -> None:
    app = await register(server, "confidential-symmetric")
    first = await browser.connect(app)
    for form in (app.refresh(first["refresh_token"]), app.refresh(first["refresh_token"], client_id=app.id)):
        assert (await browser.client.post("/oauth/token", data=form)).status_code == 401
    assert (await refresh(app, browser, first["refresh_token"])).status_code == 200


async def test_online_access_ends_with_the_session(app: App, browser: Browser, own_patient: Person) -> None:
    online = app.with_scope("launch/patient online_access patient/Patient.rs")
    tokens = await browser.connect(online)
    assert await token_lives(browser.client, tokens["access_token"])
    await sessions.end_all(app.server.services.db, own_patient.account_id)
    assert not await token_lives(browser.client, tokens["access_token"])
    assert (await refresh(online, browser, tokens["refresh_token"])).status_code == 400


async def test_offline_access_outlives_the_session(app: App, browser: Browser, own_patient: Person) -> None:
    tokens = await browser.connect(app)
    await sessions.end_all(app.server.services.db, own_patient.account_id)
    assert (await refresh(app, browser, tokens["refresh_token"])).status_code == 200


async def test_without_either_there_is_no_refresh_token(
    app: App, browser: Browser, own_patient: Person
) -> None:
    tokens = await browser.connect(app.with_scope("launch/patient patient/Patient.rs"))
    assert "refresh_token" not in tokens
    clock.travel(timedelta(hours=1))
    assert not await token_lives(browser.client, tokens["access_token"])


async def test_the_chosen_period_ends_the_grant(app: App, browser: Browser, own_patient: Person) -> None:
    tokens = await browser.connect(app, period="1")
    clock.travel(timedelta(days=1, seconds=1))
    assert (await refresh(app, browser, tokens["refresh_token"])).status_code == 400


async def test_a_password_change_ends_every_app(app: App, browser: Browser, own_patient: Person) -> None:
    tokens = await browser.connect(app)
    await accounts.end_everything(app.server.services.db, own_patient.account_id, why="test")
    assert not await token_lives(browser.client, tokens["access_token"])
    assert (await refresh(app, browser, tokens["refresh_token"])).status_code == 400


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_revocation_ends_both_tokens(
    any_app: App, browser: Browser, patient: Person, which: str
) -> None:
    tokens = await browser.connect(any_app)
    form = {"token": tokens[which], "token_type_hint": which, **any_app.proof()}
    answer = await browser.client.post("/oauth/revoke", data=form, auth=any_app.auth)
    assert answer.status_code == 200
    assert not await token_lives(browser.client, tokens["access_token"])
    assert (await refresh(any_app, browser, tokens["refresh_token"])).status_code == 400


async def test_revoking_what_is_unknown_is_fine(app: App, client: httpx.AsyncClient) -> None:
    """RFC 7009, 2.2."""
    for token in ("unknown", "a.b.c", "\x7f"):
        answer = await client.post("/oauth/revoke", data={"token": token, "client_id": app.id})
        assert answer.status_code == 200


async def test_a_client_revokes_only_its_own(app: App, browser: Browser, patient: Person) -> None:
    tokens = await browser.connect(app)
    other = await register(app.server)
    form = {"token": tokens["access_token"], "client_id": other.id}
    assert (await browser.client.post("/oauth/revoke", data=form)).status_code == 200
    assert await token_lives(browser.client, tokens["access_token"])


async def test_introspection_by_a_confidential_client(
    server: RunningServer, browser: Browser, patient: Person
) -> None:
    app = await register(server, "confidential-symmetric")
    tokens = await browser.connect(app)
    for which in ("access_token", "refresh_token"):
        answer = await browser.client.post("/oauth/introspect", data={"token": tokens[which]}, auth=app.auth)
        body = answer.json()
        assert body["active"] is True
        assert set(body["scope"].split()) == set(tokens["scope"].split())
        assert (body["client_id"], body["iss"]) == (app.id, server.url)
        assert body["exp"] > clock.now().timestamp()
        assert body["patient"] == patient.fhir_id
        assert body["fhirUser"] == f"{server.url}/fhir/Patient/{patient.fhir_id}"
        assert body["extensions"]["ihe_iua"]["patient_id"] == patient.fhir_id


async def test_what_is_inactive_says_nothing_else(server: RunningServer, client: httpx.AsyncClient) -> None:
    app = await register(server, "confidential-symmetric")
    for token in ("unknown", "a.b.c"):
        answer = await client.post("/oauth/introspect", data={"token": token}, auth=app.auth)
        assert (answer.status_code, answer.json()) == (200, {"active": False})


async def test_a_public_client_cannot_introspect(app: App, client: httpx.AsyncClient) -> None:
    answer = await client.post("/oauth/introspect", data={"token": "x", "client_id": app.id})
    assert answer.status_code == 401


async def id_token(app: App, browser: Browser, **changed: str) -> tuple[dict[str, Any], dict[str, Any]]:
    page = await browser.ask(app, **changed)
    from .driver import returned

    code = returned(await browser.decide(page))["code"]
    body = (await browser.client.post("/oauth/token", data=app.exchange(code))).json()
    keys = KeySet.import_key_set((await browser.client.get("/oauth/jwks")).json())
    token = jwt.decode(body["id_token"], keys, algorithms=["RS256"])
    return dict(token.header), token.claims


async def test_the_id_token(app: App, browser: Browser, patient: Person) -> None:
    """OpenID Connect Core, 2 and 3.1.3.7."""
    header, claims = await id_token(app, browser, nonce="n-0S6_WzA2Mj")
    assert header["alg"] == "RS256"
    assert header["kid"]
    assert claims["iss"] == app.server.url
    assert claims["aud"] == app.id
    assert 1 <= len(claims["sub"]) <= 255
    assert claims["iat"] <= clock.now().timestamp() < claims["exp"]
    assert claims["nonce"] == "n-0S6_WzA2Mj"
    assert claims["fhirUser"] == f"{app.server.url}/fhir/Patient/{patient.fhir_id}"


async def test_no_fhir_user_without_its_scope(app: App, browser: Browser, patient: Person) -> None:
    _, claims = await id_token(app.with_scope("openid patient/Patient.rs"), browser)
    assert "fhirUser" not in claims


async def test_a_doctor_picks_among_those_who_share(app: App, browser: Browser, people: People) -> None:
    doctor, one, two = await people.doctor(), await people.patient("One"), await people.patient("Two")
    stranger = await people.patient("Nobody Shares")
    await people.share(one, doctor)
    consent = await people.share(two, doctor, rights=("images",))
    await browser.sign_in(doctor)
    page = await browser.ask(app)
    assert stranger.fhir_id not in page.text
    refused = await browser.decide(page, patient=stranger.fhir_id)
    assert refused.status_code == 400
    body = await browser.connect(app, patient=two.fhir_id)
    assert body["patient"] == two.fhir_id
    claims = (await browser.client.post("/oauth/introspect", data={"token": body["access_token"]},
                                        headers=bearer(body["access_token"]))).json()  # fmt: skip
    assert claims["fhirUser"].endswith(f"/fhir/Practitioner/{doctor.fhir_id}")
    pcf = claims["extensions"]["ihe_pcf"]
    assert pcf["doc_id"] == [f"{app.server.url}/fhir/Consent/{consent}"]
    assert pcf["residual"] == [{"rights": ["images"], "all_studies": True}]


async def test_a_doctor_with_nobody_cannot_allow(app: App, browser: Browser, people: People) -> None:
    await browser.sign_in(await people.doctor())
    page = await browser.ask(app)
    assert 'value="allow"' not in page.text
    assert (await browser.decide(page)).status_code == 400


async def test_the_person_sees_and_ends_connected_apps(
    app: App, browser: Browser, own_patient: Person, people: People
) -> None:
    tokens = await browser.connect(app)
    page = await browser.client.get("/oauth/manage")
    assert "Tulip Viewer" in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    from .driver import Form

    form = dict(Form(page.text).fields)
    assert form["client_id"] == app.id
    forged = await browser.client.post("/oauth/manage", data={**form, "csrf": "made up"})
    assert forged.status_code == 403
    ended = await browser.client.post("/oauth/manage", data=form)
    assert ended.status_code == 303
    assert not await token_lives(browser.client, tokens["access_token"])
    assert (await refresh(app, browser, tokens["refresh_token"])).status_code == 400
    assert "Tulip Viewer" not in (await browser.client.get("/oauth/manage")).text


async def test_connected_apps_are_for_the_signed_in(client: httpx.AsyncClient) -> None:
    answer = await client.get("/oauth/manage")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=")
