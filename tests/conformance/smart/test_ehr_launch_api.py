"""EHR launch started by an EHR that embeds us: it makes the launch context by an API.

SMART App Launch 2.2, "App launch: EHR launch".
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import RunningServer
from tests.factories import People, Person, bearer

from .driver import App, Browser, register, returned
from .test_ehr_launch import SCOPE, START, _statement, encounter
from .test_resources import store

EHR = "user/Patient.rs user/ImagingStudy.rs user/Encounter.rs"


@pytest.fixture
async def app(server: RunningServer) -> App:
    return (await register(server, launch_url=START)).with_scope(f"{SCOPE} launch/encounter")


async def asked(client: httpx.AsyncClient, token: str, **body: Any) -> httpx.Response:
    return await client.post("/oauth/ehr-launch", json=body, headers=bearer(token))


async def test_what_the_ehr_says_is_in_context(
    app: App, browser: Browser, people: People, client: httpx.AsyncClient, server: RunningServer
) -> None:
    doctor, patient = await people.doctor(), await people.patient()
    await people.share(patient, doctor)
    uid = await store(app, patient, people, "CT")
    study = await server.services.db.fetch_val(
        _statement("SELECT fhir_id FROM study WHERE study_uid = :uid"), {"uid": uid}
    )
    visit = await encounter(server, people, patient)
    token = await people.token(doctor, EHR)
    what = {"client_id": app.id, "patient": patient.fhir_id, "imaging_study": study, "encounter": visit}
    made = await asked(client, token, **what)
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    got = made.json()
    assert got["iss"] == f"{server.url}/fhir"
    assert got["launch_url"].startswith(START)
    assert got["expires_in"] == 600
    await browser.sign_in(doctor)
    code = returned(await browser.decide(await browser.ask(app, launch=got["launch"])))["code"]
    body = (await browser.client.post("/oauth/token", data=app.exchange(code))).json()
    assert (body["patient"], body["encounter"]) == (patient.fhir_id, visit)
    assert body["fhirContext"] == [{"reference": f"ImagingStudy/{study}"}]


async def test_it_is_for_the_person_whose_token_it_was(
    app: App, browser: Browser, people: People, client: httpx.AsyncClient
) -> None:
    doctor, patient = await people.doctor(), await people.patient()
    await people.share(patient, doctor)
    made = await asked(client, await people.token(doctor, EHR), client_id=app.id, patient=patient.fhir_id)
    await browser.sign_in(await people.doctor())
    assert (await browser.ask(app, launch=made.json()["launch"])).status_code == 400


async def test_nothing_beyond_the_token(
    app: App, people: People, client: httpx.AsyncClient, server: RunningServer
) -> None:
    doctor, patient, stranger = await people.doctor(), await people.patient(), await people.patient()
    await people.share(patient, doctor)
    token = await people.token(doctor, EHR)
    theirs = await encounter(server, people, stranger)
    own = {"client_id": app.id, "patient": patient.fhir_id}
    assert (await asked(client, token, client_id=app.id, patient=stranger.fhir_id)).status_code == 404
    assert (await asked(client, token, client_id=app.id, patient="none")).status_code == 404
    assert (await asked(client, token, **own, encounter=theirs)).status_code == 404
    assert (await asked(client, token, **own, imaging_study="none")).status_code == 404
    assert (await asked(client, token, client_id="none", patient=patient.fhir_id)).status_code == 404
    narrow = await people.token(doctor, "user/Patient.rs")
    visit = await encounter(server, people, patient)
    assert (await asked(client, narrow, **own, encounter=visit)).status_code == 403
    assert (await asked(client, await people.token(doctor, "openid"), **own)).status_code == 403
    assert (await client.post("/oauth/ehr-launch", json=own)).status_code == 401


async def test_a_system_has_no_screen(
    app: App, people: People, client: httpx.AsyncClient, own_patient: Person
) -> None:
    token = await people.system_token(await people.backend(trusted=True))
    answer = await asked(client, token, client_id=app.id, patient=own_patient.fhir_id)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"patient": 1}', b'{"patient": "\\u0000"}', b"x" * 20_000]
)
async def test_bad_bodies(body: bytes, people: People, client: httpx.AsyncClient) -> None:
    token = await people.token(await people.patient())
    answer = await client.post("/oauth/ehr-launch", content=body, headers=bearer(token))
    assert 400 <= answer.status_code < 500
    assert "error" in answer.json()
