"""EHR launch: an app started from Lightbox with the patient, and the study, that were open.

SMART App Launch 2.2, "App launch: EHR launch" and "launch/imagingstudy" as launch context.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.conftest import RunningServer
from tests.factories import People, Person, bearer

from .driver import App, Browser, Form, register, returned
from .test_resources import store

START = "https://app.example/launch"
SCOPE = "launch launch/imagingstudy openid fhirUser patient/Patient.rs patient/ImagingStudy.rs"


@pytest.fixture
async def app(server: RunningServer) -> App:
    return (await register(server, launch_url=START)).with_scope(SCOPE)


async def started(browser: Browser, app: App, **what: str) -> dict[str, str]:
    """What the app gets when it is started."""
    page = await browser.client.get("/oauth/launch", params=what)
    assert page.status_code == 200, page.text
    fields = dict(Form(page.text).fields) | {"client_id": app.id}
    return returned(await browser.client.post("/oauth/launch", data=fields), to=START)


async def test_the_patient_and_the_study_are_in_context(app: App, browser: Browser, people: People) -> None:
    doctor, patient = await people.doctor(), await people.patient()
    await people.patient("Another One")
    await people.share(patient, doctor)
    uid = await store(app, patient, people, "CT")
    study = await app.server.services.db.fetch_val(
        _statement("SELECT fhir_id FROM study WHERE study_uid = :uid"), {"uid": uid}
    )
    await browser.sign_in(doctor)
    got = await started(browser, app, patient=patient.fhir_id, study=study)
    assert got["iss"] == f"{app.server.url}/fhir"
    code = returned(await browser.decide(await browser.ask(app, launch=got["launch"])))["code"]
    body = (await browser.client.post("/oauth/token", data=app.exchange(code))).json()
    assert body["patient"] == patient.fhir_id
    assert body["fhirContext"] == [{"reference": f"ImagingStudy/{study}"}]
    assert "launch/imagingstudy" in body["scope"]


async def encounter(server: RunningServer, people: People, patient: Person) -> str:
    """A visit in the patient's record."""
    body = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": f"Patient/{patient.fhir_id}"},
        "period": {"start": "2024-01-31"},
        "type": [{"text": "Follow-up"}],
    }
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        answer = await client.post("/fhir/Encounter", json=body, headers=bearer(await people.token(patient)))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_the_visit_is_in_context(
    server: RunningServer, browser: Browser, own_patient: Person, people: People
) -> None:
    """context-ehr-encounter: `encounter` in the token response, after a refresh, and in introspection."""
    app = (await register(server, launch_url=START)).with_scope(f"{SCOPE} launch/encounter offline_access")
    visit = await encounter(server, people, own_patient)
    page = await browser.client.get("/oauth/launch", params={"patient": own_patient.fhir_id})
    assert "Follow-up" in page.text, "the person picks among the visits"
    got = await started(browser, app, patient=own_patient.fhir_id, encounter=visit)
    asked = await browser.ask(app, launch=got["launch"])
    code = returned(await browser.decide(asked))["code"]
    tokens = (await browser.client.post("/oauth/token", data=app.exchange(code))).json()
    assert (tokens["patient"], tokens["encounter"]) == (own_patient.fhir_id, visit)
    assert "launch/encounter" in tokens["scope"].split()
    assert "fhirContext" not in tokens
    again = (await browser.client.post("/oauth/token", data=app.refresh(tokens["refresh_token"]))).json()
    assert again["encounter"] == visit
    asker = bearer(again["access_token"])
    form = {"token": again["access_token"]}
    known = (await browser.client.post("/oauth/introspect", data=form, headers=asker)).json()
    assert known["encounter"] == visit
    untold = returned(await browser.decide(asked, untick=("launch/encounter",)))["code"]
    tokens = (await browser.client.post("/oauth/token", data=app.exchange(untold))).json()
    assert "encounter" not in tokens
    assert "launch/encounter" not in tokens["scope"]


async def test_a_visit_of_somebody_else_is_none(
    server: RunningServer, browser: Browser, own_patient: Person, people: People
) -> None:
    theirs = await encounter(server, people, await people.patient("Other One"))
    what = {"patient": own_patient.fhir_id, "encounter": theirs}
    assert (await browser.client.get("/oauth/launch", params=what)).status_code == 404


async def test_a_standalone_launch_has_no_visit(
    server: RunningServer, browser: Browser, patient: Person
) -> None:
    app = (await register(server)).with_scope("launch/patient launch/encounter patient/Patient.rs")
    tokens = await browser.connect(app)
    assert "encounter" not in tokens
    assert "launch/encounter" not in tokens["scope"]


async def test_a_launch_is_of_one_app_and_one_person(
    app: App, browser: Browser, own_patient: Person, people: People
) -> None:
    got = await started(browser, app, patient=own_patient.fhir_id)
    other = (await register(app.server, launch_url=START)).with_scope(SCOPE)
    assert (await browser.ask(other, launch=got["launch"])).status_code == 400
    assert (await browser.ask(app, launch="made up")).status_code == 400
    await browser.sign_in(await people.patient("Somebody Else"))
    assert (await browser.ask(app, launch=got["launch"])).status_code == 400


async def test_nobody_starts_an_app_with_what_they_cannot_see(
    app: App, browser: Browser, patient: Person, people: People
) -> None:
    stranger = await people.patient("A Stranger")
    assert (
        await browser.client.get("/oauth/launch", params={"patient": stranger.fhir_id})
    ).status_code == 404
    what = {"patient": patient.fhir_id, "study": "made-up"}
    assert (await browser.client.get("/oauth/launch", params=what)).status_code == 404


async def test_without_a_launch_there_is_no_launch_context(
    app: App, browser: Browser, patient: Person
) -> None:
    body = await browser.connect(app)
    assert "fhirContext" not in body
    assert "launch/imagingstudy" not in body["scope"]


async def test_a_study_is_picked_in_a_standalone_launch(app: App, browser: Browser, people: People) -> None:
    person = await people.patient()
    uid = await store(app, person, people, "CT")
    study = await app.server.services.db.fetch_val(
        _statement("SELECT fhir_id FROM study WHERE study_uid = :uid"), {"uid": uid}
    )
    await browser.sign_in(person)
    body = await browser.connect(app, study=study)
    assert body["fhirContext"] == [{"reference": f"ImagingStudy/{study}"}]
    assert "launch/imagingstudy" in body["scope"]
    refused = await browser.decide(await browser.ask(app), study="made-up")
    assert refused.status_code == 400


async def test_starting_needs_the_sessions_token(app: App, browser: Browser, patient: Person) -> None:
    fields = {"client_id": app.id, "patient": patient.fhir_id, "csrf": "made up"}
    assert (await browser.client.post("/oauth/launch", data=fields)).status_code == 403


async def test_who_is_not_signed_in_comes_back(app: App, browser: Browser) -> None:
    answer = await browser.client.get("/oauth/launch", params={"patient": "x"})
    assert answer.status_code == 303
    query = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    assert query["next"] == "/oauth/launch?patient=x"


def _statement(text: str) -> object:
    from server.storage.sql import Statement

    return Statement("test", text)
