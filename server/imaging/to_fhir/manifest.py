"""The manifest of a study as a FHIR document, and the DocumentReference by which it is found.

IHE RAD MADO (Manifest-based Access to DICOM Objects, trial implementation): document Bundle with Composition,
ImagingStudy, Endpoint, Patient and who made it; FHIR R4, 3.3 (documents). Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from server.records import us_core
from server.records.us_core import LOINC

from . import codes

Json = dict[str, Any]

MADO = "https://profiles.ihe.net/RAD/MADO"
MODALITY = f"{MADO}/StructureDefinition/ext-R5-DocumentReference.modality"
BODY_SITE = f"{MADO}/StructureDefinition/ext-R5-DocumentReference.bodySite"
_FRAMES = f"{MADO}/StructureDefinition/MadoNumberOfFrames"
_LOCATION = f"{MADO}/StructureDefinition/MadoRetrieveLocationUIDExtension"
_BUNDLE = f"{MADO}/StructureDefinition/MadoFhirBundle"
_PROFILE = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DocumentReference.content.profile"
_TYPE = {
    "coding": [{"system": LOINC, "code": "18748-4", "display": "Diagnostic imaging study"}],
    "text": "Imaging study manifest",
}
_CATEGORY = {
    "coding": [
        {
            "system": "http://hl7.eu/fhir/eu-health-data-api/CodeSystem/eehrxf-document-priority-category-cs",
            "code": "Medical-Imaging",
        }
    ]
}
_FORMAT = {
    "system": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
    "code": "urn:ihe:rad:MADO:fhir-manifest:2026",
}
_KEY_OBJECTS = {
    "system": "http://dicom.nema.org/resources/ontology/DCMUID",
    "code": "1.2.840.10008.5.1.4.1.1.88.59",
    "display": "Key Object Selection Document",
}
KEY_OBJECTS_ID = "kos-"  # and the id of the study: the Binary that is the manifest in DICOM's form
_RADIOLOGY = {"coding": [{"system": codes.SNOMED, "code": "394914008", "display": "Radiology"}]}
_STUDY_UID = {"system": codes.DCM, "code": "110180", "display": "Study Instance UID"}
_ACCESSION = {"system": codes.DCM, "code": "121022", "display": "Accession Number"}
_MIME = ("application/dicom", "application/octet-stream", "application/dicom+xml", "application/json")


@dataclass(frozen=True)
class Manifest:
    """What a manifest is made of; a part that the reader may not see is missing."""

    base: str  # of the FHIR API
    study: Json  # the ImagingStudy
    frames: Mapping[str, int]  # of multi-frame instances, by SOP Instance UID
    endpoint: Json
    patient: Json | None
    orders: Sequence[Json]
    operator: str  # name of who runs this server


def identifier(study_id: str) -> Json:
    """The manifest's own: an OID made of the study's id, in the form that DICOM UIDs have (PS3.5, B.2)."""
    return {"system": "urn:dicom:uid", "value": f"urn:oid:{oid(study_id)}"}


def oid(text: str) -> str:
    """A UID that follows from the text (DICOM PS3.5, B.2)."""
    return f"2.25.{uuid5(NAMESPACE_URL, f'urn:lightbox:manifest/{text}').int}"


def document(manifest: Manifest) -> Json:
    """The document Bundle. Nothing in it changes while the study does not."""
    study = _study(manifest)
    place = _endpoint(manifest.endpoint)
    device, organization = _creator(manifest)
    parts = [
        _composition(study, device, organization),
        study,
        *([manifest.patient] if manifest.patient else []),
        place,
        device,
        organization,
        *manifest.orders,
    ]
    return {
        "resourceType": "Bundle",
        "id": study["id"],
        "meta": {"lastUpdated": study["meta"]["lastUpdated"]},
        "identifier": identifier(study["id"]),
        "type": "document",
        "timestamp": study["meta"]["lastUpdated"],
        "entry": [
            {"fullUrl": f"{manifest.base}/{each['resourceType']}/{each['id']}", "resource": each}
            for each in parts
        ],
    }


def document_reference(id: str, study: Json, created: datetime) -> Json:
    """What the manifest is found by: IHE MHD with MADO's extensions."""
    own = identifier(study["id"])
    resource: Json = {
        "resourceType": "DocumentReference",
        "id": id,
        "extension": [*_modalities(study), *_body_sites(study)],
        "masterIdentifier": own,
        "identifier": [own],
        "status": "current",
        "type": _TYPE,
        "category": [_CATEGORY],
        "subject": study["subject"],
        "date": _second(created),
        "description": study.get("description", "Imaging study manifest"),
        "content": [
            {
                "extension": [
                    {"url": _PROFILE, "extension": [{"url": "value[x]", "valueCanonical": _BUNDLE}]}
                ],
                "attachment": {
                    "contentType": "application/fhir+json",
                    "language": "en",
                    "url": f"Bundle/{study['id']}",
                    "title": "Imaging study manifest",
                    "creation": _second(created),
                },
                "format": _FORMAT,
            },
            {
                "attachment": {
                    "contentType": "application/dicom",
                    "language": "en",
                    "url": f"Binary/{KEY_OBJECTS_ID}{study['id']}",
                    "title": "Imaging study manifest (DICOM Key Object Selection)",
                    "creation": _second(created),
                },
                "format": _KEY_OBJECTS,
            },
        ],
        "context": {
            "facilityType": {"text": "Imaging"},
            "practiceSetting": _RADIOLOGY,
            "related": [{"identifier": each} for each in _related(study)],
        },
    }
    if started := study.get("started"):
        resource["context"]["period"] = {"start": started}
    if performed := study.get("procedureCode"):
        resource["context"]["event"] = performed
    return us_core.claimed(resource)


