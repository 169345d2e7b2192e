"""The Endpoint at which a patient's images are retrieved.

FHIR R4, Endpoint; Argonaut SMART Imaging Access 0.1.0 (requires-access-token).
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# One extension in the two spellings that clients look for.
REQUIRES_ACCESS_TOKEN = (
    "http://fhir.org/argonaut/smart-imaging/StructureDefinition/requires-access-token",
    "http://hl7.org/fhir/smart-app-launch/StructureDefinition/requires-access-token",
)
CONNECTION_TYPE = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"


def endpoint_id(patient_id: str) -> str:
    """The id of a patient's Endpoint: one a patient, so it needs no row of its own."""
    return f"wado-{patient_id}"


def endpoint(patient_id: str, address: str) -> Json:
    """The Endpoint; a client appends `/studies/{uid}` to its address."""
    return {
        "resourceType": "Endpoint",
        "id": endpoint_id(patient_id),
        "extension": [{"url": url, "valueBoolean": True} for url in REQUIRES_ACCESS_TOKEN],
        "status": "active",
        "connectionType": {"system": CONNECTION_TYPE, "code": "dicom-wado-rs", "display": "DICOM WADO-RS"},
        "name": "DICOMweb",
        "payloadType": [{"text": "DICOM WADO-RS"}],
        "payloadMimeType": ["application/dicom", "application/dicom+json"],
        "address": address,
    }
