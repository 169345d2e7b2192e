"""US Core 8: which of its profiles a resource that this server makes can claim.

US Core Implementation Guide 8, profiles Patient, DiagnosticReport for Report and Note Exchange, DocumentReference:
their mandatory elements, bindings and invariants. What others send keeps the claims that it came with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .document import Json

_BASE = "http://hl7.org/fhir/us/core/StructureDefinition"
PATIENT = f"{_BASE}/us-core-patient"
NOTE = f"{_BASE}/us-core-diagnosticreport-note"
DOCUMENT = f"{_BASE}/us-core-documentreference"
LOINC = "http://loinc.org"
# Categories of reports and notes; one of them must be there.
NOTE_CATEGORIES = frozenset({"LP29684-5", "LP29708-2", "LP7839-6"})
RADIOLOGY = {"system": LOINC, "code": "LP29684-5", "display": "Radiology"}
CLINICAL_NOTE = {
    "system": "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category",
    "code": "clinical-note",
    "display": "Clinical Note",
}
RECORD = "urn:lightbox:record"  # the system of the identifier that every profile made here has
# us-core-10: a report that says something says for when.
_SAYING = frozenset({"partial", "preliminary", "final", "amended", "corrected", "appended"})


def record_identifier(patient_id: str) -> Json:
    """The number of a record on this server: US Core wants one, and a person who signs up has no other yet."""
    system = "http://terminology.hl7.org/CodeSystem/v2-0203"
    return {"type": {"coding": [{"system": system, "code": "MR"}]}, "system": RECORD, "value": patient_id}


def claimed(resource: Json) -> Json:
    """The resource, claiming its profile where it has all that the profile demands, and else not."""
    profile, fits = _PROFILES[resource["resourceType"]]
    meta = dict(resource.get("meta", {}))
    kept = [each for each in meta.pop("profile", []) if each != profile]
    if fits(resource):
        kept.append(profile)
    if kept:
        meta["profile"] = kept
    rest = {name: value for name, value in resource.items() if name != "meta"}
    return {**rest, "meta": meta} if meta else rest


def _patient(resource: Json) -> bool:
    """identifier with system and value; a name with family or given (us-core-6); telecom whole where there is one."""
    identifiers, names = resource.get("identifier", []), resource.get("name", [])
    return (
        bool(identifiers and names)
        and all(each.get("system") and each.get("value") for each in identifiers)
        and all(each.get("family") or each.get("given") for each in names)
        and all(each.get("system") and each.get("value") for each in resource.get("telecom", []))
        and all(each.get("language") for each in resource.get("communication", []))
    )


def _note(resource: Json) -> bool:
    """status, category (one of its own), code, subject; effective of a report that says something (us-core-10)."""
    has_moment = "effectiveDateTime" in resource or "effectivePeriod" in resource
    return (
        any(
            system == LOINC and code in NOTE_CATEGORIES
            for system, code in _codings(resource.get("category", []))
        )
        and bool(resource.get("code") and resource.get("subject"))
        and (has_moment or resource.get("status") not in _SAYING)
    )


def _document(resource: Json) -> bool:
    """status, type (a LOINC document), category, subject; each attachment with data or an address (us-core-6)."""
    attachments = [each.get("attachment", {}) for each in resource.get("content", [])]
    return (
        any(system == LOINC for system, _ in _codings([resource.get("type", {})]))
        and bool(resource.get("category") and resource.get("subject"))
        and bool(attachments)
        and all("url" in each or "data" in each for each in attachments)
    )


def _codings(concepts: list[Json]) -> Iterator[tuple[Any, Any]]:
    for concept in concepts:
        for coding in concept.get("coding", []):
            yield coding.get("system"), coding.get("code")


_PROFILES: dict[str, tuple[str, Callable[[Json], bool]]] = {
    "Patient": (PATIENT, _patient),
    "DiagnosticReport": (NOTE, _note),
    "DocumentReference": (DOCUMENT, _document),
}
SUPPORTED = {name: [profile] for name, (profile, _) in _PROFILES.items()}
