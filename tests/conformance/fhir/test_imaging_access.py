"""SMART Imaging Access (Argonaut 0.1.0), requirement by requirement, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from server.core.errors import StorageUnavailable
from server.dicomweb import wado
from tests.conformance.dicomweb.samples import MULTIPART, Sample, body, instance, parts
from tests.factories import People, Person, bearer

from .conftest import Api, Json
from .test_smart_imaging import keep

APP_LAUNCH = "http://fhir.org/argonaut/smart-imaging/capabilities/app-launch"
REQUIRES_TOKEN = (
    "http://fhir.org/argonaut/smart-imaging/StructureDefinition/requires-access-token",
    "http://hl7.org/fhir/smart-app-launch/StructureDefinition/requires-access-token",
)
WHOLE = 'multipart/related; type="application/dicom"; transfer-syntax=*'
DCM = "http://dicom.nema.org/resources/ontology/DCM"


@pytest.fixture
async def app(client: httpx.AsyncClient, people: People, ada: Person) -> Api:
    """An app that asked for what the guide says an imaging app asks for, and nothing else."""
    return Api(client, await people.token(ada, "launch/patient patient/ImagingStudy.rs"), ada.fhir_id)


@pytest.fixture
async def ct(api: Api) -> Sample:
    sample = instance()
    await keep(api, sample)
    return sample


async def search(api: Api, query: str = "") -> tuple[list[Json], list[Json]]:
    """What was found and what came along."""
    answer = await api.get(f"ImagingStudy?patient={api.patient}&_include=ImagingStudy:endpoint{query}")
    assert answer.status_code == 200, answer.text
    modes: dict[str, list[Json]] = {"match": [], "include": []}
    for each in answer.json().get("entry", []):
        modes[each["search"]["mode"]].append(each["resource"])
    return modes["match"], modes["include"]


async def test_discovery(client: httpx.AsyncClient) -> None:
    """Discovery: both capability strings in the top level, for this endpoint serves ImagingStudy."""
    found = (await client.get("/fhir/.well-known/smart-configuration")).json()
    assert {"smart-imaging-access", APP_LAUNCH} <= set(found["capabilities"])
    assert "authorization_code" in found["grant_types_supported"]
    if "http://fhir.org/argonaut/smart-imaging/capabilities/backend-services" in found["capabilities"]:
        assert "client_credentials" in found["grant_types_supported"]
        assert "system/ImagingStudy.rs" in found["scopes_supported"]


async def test_the_scope_of_the_guide_suffices(app: Api, ct: Sample) -> None:
    """Finding studies: with patient/ImagingStudy.rs alone the Endpoint comes in the same Bundle, and leads there."""
    [study], [endpoint] = await search(app)
    assert study["identifier"][0]["system"] == "urn:dicom:uid"
    assert study["identifier"][0]["value"] == f"urn:oid:{ct.study}"
    assert study["status"] == "available"
    assert study["subject"]["reference"] == f"Patient/{app.patient}"
    assert study["modality"][0]["code"] == "CT"
    assert study["endpoint"] == [{"reference": f"Endpoint/{endpoint['id']}"}]
    assert endpoint["status"] == "active"
    assert endpoint["connectionType"]["code"] == "dicom-wado-rs"
    assert endpoint["payloadType"][0]["text"] == "DICOM WADO-RS"
    flags = {each["url"]: each["valueBoolean"] for each in endpoint["extension"]}
    assert flags == dict.fromkeys(REQUIRES_TOKEN, True)
    read = await app.get(f"Endpoint/{endpoint['id']}")
    assert read.json()["address"] == endpoint["address"]
    answer = await app.client.get(
        f"{endpoint['address']}/studies/{ct.study}", headers=bearer(app.token) | {"Accept": WHOLE}
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("multipart/related")
    assert [content for _, content in parts(answer)] == [ct.data]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("&_lastUpdated=gt2023-04-17T04:00:00Z", 1),
        ("&_lastUpdated=gt{later}", 0),
        ("&identifier=urn:oid:{study}", 1),
        ("&identifier=urn:oid:1.2.3", 0),
        ("&identifier=urn:dicom:uid|urn:oid:{study}", 1),
    ],
)
async def test_the_searches_of_the_table(app: Api, ct: Sample, query: str, found: int) -> None:
    later = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    studies, endpoints = await search(app, query.format(study=ct.study, later=later))
    assert (len(studies), len(endpoints)) == (found, found)


@pytest.mark.parametrize("more", ["", "&identifier=urn:oid:1.2.3", "&_lastUpdated=gt2020-01-01"])
async def test_another_patient_is_403(app: Api, stranger: Api, ct: Sample, more: str) -> None:
    """Access control: a mismatch receives 403, not an empty Bundle; the same for whoever does not exist."""
    for other in (stranger.patient, str(uuid4()), f"Patient/{stranger.patient}"):
        assert (await app.get(f"ImagingStudy?patient={other}{more}")).status_code == 403
    [study], _ = await search(app)
    assert (await stranger.get(f"ImagingStudy/{study['id']}")).status_code == 404


async def test_v1_and_wildcard_scopes(
    client: httpx.AsyncClient, people: People, ada: Person, ct: Sample
) -> None:
    for scope in ("patient/ImagingStudy.read", "patient/*.rs", "patient/*.read"):
        studies, endpoints = await search(Api(client, await people.token(ada, scope), ada.fhir_id))
        assert (len(studies), len(endpoints)) == (1, 1)


async def test_denied_studies_and_their_endpoints_are_left_out(
    client: httpx.AsyncClient, people: People, ada: Person, ct: Sample
) -> None:
    """Within an authorized patient what is not permitted is omitted; retrieval of it is denied as a whole."""
    scope = f"patient/ImagingStudy.rs?modality={DCM}|MR"
    narrow = Api(client, await people.token(ada, scope), ada.fhir_id)
    assert await search(narrow) == ([], [])
    assert (await narrow.get(f"Endpoint/{ada.fhir_id}")).status_code == 404
    for path in ("", "/metadata", f"/series/{ct.series}", f"/series/{ct.series}/instances/{ct.sop}/frames/1"):
        answer = await client.get(f"/dicomweb/studies/{ct.study}{path}", headers=bearer(narrow.token))
        assert answer.status_code == 404
    wide = Api(client, await people.token(ada, f"patient/ImagingStudy.rs?modality={DCM}|CT"), ada.fhir_id)
    studies, endpoints = await search(wide)
    assert (len(studies), len(endpoints)) == (1, 1)


async def test_scopes_are_not_combined(
    client: httpx.AsyncClient, people: People, ada: Person, ct: Sample
) -> None:
    """Each grant keeps its own context: another type's scope opens no images, nor does one for writing."""
    for scope in ("patient/Patient.rs patient/Endpoint.rs", "patient/ImagingStudy.c", "openid fhirUser"):
        token = await people.token(ada, scope)
        answer = await client.get(f"/fhir/ImagingStudy?patient={ada.fhir_id}", headers=bearer(token))
        assert answer.status_code == 403
        images = await client.get(f"/dicomweb/studies/{ct.study}", headers=bearer(token))
        assert images.status_code in (403, 404)


