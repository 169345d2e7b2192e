"""Apps and hospitals: a third-party app that the patient allows and ends, a backend service that brings images.

The app meets nothing of ours but HTTP: discovery, consent, FHIR, then the images at the address of the Endpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from dicomweb_client import DICOMwebClient

from tests.conformance.dicomweb.samples import Sample, instance, parts, store
from tests.conformance.smart.driver import Browser, es384, register, rs384
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.waiting import tries

SCOPE = "launch/patient openid fhirUser patient/Patient.rs patient/ImagingStudy.rs patient/Endpoint.rs"
WHOLE_STUDY = 'multipart/related; type="application/dicom"; transfer-syntax=*'
IMAGES = f"{SCOPE} offline_access"


@pytest.fixture
async def web(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        yield client


async def held(web: httpx.AsyncClient, people: People, person: Person) -> Sample:
    """A study that the patient uploaded."""
    sample = instance()
    web_headers = bearer(await people.token(person, "patient/ImagingStudy.cruds"))
    answer = await store(web, sample, **web_headers)
    assert answer.status_code == 200, answer.text
    return sample


async def studies(web: httpx.AsyncClient, patient_id: str, token: dict[str, str]) -> list[dict[str, Any]]:
    """ImagingStudy with its Endpoint, as SMART Imaging Access asks; built soon after the store."""
    query = {"patient": patient_id, "_include": "ImagingStudy:endpoint"}
    async for _ in tries():
        answer = await web.get("/fhir/ImagingStudy", params=query, headers=token)
        assert answer.status_code == 200, answer.text
        if entries := answer.json().get("entry"):
            return [entry["resource"] for entry in entries]
    raise AssertionError("no ImagingStudy came")


async def test_an_app_finds_and_fetches_what_the_patient_allowed(
    server: RunningServer, web: httpx.AsyncClient, people: People
) -> None:
    ada, other = await people.patient("Ada Moor"), await people.patient("Karl Weiss")
    mine, theirs = await held(web, people, ada), await held(web, people, other)
    browser = Browser(web)
    await browser.sign_in(ada)
    app = (await register(server)).with_scope(IMAGES)
    tokens = await browser.connect(app)
    web.cookies.clear()  # from here on the app alone
    token = bearer(tokens["access_token"])

    patient = (await web.get(f"/fhir/Patient/{tokens['patient']}", headers=token)).json()
    assert patient["id"] == ada.fhir_id
    found = await studies(web, ada.fhir_id, token)
    (study,) = (each for each in found if each["resourceType"] == "ImagingStudy")
    endpoints = [*(each for each in found if each["resourceType"] == "Endpoint"), *study.get("contained", [])]
    assert {"system": "urn:dicom:uid", "value": f"urn:oid:{mine.study}"}.items() <= study["identifier"][
        0
    ].items()
    (root,) = {endpoint["address"] for endpoint in endpoints}

    images = DICOMwebClient(root, headers=token)
    (listed,) = await asyncio.to_thread(images.search_for_studies)
    assert listed["0020000D"]["Value"] == [mine.study]
    fetched = await web.get(f"{root}/studies/{mine.study}", headers={**token, "Accept": WHOLE_STUDY})
    assert [content for _, content in parts(fetched)] == [mine.data], "byte for byte what was sent"
    frame = await asyncio.to_thread(images.retrieve_instance_frames, mine.study, mine.series, mine.sop, [1])
    assert len(frame[0]) == 512

    refusals = {
        f"/fhir/Patient/{other.fhir_id}": 404,
        f"/fhir/ImagingStudy?patient={other.fhir_id}": 403,
        f"/dicomweb/studies/{theirs.study}/metadata": 404,
        f"/patients/{other.fhir_id}/dicomweb/studies/{theirs.study}/metadata": 404,
        f"{root}/studies/{theirs.study}": 404,
    }
    assert {path: (await web.get(path, headers=token)).status_code for path in refusals} == refusals


async def test_an_app_that_was_ended_is_refused_at_its_next_request(
    server: RunningServer, web: httpx.AsyncClient, people: People
) -> None:
    ada = await people.patient("Ada Moor")
    sample = await held(web, people, ada)
    browser = Browser(web)
    await browser.sign_in(ada)
    app = (await register(server)).with_scope(IMAGES)
    tokens = await browser.connect(app)
    token = bearer(tokens["access_token"])
    ways = [f"/fhir/Patient/{ada.fhir_id}", "/dicomweb/studies", f"/dicomweb{sample.path}/frames/1"]
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as elsewhere:
        before = [(await elsewhere.get(way, headers=token)).status_code for way in ways]
        assert before == [200, 200, 200]
        page = await web.get("/oauth/manage")
        csrf = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        ended = await web.post("/oauth/manage", data={"csrf": csrf, "client_id": app.id})
        assert ended.status_code == 303
        assert [(await elsewhere.get(way, headers=token)).status_code for way in ways] == [401, 401, 401]
        refreshed = await elsewhere.post("/oauth/token", data=app.refresh(tokens["refresh_token"]))
        assert refreshed.status_code == 400


@pytest.mark.parametrize("make_key", [es384, rs384])
async def test_a_hospital_brings_images_by_itself(
    server: RunningServer, web: httpx.AsyncClient, people: People, make_key: Any
) -> None:
    hospital, key = await people.provider("County Hospital"), make_key()
    system = await register(
        server, "backend", key, scope="system/ImagingStudy.cruds", organization_id=hospital.fhir_id
    )
    ada = await people.patient("Ada Moor")
    await server.services.db.execute(
        _statement("INSERT INTO patient_identifier VALUES (:organization, 'MRN-7', :patient)"),
        {"organization": hospital.fhir_id, "patient": ada.fhir_id},
    )
    form = {"grant_type": "client_credentials", "scope": "system/ImagingStudy.cu", **system.proof()}
    issued = (await web.post("/oauth/token", data=form)).json()
    token = bearer(issued["access_token"])

    known, unknown = instance(PatientID="MRN-7"), instance(PatientID="MRN-8", PatientName="Nobody^Yet")
    for sample in (known, unknown):
        answer = await store(web, sample, **token)
        assert answer.status_code == 200, answer.text
    assert await owner_of(server, known) == ada.fhir_id
    made = await owner_of(server, unknown)
    assert made not in (None, ada.fhir_id)
    claimed = _statement("SELECT claimed_at FROM patient WHERE id = :id")
    assert await server.services.db.fetch_val(claimed, {"id": made}) is None

    seen = await web.get(
        "/dicomweb/studies", headers=bearer(await people.token(ada, "patient/ImagingStudy.rs"))
    )
    assert [study["0020000D"]["Value"] for study in seen.json()] == [[known.study]]
    assert (await web.get("/dicomweb/studies", headers=token)).status_code == 403, "c and u open no search"


async def owner_of(server: RunningServer, sample: Sample) -> str | None:
    """The patient in whose record the study lies."""
    statement = _statement("SELECT patient_id FROM study WHERE study_uid = :uid")
    found: str | None = await server.services.db.fetch_val(statement, {"uid": sample.study})
    return found


def _statement(text: str) -> Any:
    from server.storage.sql import Statement

    return Statement("test", text)
