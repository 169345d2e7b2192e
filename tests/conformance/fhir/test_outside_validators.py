"""Whatever the server makes itself is valid for the validators of others. FHIR R4, 2.1 and the resources' pages."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conformance.dicomweb.samples import instance, multiframe
from tests.factories import People, Person, bearer
from tests.unit.imaging.reports import encapsulated, structured_report

from .conftest import Api
from .outside import findings
from .test_smart_imaging import keep

Json = dict[str, Any]

SCANNER = {
    "Manufacturer": "ACME", "ManufacturerModelName": "Scan 1", "DeviceSerialNumber": "77", "StationName": "CT1",
    "SoftwareVersions": ["1", "2"], "InstitutionName": "County Hospital", "BodyPartExamined": "CHEST",
    "Laterality": "L", "PerformingPhysicianName": "Reader^Bo", "OperatorsName": "Tech^Nic",
    "TimezoneOffsetFromUTC": "+0100", "ReasonForTheRequestedProcedure": "Cough",
}  # fmt: skip


@pytest.fixture
async def made(api: Api, people: People, ada: Person, client: httpx.AsyncClient) -> list[Json]:
    """One of everything that the server makes, read over HTTP by the patient."""
    sample = instance(**SCANNER)
    await keep(api, sample)
    for content in (multiframe(5, study=sample.study, Modality="OT"), structured_report(), encapsulated()):
        await keep(api, content)
    doctor = await people.doctor()
    await people.share(ada, doctor)
    organization = await people.provider()
    found: dict[str, Json] = {}

    async def take(path: str) -> Json:
        answer = await api.get(path)
        assert answer.status_code == 200, (path, answer.text)
        body: Json = answer.json()
        found[path] = body
        for each in body.get("entry", []) if body["resourceType"] == "Bundle" else []:
            if "resource" in each:
                one = each["resource"]
                found[f"{one['resourceType']}/{one['id']}"] = one
        return body

    for path in (
        "metadata",
        f"Patient/{ada.fhir_id}",
        f"Practitioner/{doctor.fhir_id}",
        f"Organization/{organization.fhir_id}",
        f"ImagingStudy?patient={ada.fhir_id}&_include=ImagingStudy:endpoint&_revinclude=Provenance:target",
        f"DiagnosticReport?patient={ada.fhir_id}&_revinclude=Provenance:target",
        f"Device?patient={ada.fhir_id}",
        f"Consent?patient={ada.fhir_id}",
        f"AuditEvent?patient={ada.fhir_id}&_count=100",
        f"Patient/{ada.fhir_id}/$everything",
        f"Patient/{ada.fhir_id}/_history",
        "ImagingStudy?_summary=count",
    ):
        await take(path)
    found["references"] = (await api.get(f"DocumentReference/$docref?patient={ada.fhir_id}")).json()
    for each in await api.found(f"ImagingStudy?patient={ada.fhir_id}"):
        assert (await take(f"Bundle/{each}"))["type"] == "document"  # the manifest
    for path in ("Patient/unknown", "Observation?nonsense=1&_format=json", "Nothing/1"):
        answer = await api.get(path, prefer="handling=strict")
        assert answer.status_code >= 400
        found[path] = answer.json()
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": "Patient"}}],
    }
    found["batch"] = (await api.post("", batch)).json()
    brands = await client.get("/fhir/.well-known/smart-configuration", headers=bearer(api.token))
    if address := brands.json().get("user_access_brand_bundle"):
        found["brands"] = (await client.get(address)).json()
    return list(found.values())


async def test_everything_is_valid(made: list[Json]) -> None:
    assert {
        "Patient", "ImagingStudy", "Endpoint", "DiagnosticReport", "Consent", "AuditEvent", "Provenance", "Binary",
        "OperationOutcome", "Bundle", "CapabilityStatement", "Practitioner", "Organization", "Device",
    } <= {each["resourceType"] for each in made}  # fmt: skip
    # None of the validators is a rubber stamp: each finds something in this one, and only there.
    broken: Json = {"resourceType": "Patient", "id": "x", "active": "true", "gender": "x", "nonsense": 1}
    said = await findings([broken, *made])
    for name in ("medplum", "fhir", "fhirkit", "pyfhircheck"):
        assert any(each.startswith(f"Patient/x {name}:") for each in said), name
    wrong = [each for each in said if not each.startswith("Patient/x ")]
    assert not wrong, "\n".join(wrong)