async def test_no_patient_context_is_no_system_access(
    client: httpx.AsyncClient, people: People, ada: Person, ct: Sample
) -> None:
    """A doctor's token without a patient in context opens nothing by patient/ scopes."""
    doctor = await people.doctor()
    await people.share(ada, doctor)
    token = await people.token(doctor, "patient/ImagingStudy.rs")
    answer = await client.get(f"/fhir/ImagingStudy?patient={ada.fhir_id}", headers=bearer(token))
    assert answer.status_code == 403
    images = await client.get(f"/dicomweb/studies/{ct.study}", headers=bearer(token))
    assert images.status_code in (403, 404)


async def test_backend_services_reach_what_they_were_given(
    client: httpx.AsyncClient, people: People, ada: Person, ct: Sample
) -> None:
    """The guide's example: 403 for a patient outside of the client's access, with system scopes."""
    system = await people.backend()
    token = await people.system_token(system, "system/ImagingStudy.rs")
    answer = await client.get(f"/fhir/ImagingStudy?patient={ada.fhir_id}", headers=bearer(token))
    assert answer.status_code == 403
    images = await client.get(f"/dicomweb/studies/{ct.study}", headers=bearer(token))
    assert images.status_code == 404


async def test_backend_services_succeed(client: httpx.AsyncClient, people: People) -> None:
    """Backend services from end to end: the client of a hospital searches the patient that its hospital brought, the
    Endpoint comes along, and the whole study comes from there; another hospital's client sees none of it."""
    system, sample = await people.backend(), instance()
    storing = bearer(await people.system_token(system, "system/ImagingStudy.crs"))
    content, kind = body([sample.data]), {"Content-Type": MULTIPART}
    assert (
        await client.post("/dicomweb/studies", content=content, headers=storing | kind)
    ).status_code == 200
    headers = bearer(await people.system_token(system, "system/ImagingStudy.rs"))
    uid = f"urn:dicom:uid|urn:oid:{sample.study}"
    [known] = (await client.get(f"/fhir/ImagingStudy?identifier={uid}", headers=headers)).json()["entry"]
    patient = known["resource"]["subject"]["reference"].removeprefix("Patient/")
    for query in ("", "&_lastUpdated=gt2020-01-01", f"&identifier=urn:oid:{sample.study}"):
        path = f"/fhir/ImagingStudy?patient={patient}{query}&_include=ImagingStudy:endpoint"
        found = (await client.get(path, headers=headers)).json()["entry"]
        modes = {each["search"]["mode"]: each["resource"] for each in found}
        assert modes["match"]["status"] == "available"
        assert modes["match"]["endpoint"] == [{"reference": f"Endpoint/{modes['include']['id']}"}]
    address = f"{modes['include']['address']}/studies/{sample.study}"
    answer = await client.get(address, headers=headers | {"Accept": WHOLE})
    assert answer.status_code == 200
    assert [content for _, content in parts(answer)] == [sample.data]
    other = bearer(await people.system_token(await people.backend(), "system/ImagingStudy.rs"))
    assert (await client.get(f"/fhir/ImagingStudy?patient={patient}", headers=other)).status_code == 403
    assert (await client.get(address, headers=other | {"Accept": WHOLE})).status_code == 404
    unscoped = bearer(await people.system_token(system, "system/Patient.rs"))
    assert (await client.get(f"/fhir/ImagingStudy?patient={patient}", headers=unscoped)).status_code == 403


async def test_no_token_is_401(client: httpx.AsyncClient, ada: Person, ct: Sample) -> None:
    for path in (f"/fhir/ImagingStudy?patient={ada.fhir_id}", f"/dicomweb/studies/{ct.study}"):
        answer = await client.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_what_is_slow_says_when_to_come_back(
    app: Api, ct: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 + Retry-After: the client repeats the identical request, and is answered then."""

    async def away(*_: Any, **__: Any) -> Any:
        raise StorageUnavailable()

    path = f"/patients/{app.patient}/dicomweb/studies/{ct.study}"
    headers = bearer(app.token) | {"Accept": WHOLE}
    with monkeypatch.context() as patched:
        patched.setattr(wado.catalogue, "instances_of", away)
        answer = await app.client.get(path, headers=headers)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
    assert (await app.client.get(path, headers=headers)).status_code == 200
