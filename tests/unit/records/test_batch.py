"""Many resources stored at once are what each of them would be stored alone."""

from __future__ import annotations

from typing import Any

from server.access.services import Services
from server.audit.who import SYSTEM
from server.records import batch, store
from server.records.people import register_patient
from server.storage.sql import Statement

_TABLES = ("token", "string", "date", "reference", "uri", "quantity", "composite", "text")
_ROW = Statement(
    "row",
    "SELECT to_jsonb(resource) - 'key' - 'last_updated' - 'json' - 'id' AS row FROM resource WHERE id = :id",
)
_VERSION = Statement(
    "version",
    "SELECT to_jsonb(old) - 'last_updated' - 'json' - 'id' AS row FROM resource_version AS old WHERE id = :id",
)


def _resources(suffix: str, patient: str) -> list[dict[str, Any]]:
    subject = {"reference": f"Patient/{patient}"}
    coding = {"system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study"}
    return [
        {
            "resourceType": "ImagingStudy",
            "id": f"study-{suffix}",
            "status": "available",
            "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}],
            "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}],
            "subject": subject,
            "started": "2024-05-06",
            "description": "Thorax, quer",
        },
        {
            "resourceType": "DocumentReference",
            "id": f"document-{suffix}",
            "status": "current",
            "type": {"coding": [coding], "text": "Manifest"},
            "subject": subject,
            "date": "2024-05-06T10:11:12Z",
            "content": [{"attachment": {"contentType": "text/plain", "url": "http://example.org/a"}}],
        },
        {  # of the rarer kinds of index rows
            "resourceType": "Observation",
            "id": f"observation-{suffix}",
            "status": "final",
            "code": {"coding": [coding]},
            "subject": subject,
            "valueQuantity": {
                "value": 12.5,
                "unit": "mm",
                "system": "http://unitsofmeasure.org",
                "code": "mm",
            },
        },
        {"resourceType": "Device", "id": f"device-{suffix}", "status": "active"},
    ]


_NUMBER = Statement("number", "SELECT version FROM resource WHERE id = :id")


async def _found_by(services: Services, id: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "row": await services.db.fetch_val(_ROW, {"id": id}),
        "version": await services.db.fetch_val(_VERSION, {"id": id}),
    }
    for table in _TABLES:
        text = (
            f"SELECT (to_jsonb(row) - 'key')::text AS row FROM index_{table} AS row"
            " JOIN resource ON resource.key = row.key WHERE resource.id = :id"
        )
        rows = await services.db.fetch_all(Statement("rows", text), {"id": id})
        found[table] = sorted(row["row"] for row in rows)
    return found


async def test_a_batch_writes_what_put_writes(services: Services) -> None:
    patient = await register_patient(services, who=SYSTEM, name="Ada Moor")
    for resource in _resources("a", patient):
        await store.put(services.db, resource, patient_id=patient, study_uid="1.2.3", author="server")
    puts = [batch.Put(resource, patient, "1.2.3") for resource in _resources("b", patient)]
    async with services.db.transaction():
        await batch.put_all(services.db, puts)
    for one, other in zip(_resources("a", patient), _resources("b", patient), strict=True):
        assert await _found_by(services, one["id"]) == await _found_by(services, other["id"]), one[
            "resourceType"
        ]


async def test_only_what_changed_has_a_new_version(services: Services) -> None:
    patient = await register_patient(services, who=SYSTEM, name="Ada Moor")
    first = [batch.Put(resource, patient) for resource in _resources("c", patient)]
    changed = {**first[0].resource, "description": "Other"}
    for puts in (first, [*first[1:], batch.Put(changed, patient)]):
        async with services.db.transaction():
            await batch.put_all(services.db, puts)
    versions = [await services.db.fetch_val(_NUMBER, {"id": each.key[1]}) for each in first]
    assert versions == [2, 1, 1, 1]
