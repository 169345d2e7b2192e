"""What a token opens: FHIR and DICOMweb hold it to its scopes, its patient and its life.

RFC 6750; SMART App Launch 2.2, "Scopes"; decisions 1 and 3.
"""

from __future__ import annotations

import httpx
import pytest

from server.accounts import people as accounts
from server.core import clock
from tests.conformance.dicomweb.samples import MULTIPART, body, instance
from tests.factories import People, Person, bearer
from tests.waiting import tries

from .driver import App, Browser
from .test_tokens import refresh


async def test_the_patient_is_read_with_the_token(app: App, browser: Browser, patient: Person) -> None:
    tokens = await browser.connect(app)
    answer = await browser.client.get(
        f"/fhir/Patient/{tokens['patient']}", headers=bearer(tokens["access_token"])
    )
    assert answer.status_code == 200
    assert answer.json()["id"] == patient.fhir_id


async def test_no_token_and_a_dead_one_are_401(client: httpx.AsyncClient, patient: Person) -> None:
    for headers in ({}, bearer("made up"), {"Authorization": "Bearer"}, {"Authorization": "Basic eDp5"}):
        for path in (f"/fhir/Patient/{patient.fhir_id}", "/dicomweb/studies"):
            answer = await client.get(path, headers=headers)
            assert answer.status_code == 401, (path, headers)
            assert "www-authenticate" in answer.headers


async def test_a_revoked_token_is_401_everywhere(app: App, browser: Browser, patient: Person) -> None:
    tokens = await browser.connect(app)
    token = bearer(tokens["access_token"])
    paths = (f"/fhir/Patient/{patient.fhir_id}", "/dicomweb/studies")
    for path in paths:
        assert (await browser.client.get(path, headers=token)).status_code in (200, 204)
    form = {"token": tokens["access_token"], "client_id": app.id}
    await browser.client.post("/oauth/revoke", data=form)
    for path in paths:
        assert (await browser.client.get(path, headers=token)).status_code == 401
    assert (await refresh(app, browser, tokens["refresh_token"])).status_code == 400


async def test_a_deselected_type_is_refused(app: App, browser: Browser, patient: Person) -> None:
    tokens = await browser.connect(app, untick=("patient/ImagingStudy.rs",))
    token = bearer(tokens["access_token"])
    for path in (f"/fhir/ImagingStudy?patient={patient.fhir_id}", "/dicomweb/studies"):
        answer = await browser.client.get(path, headers=token)
        assert answer.status_code == 403, path
        assert "insufficient_scope" in answer.headers["www-authenticate"]
    assert (await browser.client.get(f"/fhir/Patient/{patient.fhir_id}", headers=token)).status_code == 200


async def test_another_patients_record_is_refused(
    app: App, browser: Browser, patient: Person, people: People
) -> None:
    other = await people.patient("Other Person")
    tokens = await browser.connect(app)
    token = bearer(tokens["access_token"])
    assert (await browser.client.get(f"/fhir/Patient/{other.fhir_id}", headers=token)).status_code == 404
    for patient_id in (other.fhir_id, "does-not-exist"):
        path = f"/fhir/ImagingStudy?patient={patient_id}"
        assert (await browser.client.get(path, headers=token)).status_code == 403


async def test_a_doctors_fhir_user_can_be_read(app: App, browser: Browser, people: People) -> None:
    doctor, patient = await people.doctor(), await people.patient()
    await people.share(patient, doctor)
    await browser.sign_in(doctor)
    tokens = await browser.connect(app.with_scope("openid fhirUser patient/Patient.rs user/Practitioner.r"))
    token = bearer(tokens["access_token"])
    path = f"/fhir/Practitioner/{doctor.fhir_id}"
    assert (await browser.client.get(path, headers=token)).status_code == 200


async def store(app: App, person: Person, people: People, modality: str) -> str:
    """Store one small study; its UID."""
    sample = instance(Modality=modality)
    token = await people.token(person, "patient/ImagingStudy.cruds")
    headers = {**bearer(token), "Content-Type": MULTIPART}
    async with httpx.AsyncClient(base_url=app.server.url, timeout=60) as client:
        answer = await client.post("/dicomweb/studies", content=body([sample.data]), headers=headers)
    assert answer.status_code == 200, answer.text
    return sample.study


@pytest.mark.parametrize("modality", ["http://dicom.nema.org/resources/ontology/DCM|CT", "CT"])
async def test_a_granular_scope_is_the_same_in_fhir_and_dicomweb(
    app: App, browser: Browser, people: People, modality: str
) -> None:
    person = await people.patient()
    await browser.sign_in(person)
    ct, mr = await store(app, person, people, "CT"), await store(app, person, people, "MR")
    scope = f"launch/patient patient/ImagingStudy.rs?modality={modality}"
    tokens = await browser.connect(app.with_scope(scope))
    assert tokens["scope"] == scope
    token = bearer(tokens["access_token"])
    found = (await browser.client.get("/dicomweb/studies", headers=token)).json()
    assert [study["0020000D"]["Value"] for study in found] == [[ct]]
    search = f"/fhir/ImagingStudy?patient={person.fhir_id}"
    async for _ in tries():  # the resource is built soon after the store
        bundle = (await browser.client.get(search, headers=token)).json()
        if "entry" in bundle:
            break
    identifiers = [each["resource"]["identifier"] for each in bundle["entry"]]
    assert [f"urn:oid:{ct}" in [one["value"] for one in each] for each in identifiers] == [True]
    assert (await browser.client.get(f"/dicomweb/studies/{ct}/metadata", headers=token)).status_code == 200
    assert (await browser.client.get(f"/dicomweb/studies/{mr}/metadata", headers=token)).status_code == 404


