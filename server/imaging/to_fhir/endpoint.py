"""The Endpoint of a patient: where the images named by an ImagingStudy are retrieved.

FHIR R4, Endpoint; Argonaut SMART Imaging Access 0.1.0 (both spellings of its extension).
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_REQUIRES_TOKEN = (
    "http://fhir.org/argonaut/smart-imaging/StructureDefinition/requires-access-token",
    "http://hl7.org/fhir/smart-app-launch/StructureDefinition/requires-access-token",
)


def endpoint(patient_id: str, address: str) -> Json:
    """The Endpoint whose id is the patient's: there is one DICOMweb root for each."""
    return {
        "resourceType": "Endpoint",
        "id": patient_id,
        "extension": [{"url": url, "valueBoolean": True} for url in _REQUIRES_TOKEN],
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
        },
        "name": "DICOMweb",
        "payloadType": [{"text": "DICOM WADO-RS"}],
        "payloadMimeType": ["application/dicom"],
        "address": address,
    }
