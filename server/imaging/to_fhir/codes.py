"""DICOM codes as FHIR codings.

DICOM PS3.16, 8 (coding schemes) and Annex L (Body Part Examined and its SNOMED CT codes); FHIR R4, Coding.
"""

from __future__ import annotations

from typing import Any

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

_BODY_PARTS = {
    "ABDOMEN": ("818983003", "Abdomen"),
    "ANKLE": ("70258002", "Ankle joint"),
    "ARM": ("40983000", "Upper arm"),
    "BLADDER": ("89837001", "Urinary bladder"),
    "BRAIN": ("12738006", "Brain"),
    "BREAST": ("76752008", "Breast"),
    "CHEST": ("816094009", "Chest"),
    "CLAVICLE": ("51299004", "Clavicle"),
    "COLON": ("71854001", "Colon"),
    "CSPINE": ("122494005", "Cervical spine"),
    "EAR": ("117590005", "Ear"),
    "ELBOW": ("16953009", "Elbow joint"),
    "EXTREMITY": ("66019005", "Extremity"),
    "EYE": ("81745001", "Eye"),
    "FEMUR": ("71341001", "Femur"),
    "FINGER": ("7569003", "Finger"),
    "FOOT": ("56459004", "Foot"),
    "FOREARM": ("14975008", "Forearm"),
    "HAND": ("85562004", "Hand"),
    "HEAD": ("69536005", "Head"),
    "HEART": ("80891009", "Heart"),
    "HIP": ("24136001", "Hip joint"),
    "HUMERUS": ("85050009", "Humerus"),
    "JAW": ("661005", "Jaw region"),
    "KIDNEY": ("64033007", "Kidney"),
    "KNEE": ("72696002", "Knee"),
    "LEG": ("30021000", "Lower leg"),
    "LIVER": ("10200004", "Liver"),
    "LSPINE": ("122496007", "Lumbar spine"),
    "LUNG": ("39607008", "Lung"),
    "NECK": ("45048000", "Neck"),
    "PELVIS": ("816092008", "Pelvis"),
    "PROSTATE": ("41216001", "Prostate"),
    "SHOULDER": ("16982005", "Shoulder"),
    "SKULL": ("89546000", "Skull"),
    "SPINE": ("421060004", "Spine"),
    "SSPINE": ("54735007", "Sacrum"),
    "THYROID": ("69748006", "Thyroid"),
    "TOE": ("29707007", "Toe"),
    "TSPINE": ("122495006", "Thoracic spine"),
    "UTERUS": ("35039007", "Uterus"),
    "WHOLEBODY": ("38266002", "Entire body"),
    "WRIST": ("8205005", "Wrist"),
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
    known = _BODY_PARTS.get(plain)
    return {"system": SNOMED, "code": known[0], "display": known[1]} if known else {"display": code.strip()}


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
    return values[0].strip() if isinstance(values[0], str) else ""
