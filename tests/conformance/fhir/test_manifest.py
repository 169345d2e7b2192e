"""IHE RAD MADO: the manifest of a study as a document Bundle, and the DocumentReference that leads to it."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import httpx
import pydicom
import pytest

from tests.conformance.dicomweb.samples import Sample, instance, multiframe
from tests.factories import People, Person, bearer

from .conftest import Api, Json
from .test_smart_imaging import keep

MADO = "https://profiles.ihe.net/RAD/MADO/StructureDefinition"


@pytest.fixture
async def ct(api: Api) -> Sample:
    sample = instance(BodyPartExamined="CHEST", Manufacturer="ACME", TimezoneOffsetFromUTC="+0100")
    await keep(api, sample)
    await keep(api, multiframe(5, study=sample.study, Modality="OT"))
    return sample


async def reference(api: Api, query: str) -> list[Json]:
    answer = await api.get(f"DocumentReference?patient={api.patient}{query}")
    assert answer.status_code == 200, answer.text
    return [each["resource"] for each in answer.json().get("entry", [])]


async def test_it_is_found(api: Api, ct: Sample) -> None:
    """MADO: by patient with the parameters of its DocumentReference search."""
    for query, found in (
        ("&type=http://loinc.org|18748-4&status=current", 1),
        (f"&study-instance-uid=urn:oid:{ct.study}", 1),
        ("&study-instance-uid=urn:dicom:uid|urn:oid:1.2.3", 0),
        (f"&related:identifier=urn:dicom:uid|urn:oid:{ct.study}", 1),
        ("&accession-number=A1", 1),
        ("&modality=CT", 1),
        ("&modality=MR", 0),
        ("&anatomical-region=http://snomed.info/sct|816094009", 1),
        ("&period=ge2024-01", 1),
        ("&format=urn:ihe:rad:MADO:fhir-manifest:2026", 1),
        ("&format=http://dicom.nema.org/resources/ontology/DCMUID|1.2.840.10008.5.1.4.1.1.88.59", 1),
        ("&contenttype=application/dicom", 1),
    ):
        assert len(await reference(api, query)) == found, query


async def test_the_document(api: Api, ct: Sample) -> None:
    """Composition first; ImagingStudy, Patient, Endpoint, who made it; the same again when asked again."""
    [pointer] = await reference(api, "")
    content, _ = pointer["content"]
    assert content["attachment"]["contentType"] == "application/fhir+json"
    document = (await api.get(content["attachment"]["url"])).json()
    assert document["type"] == "document"
    assert document["identifier"] == pointer["masterIdentifier"]
    kinds = [each["resource"]["resourceType"] for each in document["entry"]]
    assert kinds == ["Composition", "ImagingStudy", "Patient", "Endpoint", "Device", "Organization"]
    by_kind = {each["resource"]["resourceType"]: each["resource"] for each in document["entry"]}
    study, composition = by_kind["ImagingStudy"], by_kind["Composition"]
    assert composition["event"][0]["detail"][0]["reference"] == f"ImagingStudy/{study['id']}"
    assert study["identifier"][0]["type"]["coding"][0]["code"] == "110180"
    assert all(each["endpoint"] for each in study["series"])
    counts = [
        each["extension"][0] for one in study["series"] for each in one["instance"] if "extension" in each
    ]
    assert counts == [{"url": f"{MADO}/MadoNumberOfFrames", "valueInteger": 5}]
    assert study["procedureCode"][0]["text"]
    assert len(composition["section"]) == 2
    again = (await api.get(content["attachment"]["url"])).json()
    assert again == document  # that it is valid R4, test_outside_validators.py proves


async def test_the_key_object_selection(
    client: httpx.AsyncClient, people: People, ada: Person, api: Api, stranger: Api, ct: Sample
) -> None:
    """PS3.3, A.35.4; PS3.16, TID 2010: every instance named once as evidence and once as content, with its address;
    the same bytes again; wrapped for who asks for FHIR; nobody else's, and not without the scope for the study."""
    [pointer] = await reference(api, "")
    path = pointer["content"][1]["attachment"]["url"]
    answer = await api.get(path, accept="application/dicom")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom"), answer.text
    found = pydicom.dcmread(BytesIO(answer.content))
    assert f"urn:oid:{found.SOPInstanceUID}" == pointer["masterIdentifier"]["value"]
    assert (found.SOPClassUID, found.Modality) == (found.file_meta.MediaStorageSOPClassUID, "KO")
    assert (found.StudyInstanceUID, str(found.PatientName)) == (ct.study, "Moor^Ada")
    assert found.ConceptNameCodeSequence[0].CodeValue == "113030"
    [evidence] = found.CurrentRequestedProcedureEvidenceSequence
    named = [
        one.ReferencedSOPInstanceUID
        for each in evidence.ReferencedSeriesSequence
        for one in each.ReferencedSOPSequence
    ]
    shown = [each.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for each in found.ContentSequence]
    assert (len(named), named) == (2, shown)
    assert {each.ValueType for each in found.ContentSequence} == {"IMAGE"}
    place = evidence.ReferencedSeriesSequence[0].RetrieveURL
    images = await api.client.get(f"{httpx.URL(place).path}/metadata", headers=bearer(api.token))
    assert images.status_code == 200
    assert (await api.get(path)).content == answer.content
    wrapped = (await api.get(path, accept="application/fhir+json")).json()
    assert b64decode(wrapped["data"]) == answer.content
    assert await api.found("Binary?_id=" + wrapped["id"]) == []  # made when it is read, kept nowhere
    assert (await stranger.get(path)).status_code == 404
    for scope, status in (("patient/ImagingStudy.rs patient/Binary.r", 200), ("patient/Binary.rs", 403)):
        token = await people.token(ada, scope)
        answer = await client.get(f"/fhir/{path}", headers=bearer(token))
        assert answer.status_code == status
        assert b"Moor" not in answer.content


