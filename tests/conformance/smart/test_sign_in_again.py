"""How an app asks who signs in, and when: OpenID Connect Core, 3.1.2.1 and 3.1.2.6, and userinfo (5.3)."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from server.core import clock
from tests.factories import People, Person, bearer

from .driver import App, Browser, Form, returned

LOGIN = "openid fhirUser"


async def sent_to_sign_in(browser: Browser, app: App, **changed: str) -> httpx.Response:
    answer = await browser.ask(app, **changed)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith("/sign-in?next=%2Foauth%2Fauthorize")
    return answer


async def signed_in_again(browser: Browser, person: Person, asked: httpx.Response) -> httpx.Response:
    """Type the password once more, and come back to the request."""
    page = await browser.client.get(asked.headers["location"])
    assert page.status_code == 200, "the form, though somebody is signed in"
    fields = dict(Form(page.text).fields) | {"email": person.email, "password": person.password}
    answer = await browser.client.post("/sign-in", data=fields)
    assert answer.status_code == 303, answer.text
    return await browser.client.get(answer.headers["location"])


async def claims_of(browser: Browser, app: App, code: str) -> dict[str, object]:
    tokens = (await browser.client.post("/oauth/token", data=app.exchange(code))).json()
    keys = KeySet.import_key_set((await browser.client.get("/oauth/jwks")).json())
    return dict(jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims)


@pytest.mark.parametrize("how", [{"prompt": "login"}, {"max_age": "0"}])
async def test_the_password_is_asked_again(
    app: App, browser: Browser, own_patient: Person, how: dict[str, str]
) -> None:
    page = await signed_in_again(browser, own_patient, await sent_to_sign_in(browser, app, **how))
    assert page.status_code == 200
    before = clock.now()
    code = returned(await browser.decide(page))["code"]
    claims = await claims_of(browser, app, code)
    assert abs(int(str(claims["auth_time"])) - before.timestamp()) < 60


async def test_the_form_alone_is_no_way_around_it(app: App, browser: Browser, own_patient: Person) -> None:
    """The decision asks too: a page made for another request decides nothing here."""
    page = await browser.ask(app)
    asked = httpx.QueryParams(app.parameters(prompt="login"))
    answer = await browser.decide(page, request=str(asked))
    assert answer.headers["location"].startswith("/sign-in?next=")


async def test_an_old_sign_in_is_too_old(app: App, browser: Browser, own_patient: Person) -> None:
    assert (await browser.ask(app, max_age="3600")).status_code == 200
    clock.travel(timedelta(minutes=20))
    await sent_to_sign_in(browser, app, max_age="600")
    answer = returned(await browser.ask(app, max_age="600", prompt="none"))
    assert answer["error"] == "login_required"


async def test_no_page_without_asking(app: App, browser: Browser, people: People) -> None:
    """prompt=none: 3.1.2.6."""
    answer = returned(await browser.ask(app, prompt="none"))
    assert (answer["error"], answer["state"]) == ("login_required", app.state)
    doctor = await people.doctor()
    for name in ("Ada Moor", "Karl Weiss"):
        await people.share(await people.patient(name), doctor)
    await browser.sign_in(doctor)
    assert returned(await browser.ask(app, prompt="none"))["error"] == "interaction_required"
    assert returned(await browser.ask(app.with_scope(LOGIN), prompt="none"))["error"] == "consent_required"
    answer = returned(await browser.ask(app, prompt="none login"))
    assert answer["error"] == "invalid_request"


@pytest.mark.parametrize("wrong", ["-1", "1.5", "soon", "9999999999"])
async def test_max_age_is_a_number(app: App, browser: Browser, patient: Person, wrong: str) -> None:
    assert returned(await browser.ask(app, max_age=wrong))["error"] == "invalid_request"


async def test_the_person_always_decides(app: App, browser: Browser, patient: Person) -> None:
    for prompt in ("consent", "select_account"):
        assert (await browser.ask(app, prompt=prompt)).status_code == 200


async def test_an_address_is_proposed(app: App, browser: Browser) -> None:
    answer = await browser.ask(app, login_hint='ada@example.org"><b>')
    assert answer.status_code == 303
    page = await browser.client.get(answer.headers["location"])
    assert "<b>" not in page.text
    answer = await browser.ask(app, login_hint="ada@example.org")
    page = await browser.client.get(answer.headers["location"])
    assert ("email", "ada@example.org") in Form(page.text).fields


async def test_a_client_cannot_say_when_it_asked(app: App, browser: Browser, own_patient: Person) -> None:
    """Neither in the address nor in a pushed request: the moment is ours to note."""
    await sent_to_sign_in(browser, app, prompt="login", _asked_at="2000-01-01T00:00:00+00:00")
    form = app.parameters(prompt="login", _asked_at="2000-01-01T00:00:00+00:00")
    pushed = (await browser.client.post("/oauth/par", data=form)).json()
    query = {"client_id": app.id, "request_uri": pushed["request_uri"]}
    answer = await browser.client.get("/oauth/authorize", params=query)
    assert answer.headers["location"].startswith("/sign-in?next=")
    assert dict(parse_qsl(urlsplit(answer.headers["location"]).query))["again"] == "1"


async def test_auth_time_stays_at_refresh(app: App, browser: Browser, patient: Person) -> None:
    """12.2: the auth_time of a refreshed id_token is that of the first."""
    tokens = await browser.connect(app)
    keys = KeySet.import_key_set((await browser.client.get("/oauth/jwks")).json())
    first = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims
    clock.travel(timedelta(minutes=5))
    again = (await browser.client.post("/oauth/token", data=app.refresh(tokens["refresh_token"]))).json()
    second = jwt.decode(again["id_token"], keys, algorithms=["RS256"]).claims
    assert second["auth_time"] == first["auth_time"]
    assert (second["sub"], second["aud"], second["iss"]) == (first["sub"], first["aud"], first["iss"])


async def test_userinfo(app: App, browser: Browser, patient: Person) -> None:
    url = (await browser.client.get("/.well-known/openid-configuration")).json()["userinfo_endpoint"]
    tokens = await browser.connect(app.with_scope("openid fhirUser profile"))
    headers = bearer(tokens["access_token"])
    for method in ("GET", "POST"):
        answer = await browser.client.request(method, url, headers=headers)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["sub"] == str(patient.account_id)
        assert body["fhirUser"] == f"{app.server.url}/fhir/Patient/{patient.fhir_id}"
        assert body["name"] == patient.name
    assert (await browser.client.get(url)).status_code == 401
    other = await browser.connect(app.with_scope("launch/patient patient/Patient.rs"))
    refused = await browser.client.get(url, headers=bearer(other["access_token"]))
    assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")


async def test_who_signed_in_is_readable_with_the_token(app: App, browser: Browser, people: People) -> None:
    """SMART App Launch 2.2, "fhirUser": with `openid fhirUser` alone the token reads that resource, and no other."""
    patient, other, doctor = await people.patient(), await people.patient("Other One"), await people.doctor()
    await people.share(patient, doctor)
    for person, type in ((patient, "Patient"), (doctor, "Practitioner")):
        await browser.sign_in(person)
        tokens = await browser.connect(app.with_scope(LOGIN))
        headers = bearer(tokens["access_token"])
        assert (
            (await browser.client.get("/oauth/userinfo", headers=headers))
            .json()["fhirUser"]
            .endswith(f"/{type}/{person.fhir_id}")
        )
        path = f"/fhir/{type}/{person.fhir_id}"
        assert (await browser.client.get(path, headers=headers)).status_code == 200, type
        for method, elsewhere in (
            ("GET", f"/fhir/Patient/{other.fhir_id}"),
            ("GET", f"/fhir/Patient?_id={person.fhir_id}"),
            ("PUT", path),
            ("DELETE", path),
            ("GET", f"/fhir/Patient/{other.fhir_id}/$everything"),
            ("GET", "/fhir/ImagingStudy"),
            ("GET", "/dicomweb/studies"),
        ):
            body = {"resourceType": type, "id": person.fhir_id} if method == "PUT" else None
            answer = await browser.client.request(method, elsewhere, headers=headers, json=body)
            assert answer.status_code in (403, 404), (type, method, elsewhere, answer.status_code)
    answer = await browser.connect(app.with_scope("openid"))
    path = f"/fhir/Practitioner/{doctor.fhir_id}"
    assert (await browser.client.get(path, headers=bearer(answer["access_token"]))).status_code == 403


async def test_a_guardian_is_a_related_person_of_the_childs_record(
    app: App, browser: Browser, people: People
) -> None:
    guardian, child = await people.patient("Ada Moor"), await people.patient("Tim Moor")
    await app.server.services.db.execute(
        _statement(
            "INSERT INTO holder (patient_id, account_id, as_what, since) VALUES (:patient, :account, 'guardian', :now)"
        ),
        {"patient": child.fhir_id, "account": guardian.account_id, "now": clock.now()},
    )
    await browser.sign_in(guardian)
    page = await browser.ask(app.with_scope("launch/patient openid fhirUser patient/Patient.rs"))
    assert Form(page.text).choices == [guardian.fhir_id, child.fhir_id], "the person's own record first"
    code = returned(await browser.decide(page, patient=child.fhir_id))["code"]
    tokens = (await browser.client.post("/oauth/token", data=app.exchange(code))).json()
    assert tokens["patient"] == child.fhir_id
    headers = bearer(tokens["access_token"])
    user = (await browser.client.get("/oauth/userinfo", headers=headers)).json()["fhirUser"]
    assert "/fhir/RelatedPerson/" in user
    related = (await browser.client.get(user, headers=headers)).json()
    assert related["patient"]["reference"] == f"Patient/{child.fhir_id}"
    assert related["name"][0]["text"] == "Ada Moor"
    own = f"/fhir/Patient/{guardian.fhir_id}"
    assert (await browser.client.get(own, headers=headers)).status_code == 404


def _statement(text: str) -> object:
    from server.storage.sql import Statement

    return Statement("test", text)