def _second(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _modalities(study: Json) -> Iterator[Json]:
    for each in study["modality"]:
        yield {"url": MODALITY, "valueCodeableConcept": {"coding": [each]}}


def _body_sites(study: Json) -> Iterator[Json]:
    sites = {str(each.get("code")): each for one in study.get("series", []) if (each := one.get("bodySite"))}
    for each in sites.values():
        yield {"url": BODY_SITE, "valueCodeableConcept": {"coding": [each]}}


def _related(study: Json) -> Iterator[Json]:
    """Study Instance UID and Accession Number, typed as MADO wants them."""
    for each in study["identifier"]:
        if each.get("system") == "urn:dicom:uid":
            yield {"type": {"coding": [_STUDY_UID]}, **each}
        elif codings := each.get("type", {}).get("coding"):
            yield {**each, "type": {"coding": [*codings, _ACCESSION]}}


def _study(manifest: Manifest) -> Json:
    """The ImagingStudy with what a manifest must say: typed identifiers, where each series lies, how many frames."""
    study = dict(manifest.study)
    place = {"reference": f"Endpoint/{manifest.endpoint['id']}"}
    untyped = [each for each in study["identifier"] if "system" not in each and "type" not in each]
    study["identifier"] = [*_related(study), *untyped]
    study["basedOn"] = [_typed_order(each) for each in study.get("basedOn", [])]
    study["series"] = [
        {
            **each,
            "endpoint": [place],
            "instance": [_instance(one, manifest.frames) for one in each["instance"]],
        }
        for each in study.get("series", [])
    ]
    if not study.get("procedureCode"):  # mado-reqproc-1: something must be there to be shown
        study["procedureCode"] = [{"text": study.get("description") or "Imaging"}]
    return {name: value for name, value in study.items() if value != []}


def _typed_order(order: Json) -> Json:
    found = order.get("identifier", {})
    codings = [*found.get("type", {}).get("coding", []), _ACCESSION]
    return {**order, "identifier": {**found, "type": {"coding": codings}}}


def _instance(instance: Json, frames: Mapping[str, int]) -> Json:
    count = frames.get(instance["uid"])
    return {"extension": [{"url": _FRAMES, "valueInteger": count}], **instance} if count else instance


def _endpoint(endpoint: Json) -> Json:
    location = {"url": _LOCATION, "valueString": oid(endpoint["address"])}
    extensions = [*endpoint.get("extension", []), location]
    return {**endpoint, "extension": extensions, "payloadMimeType": list(_MIME)}


def _creator(manifest: Manifest) -> tuple[Json, Json]:
    organization: Json = {
        "resourceType": "Organization",
        "id": "manifest-organization",
        "name": manifest.operator,
    }
    device: Json = {
        "resourceType": "Device",
        "id": "manifest-creator",
        "manufacturer": "Lightbox",
        "deviceName": [{"name": "Lightbox", "type": "model-name"}],
        "type": {"coding": [{"system": f"{MADO}/CodeSystem/MadoDeviceType", "code": "mado-creator"}]},
        "owner": {"reference": f"Organization/{organization['id']}"},
    }
    return device, organization


def _composition(study: Json, device: Json, organization: Json) -> Json:
    kinds = ", ".join(each["code"] for each in study["modality"])
    title = f"Imaging study manifest: {study.get('description') or kinds}"
    counts = f"{study['numberOfSeries']} series, {study['numberOfInstances']} instances"
    said = (title, study.get("started", ""), kinds, counts)
    return {
        "resourceType": "Composition",
        "id": f"manifest-{study['id']}"[:64],
        "text": _narrative(*said),
        "identifier": identifier(study["id"]),
        "status": "final",
        "type": _TYPE,
        "category": [_CATEGORY],
        "subject": study["subject"],
        "date": study["meta"]["lastUpdated"],
        "author": [
            {"reference": f"Device/{device['id']}"},
            {"reference": f"Organization/{organization['id']}"},
        ],
        "title": title,
        "custodian": {"reference": f"Organization/{organization['id']}"},
        "event": [{"detail": [{"reference": f"ImagingStudy/{study['id']}"}]}],
        "section": [_section(each) for each in study.get("series", [])],
    }


def _section(series: Json) -> Json:
    title = series.get("description") or series["modality"]["code"]
    counts = f"{series['modality']['code']}, {series['numberOfInstances']} instances"
    return {"title": title, "text": _narrative(title, counts, series["uid"])}


def _narrative(*lines: str) -> Json:
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{paragraphs}</div>'}
