"""SMART Imaging Access (Argonaut 0.1.0): what an imaging app asks of the FHIR side. FHIR R4, ImagingStudy, Endpoint."""

from __future__ import annotations

import httpx
import pytest

from server.records import validate
from tests.conformance.dicomweb.samples import Sample, instance, store
from tests.factories import People, Person, bearer

from .conftest import Api, Json


async def keep(api: Api, sample: Sample | bytes) -> None:
    """Store an image into the caller's record."""
    async with httpx.AsyncClient(base_url=api.client.base_url, headers=bearer(api.token), timeout=60) as web:
        answer = await store(web, sample)
    assert answer.status_code == 200, answer.text


@pytest.fixture
async def ct(api: Api) -> Sample:
    sample = instance()
    await keep(api, sample)
    return sample


async def studies(api: Api, query: str = "") -> list[Json]:
    bundle = (await api.get(f"ImagingStudy?patient={api.patient}{query}")).json()
    return [each["resource"] for each in bundle.get("entry", []) if each["search"]["mode"] == "match"]


async def test_studies_with_their_endpoint(api: Api, ct: Sample) -> None:
    """Search by patient with _include: identifier, modality, and an Endpoint that says where the images are."""
    bundle = (await api.get(f"ImagingStudy?patient={api.patient}&_include=ImagingStudy:endpoint")).json()
    assert bundle["total"] == 1
    study, endpoint = (each["resource"] for each in bundle["entry"])
    assert [each["search"]["mode"] for each in bundle["entry"]] == ["match", "include"]
    assert {"system": "urn:dicom:uid", "value": f"urn:oid:{ct.study}"}.items() <= study["identifier"][
        0
    ].items()
    assert (study["status"], study["modality"][0]["code"]) == ("available", "CT")
    assert study["subject"]["reference"] == f"Patient/{api.patient}"
    assert study["endpoint"][0]["reference"] == f"Endpoint/{endpoint['id']}"
    assert endpoint["connectionType"]["code"] == "dicom-wado-rs"
    for resource in (study, endpoint):
        assert await validate.find_issues(resource) == []
    [short] = await studies(api, "&_summary=true")  # 3.1.1.5.9: the elements marked so, in the series too
    assert short["series"][0].keys() & {"uid", "instance"} == {"uid"}
    assert await validate.find_issues(short) == []
    root = httpx.URL(endpoint["address"])
    answer = await api.client.get(f"{root.path}/studies/{ct.study}/metadata", headers=bearer(api.token))
    assert answer.status_code == 200


SEARCHES = (
    ("&identifier=urn:oid:{study}", True),
    ("&identifier=urn:dicom:uid|urn:oid:{study}", True),
    ("&identifier=urn:oid:1.2.3", False),
    ("&modality=CT", True),
    ("&modality=http://dicom.nema.org/resources/ontology/DCM|CT", True),
    ("&modality=MR", False),
    ("&series={series}", True),
    ("&instance={sop}", True),
    ("&dicom-class=urn:oid:1.2.840.10008.5.1.4.1.1.2", True),
    ("&started=2024-01-31", True),
    ("&started=gt2024-02", False),
    ("&status=available", True),
    ("&_lastUpdated=gt2020-01-01", True),
    ("&_lastUpdated=gt2999-01-01", False),
    ("&patient.name=moor", True),
)


async def test_searches(api: Api, ct: Sample) -> None:
    for pattern, found in SEARCHES:
        query = pattern.format(study=ct.study, series=ct.series, sop=ct.sop)
        assert bool(await studies(api, query)) == found, query


async def test_an_unchanged_study_keeps_its_version(api: Api, ct: Sample) -> None:
    """A second instance makes one version; the same bytes again make none."""
    [study] = await studies(api)
    await keep(api, ct)
    [again] = await studies(api)
    assert again["meta"]["versionId"] == study["meta"]["versionId"]
    await keep(api, instance(ct.study, ct.series))
    [more] = await studies(api)
    assert (more["numberOfInstances"], more["meta"]["versionId"]) == (
        2,
        str(int(study["meta"]["versionId"]) + 1),
    )
    first = await api.get(f"ImagingStudy/{study['id']}/_history/{study['meta']['versionId']}")
    assert first.json() == study


async def test_a_filter_on_modality_narrows_fhir_and_images_alike(
    client: httpx.AsyncClient, people: People, ada: Person, api: Api, ct: Sample
) -> None:
    """Granular scope: denied studies are silently left out of searches, 404 by id, in both APIs."""
    mr = instance(Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    await keep(api, mr)
    assert len(await studies(api)) == 2
    dcm = "http://dicom.nema.org/resources/ontology/DCM"
    scope = f"patient/ImagingStudy.rs?modality={dcm}|CT patient/Endpoint.rs"
    narrow = Api(client, await people.token(ada, scope), ada.fhir_id)
    [seen] = await studies(narrow)
    assert seen["identifier"][0]["value"] == f"urn:oid:{ct.study}"
    hidden = next(each for each in await studies(api) if each["id"] != seen["id"])
    for path in (f"ImagingStudy/{hidden['id']}", f"ImagingStudy/{hidden['id']}/_history"):
        assert (await narrow.get(path)).status_code == 404
    assert await studies(narrow, "&modality=MR") == []
    for study, status in ((ct, 200), (mr, 404)):
        answer = await client.get(f"/dicomweb/studies/{study.study}/metadata", headers=bearer(narrow.token))
        assert answer.status_code == status


async def test_another_patients_studies_are_not_there(stranger: Api, api: Api, ct: Sample) -> None:
    [study] = await studies(api)
    assert (await stranger.get(f"ImagingStudy/{study['id']}")).status_code == 404
    assert (await stranger.get(f"ImagingStudy?patient={api.patient}")).status_code == 403
    assert await stranger.found(f"ImagingStudy?identifier=urn:oid:{ct.study}") == []
    endpoint = study["endpoint"][0]["reference"]
    assert (await stranger.get(endpoint)).status_code == 404


async def test_a_deleted_study_is_gone_from_fhir(api: Api, ct: Sample) -> None:
    [study] = await studies(api)
    answer = await api.client.delete(f"/dicomweb/studies/{ct.study}", headers=bearer(api.token))
    assert answer.status_code in (200, 204)
    assert await studies(api) == []
    assert (await api.get(f"ImagingStudy/{study['id']}")).status_code in (404, 410)


async def test_imaging_studies_are_not_written_by_apps(api: Api, ct: Sample) -> None:
    [study] = await studies(api)
    path = f"ImagingStudy/{study['id']}"
    assert (await api.put(path, study | {"description": "other"})).status_code == 405
    assert (await api.patch(path, [])).status_code == 405
    assert (await api.delete(path)).status_code == 405
