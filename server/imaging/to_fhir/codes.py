"""DICOM codes as FHIR codings.

DICOM PS3.16, 8 (coding schemes) and Annex L (Body Part Examined); FHIR R4, Coding.
"""

from __future__ import annotations

from typing import Any

from .body_parts import BODY_PARTS
from .names import printable

Json = dict[str, Any]

DCM = "http://dicom.nema.org/resources/ontology/DCM"
SNOMED = "http://snomed.info/sct"
OID = "urn:ietf:rfc:3986"

_SYSTEMS = {
    "DCM": DCM,
    "SCT": SNOMED,
    "LN": "http://loinc.org",
    "UCUM": "http://unitsofmeasure.org",
    "RADLEX": "http://radlex.org",
    "CPT4": "http://www.ama-assn.org/go/cpt",
    "C4": "http://www.ama-assn.org/go/cpt",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "FMA": "http://purl.org/sig/ont/fma",
}

_LATERALITY = {
    "L": ("7771000", "Left"),
    "R": ("24028007", "Right"),
    "B": ("51440002", "Right and left"),
    "U": ("66459002", "Unilateral"),
}


def modality(code: str) -> Json:
    """A Modality (0008,0060)."""
    return {"system": DCM, "code": code}


def sop_class(uid: str) -> Json:
    """A SOP Class UID, as R4's ImagingStudy wants it."""
    return {"system": OID, "code": f"urn:oid:{uid}"}


def body_site(code: str) -> Json | None:
    """Body Part Examined (0018,0015); in its own words where the standard gives no code."""
    plain = code.strip().upper().replace(" ", "").replace("_", "")
    if not plain:
        return None
    known = BODY_PARTS.get(plain)
    return (
        {"system": SNOMED, "code": known[0], "display": known[1]}
        if known
        else {"display": printable(code).strip()}
    )


def laterality(code: str) -> Json | None:
    """Laterality (0020,0060)."""
    known = _LATERALITY.get(code.strip().upper())
    return {"system": SNOMED, "code": known[0], "display": known[1]} if known else None


def concept(item: Json) -> Json | None:
    """An item of a code sequence (PS3.3, 8.8) as a CodeableConcept."""
    code = _text(item, "00080100") or _text(item, "00080119") or _text(item, "00080120")
    meaning, scheme = _text(item, "00080104"), _text(item, "00080102")
    coding = {"code": code, "display": meaning}
    if scheme in _SYSTEMS:
        coding["system"] = _SYSTEMS[scheme]
    coding = {name: value for name, value in coding.items() if value}
    if not coding:
        return None
    return {"coding": [coding], "text": meaning} if meaning else {"coding": [coding]}


def _text(item: Json, tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return " ".join(printable(values[0]).split()) if isinstance(values[0], str) else ""