async def test_the_key_object_selection_by_what_its_reader_may(
    client: httpx.AsyncClient, people: People, ada: Person, api: Api, ct: Sample
) -> None:
    """Its times are in the zone that it names; its tag is of its bytes; R4, 2.6.2.3: null among given names; decision
    4: none without the right to download; in a batch as alone."""
    [pointer] = await reference(api, "")
    document, path = (each["attachment"]["url"] for each in pointer["content"])
    first = await api.get(path, accept="application/dicom")
    found = pydicom.dcmread(BytesIO(first.content))
    assert (found.TimezoneOffsetFromUTC, found.StudyDate) == ("+0100", "20240131")
    assert "last-modified" not in first.headers
    for accept in ("application/dicom", "application/fhir+json"):
        assert (await api.get(path, accept=accept, if_none_match=first.headers["etag"])).status_code == 304
    patient = (await api.get(f"Patient/{api.patient}")).json()
    hidden = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                             "valueCode": "masked"}]}  # fmt: skip
    patient["name"] = [{"family": "Moor", "given": [None], "_given": [hidden]}]
    assert (await api.put(f"Patient/{api.patient}", patient)).status_code == 200
    later = await api.get(path, accept="application/dicom", if_none_match=first.headers["etag"])
    assert (later.status_code, str(pydicom.dcmread(BytesIO(later.content)).PatientName)) == (200, "Moor")
    entries = [{"request": {"method": "GET", "url": url}} for url in (document, path)]
    answer = await api.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    alone, wrapped = (each["resource"] for each in answer.json()["entry"])
    assert (alone["type"], b64decode(wrapped["data"])) == ("document", later.content)
    for rights, status in ((("images", "reports"), 404), (("images", "reports", "download"), 200)):
        doctor = await people.doctor()
        await people.share(ada, doctor, rights=rights)
        token = bearer(await people.token(doctor, "user/*.rs"))
        assert (await client.get(f"/fhir/{document}", headers=token)).status_code == 200
        for accept in ("application/dicom", "application/fhir+json"):
            answer = await client.get(f"/fhir/{path}", headers=token | {"accept": accept})
            assert answer.status_code == status, (rights, answer.text)


async def test_it_shows_what_its_reader_may_see(
    client: httpx.AsyncClient, people: People, ada: Person, api: Api, stranger: Api, ct: Sample
) -> None:
    """404 for a stranger and for a study that a scope denies; no Patient without a scope for it."""
    [pointer] = await reference(api, "")
    path = pointer["content"][0]["attachment"]["url"]
    assert (await stranger.get(path)).status_code == 404
    dcm = "http://dicom.nema.org/resources/ontology/DCM"
    for scope, status in (
        ("patient/ImagingStudy.rs", 200),
        (f"patient/ImagingStudy.rs?modality={dcm}|MR", 404),
    ):
        token = await people.token(ada, scope)
        answer = await client.get(f"/fhir/{path}", headers=bearer(token))
        assert answer.status_code == status
        if status == 200:
            assert "Patient" not in [each["resource"]["resourceType"] for each in answer.json()["entry"]]
    token = await people.token(ada, "patient/Patient.rs")
    assert (await client.get(f"/fhir/{path}", headers=bearer(token))).status_code == 403
