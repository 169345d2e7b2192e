"""Codes that DICOM and FHIR write differently.

DICOM PS3.16, Annex L (Body Part Examined as SNOMED CT) and CID 244 (Laterality); FHIR R4, ImagingStudy.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

DCM = "http://dicom.nema.org/resources/ontology/DCM"
SNOMED = "http://snomed.info/sct"
URI = "urn:ietf:rfc:3986"

# Body Part Examined (0018,0015) -> SNOMED CT code and meaning.
_BODY_PARTS = {
    "ABDOMEN": ("818981001", "Abdomen"),
    "ANKLE": ("70258002", "Ankle joint"),
    "AORTA": ("15825003", "Aorta"),
    "ARM": ("40983000", "Upper arm"),
    "BLADDER": ("89837001", "Bladder"),
    "BRAIN": ("12738006", "Brain"),
    "BREAST": ("76752008", "Breast"),
    "CALCANEUS": ("80144004", "Calcaneus"),
    "CHEST": ("816094009", "Chest"),
    "CLAVICLE": ("51299004", "Clavicle"),
    "COCCYX": ("64688005", "Coccyx"),
    "COLON": ("71854001", "Colon"),
    "CSPINE": ("122494005", "Cervical spine"),
    "EAR": ("117590005", "Ear"),
    "ELBOW": ("16953009", "Elbow joint"),
    "EYE": ("81745001", "Eye"),
    "FACE": ("89545001", "Face"),
    "FEMUR": ("71341001", "Femur"),
    "FINGER": ("7569003", "Finger"),
    "FOOT": ("56459004", "Foot"),
    "FOREARM": ("14975008", "Forearm"),
    "GALLBLADDER": ("28231008", "Gallbladder"),
    "HAND": ("85562004", "Hand"),
    "HEAD": ("69536005", "Head"),
    "HEART": ("80891009", "Heart"),
    "HIP": ("24136001", "Hip joint"),
    "HUMERUS": ("85050009", "Humerus"),
    "KIDNEY": ("64033007", "Kidney"),
    "KNEE": ("72696002", "Knee"),
    "LARYNX": ("4596009", "Larynx"),
    "LEG": ("30021000", "Lower leg"),
    "LIVER": ("10200004", "Liver"),
    "LSPINE": ("122496007", "Lumbar spine"),
    "LUNG": ("39607008", "Lung"),
    "MANDIBLE": ("91609006", "Mandible"),
    "MAXILLA": ("70925003", "Maxilla"),
    "NECK": ("45048000", "Neck"),
    "NOSE": ("45206002", "Nose"),
    "ORBIT": ("363654007", "Orbital structure"),
    "PANCREAS": ("15776009", "Pancreas"),
    "PELVIS": ("816092008", "Pelvis"),
    "PHARYNX": ("54066008", "Pharynx"),
    "PROSTATE": ("41216001", "Prostate"),
    "RIB": ("113197003", "Rib"),
    "SACRUM": ("54735007", "Sacrum"),
    "SCAPULA": ("79601000", "Scapula"),
    "SHOULDER": ("16982005", "Shoulder"),
    "SKULL": ("89546000", "Skull"),
    "SPINE": ("421060004", "Spine"),
    "SPLEEN": ("78961009", "Spleen"),
    "STERNUM": ("56873002", "Sternum"),
    "STOMACH": ("69695003", "Stomach"),
    "TESTIS": ("40689003", "Testis"),
    "THIGH": ("68367000", "Thigh"),
    "THUMB": ("76505004", "Thumb"),
    "THYROID": ("69748006", "Thyroid"),
    "TOE": ("29707007", "Toe"),
    "TSPINE": ("122495006", "Thoracic spine"),
    "UTERUS": ("35039007", "Uterus"),
    "WRIST": ("74670003", "Wrist joint"),
}
_LATERALITY = {"L": ("7771000", "Left"), "R": ("24028007", "Right"), "B": ("51440002", "Right and left")}


def modality(code: str) -> Json:
    """A Modality (0008,0060) as a Coding."""
    return {"system": DCM, "code": code}


def body_site(part: str) -> Json | None:
    """A Body Part Examined as a Coding; one that has no code keeps its own words."""
    text = part.strip()
    if not text:
        return None
    found = _BODY_PARTS.get(text.upper().replace(" ", ""))
    return {"system": SNOMED, "code": found[0], "display": found[1]} if found else {"display": text}


def laterality(code: str) -> Json | None:
    """A Laterality (0020,0060) as a Coding."""
    found = _LATERALITY.get(code.strip().upper())
    return {"system": SNOMED, "code": found[0], "display": found[1]} if found else None


def oid(uid: str) -> str:
    """A UID as the URI that FHIR wants (RFC 3061)."""
    return f"urn:oid:{uid}"


def coded(item: Json) -> Json | None:
    """An item of a code sequence, in DICOM JSON, as a CodeableConcept."""
    code, scheme, meaning = (text(item, tag) for tag in ("00080100", "00080102", "00080104"))
    if not (code or meaning):
        return None
    coding: Json = {}
    if code and (system := _SCHEMES.get(scheme)):
        coding = {"system": system, "code": code}
    elif code:
        coding = {"code": code}
    if meaning:
        coding["display"] = meaning
    return {"coding": [coding]} | ({"text": meaning} if meaning else {})


# Coding Scheme Designator (0008,0102) -> code system (PS3.16, 8; FHIR R4, Code Systems).
_SCHEMES = {
    "DCM": DCM,
    "SCT": SNOMED,
    "LN": "http://loinc.org",
    "RADLEX": "http://www.radlex.org",
    "UCUM": "http://unitsofmeasure.org",
    "C4": "http://www.ama-assn.org/go/cpt",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "I10C": "http://hl7.org/fhir/sid/icd-10-cm",
}


def values(model: Json, tag: str) -> list[Any]:
    """The values of an attribute in DICOM JSON (PS3.18, F.2.2)."""
    found = model.get(tag, {}).get("Value", [])
    return [value for value in found if value is not None]


def text(model: Json, tag: str) -> str:
    """The first value of an attribute as trimmed text; empty when it has none."""
    found = values(model, tag)
    return str(found[0]).strip() if found and not isinstance(found[0], dict) else ""


def person(model: Json, tag: str) -> tuple[str, ...]:
    """The groups of a person name: alphabetic, ideographic, phonetic."""
    found = values(model, tag)
    if not found or not isinstance(found[0], dict):
        return ()
    return tuple(found[0].get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic"))