async def test_the_person_narrows_imaging_to_one_kind(app: App, browser: Browser, people: People) -> None:
    person = await people.patient()
    await browser.sign_in(person)
    ct, _ = await store(app, person, people, "CT"), await store(app, person, people, "MR")
    tokens = await browser.connect(app, untick=("MR",))
    assert (
        "patient/ImagingStudy.rs?modality=http://dicom.nema.org/resources/ontology/DCM|CT" in tokens["scope"]
    )
    found = (await browser.client.get("/dicomweb/studies", headers=bearer(tokens["access_token"]))).json()
    assert [study["0020000D"]["Value"] for study in found] == [[ct]]


async def test_an_ended_share_ends_the_doctors_app(app: App, browser: Browser, people: People) -> None:
    doctor, patient = await people.doctor(), await people.patient()
    await people.share(patient, doctor)
    await browser.sign_in(doctor)
    tokens = await browser.connect(app)
    token, path = bearer(tokens["access_token"]), f"/fhir/Patient/{patient.fhir_id}"
    assert (await browser.client.get(path, headers=token)).status_code == 200
    await app.server.services.db.execute(
        _statement("UPDATE share SET state = 'ended' WHERE patient_id = :patient"),
        {"patient": patient.fhir_id},
    )
    assert (await browser.client.get(path, headers=token)).status_code == 404


async def test_a_closed_account_ends_its_apps(app: App, browser: Browser, own_patient: Person) -> None:
    tokens = await browser.connect(app)
    await accounts.disable(app.server.services.db, own_patient.account_id, why="test")
    path = f"/fhir/Patient/{own_patient.fhir_id}"
    assert (await browser.client.get(path, headers=bearer(tokens["access_token"]))).status_code == 401


async def test_a_disabled_app_is_refused(app: App, browser: Browser, patient: Person) -> None:
    tokens = await browser.connect(app)
    await app.server.services.db.execute(
        _statement("UPDATE client SET disabled_at = :now WHERE id = :id"),
        {"id": app.id, "now": clock.now()},
    )
    assert (await refresh(app, browser, tokens["refresh_token"])).status_code in (400, 401)


def _statement(text: str) -> object:
    from server.storage.sql import Statement

    return Statement("test", text)


@pytest.mark.parametrize(
    ("filter", "seen"),
    [
        ("category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory", {"laboratory"}),
        ("category=vital-signs,laboratory", {"laboratory", "vital-signs"}),
        ("category=vital-signs&status=preliminary", set()),
        ("category=urn:elsewhere|laboratory", set()),
        ("status=final", {"laboratory", "vital-signs", "imaging"}),
    ],
)
async def test_granular_scopes_hold_for_every_query(
    app: App, browser: Browser, people: People, filter: str, seen: set[str]
) -> None:
    """SMART "finer-grained resource constraints": search, read, version, includes, $everything, writes."""
    person = await people.patient()
    own = bearer(await people.token(person))
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    made = {}
    for category in ("laboratory", "vital-signs", "imaging"):
        body = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": category},
            "category": [{"coding": [{"system": system, "code": category}]}],
            "subject": {"reference": f"Patient/{person.fhir_id}"},
        }
        answer = await browser.client.post("/fhir/Observation", json=body, headers=own)
        assert answer.status_code == 201, answer.text
        made[category] = answer.json()
    scope = f"patient/Patient.rs patient/Observation.rus?{filter}"
    token = bearer(await people.token(person, scope))
    web = browser.client

    def found(bundle: dict[str, object]) -> set[str]:
        entries = bundle.get("entry", [])
        assert isinstance(entries, list)
        resources = [each["resource"] for each in entries if "resource" in each]
        return {each["code"]["text"] for each in resources if each["resourceType"] == "Observation"}

    for path in (
        f"/fhir/Observation?patient={person.fhir_id}",
        f"/fhir/Observation?patient={person.fhir_id}&status=final",
        f"/fhir/Patient?_id={person.fhir_id}&_revinclude=Observation:patient",
        f"/fhir/Patient/{person.fhir_id}/$everything",
        f"/fhir/Patient/{person.fhir_id}/Observation",
    ):
        answer = await web.get(path, headers=token)
        assert answer.status_code == 200, (path, answer.text)
        assert found(answer.json()) == seen, path
    for category, resource in made.items():
        path = f"/fhir/Observation/{resource['id']}"
        status = 200 if category in seen else 404
        assert (await web.get(path, headers=token)).status_code == status
        assert (await web.get(f"{path}/_history/1", headers=token)).status_code == status
        outside = resource | {
            "status": "amended",
            "category": [{"coding": [{"system": "urn:x", "code": "other"}]}],
        }
        answer = await web.put(path, json=outside, headers=token)
        assert answer.status_code >= 400 or filter == "status=amended"
