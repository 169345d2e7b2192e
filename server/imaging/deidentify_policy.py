"""Which images may be given without a name at all: whether their pixels could show who it is.

DICOM PS3.15, E.3.1 (Clean Pixel Data Option), E.3.2 (Clean Recognizable Visual Features Option). Nothing is blackened
and no face is taken away: where it is not certain that there is nothing to take away, the image is left out, with a
reason. What is not named here is left out.
"""

from __future__ import annotations

import re

from server.core.texts import N_

from .elements import PIXEL_DATA, DataSet
from .header import Header

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# Slices: what a scanner reconstructs carries no writing, unless somebody says so.
_SLICES = frozenset(
    _STORAGE + each for each in ("2", "2.1", "2.2", "4", "4.1", "4.4", "128", "128.1", "130", "20")
)
# Projections, on which stations burn names and marks: only where the image says that there are none.
_PROJECTIONS = frozenset(
    _STORAGE + each for each in ("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "13.1.3")
)
_FACELESS = _PROJECTIONS | {_STORAGE + "20"}  # no surface can be made of them

# The first that fits, by the beginning of the class behind the root of all.
_KINDS = (
    ("7", "capture"), ("6.1", "ultrasound"), ("3.1", "ultrasound"), ("6.2", "ultrasound"), ("77", "photo"),
    ("12", "angiography"), ("13.1.1", "angiography"), ("13.1.2", "angiography"), ("88", "report"),
    ("104", "document"), ("9", "waveform"), ("11", "state"), ("481", "radiotherapy"), ("66", "derived"),
    ("67", "derived"), ("68", "derived"), ("30", "derived"),
)  # fmt: skip

REASONS = {
    "capture": N_("A picture of a screen or a scan of paper: writing is part of it."),
    "ultrasound": N_("Ultrasound: the machine writes into the picture."),
    "photo": N_("A photograph or film."),
    "angiography": N_("Angiography or fluoroscopy: writing in the picture cannot be ruled out."),
    "report": N_("A report, not an image."),
    "document": N_("A document, not an image."),
    "waveform": N_("Curves, not an image."),
    "state": N_("A presentation of images, not an image."),
    "radiotherapy": N_("An object of radiotherapy, not an image."),
    "derived": N_("Made from other images, with words of whoever made it."),
    "other": N_("A kind of object that is not known to be free of names."),
    "burned-in": N_("It says itself that there is writing in the picture."),
    "unsaid": N_("Nothing says that there is no writing in the picture."),
    "colour": N_("In colour, as summaries and pictures of screens are."),
    "face": N_("A face could be made of it, or nothing says what part of the body it shows."),
    "overlay": N_("Drawings lie inside the pixels."),
    "damaged": N_("It cannot be read to its end, or lacks what an image must have."),
    "compression": N_("Its compression can hide text, or is not known."),
    "too-large": N_("Its compressed header or frames are larger than can be looked through."),
}

_SCREEN = re.compile(
    r"SCREEN|CAPTURE|DOSE|REPORT|PROTOCOL|SUMMARY|PATIENT|SCANNED|DOCUMENT|PAPER|REFORMATTED TABLE"
)
_HEAD = re.compile(
    r"HEAD|SKULL|BRAIN|CRAN|FAC(?:E|IAL)|NECK|ORBIT|SINUS|NASAL|NOSE|EYE|EAR\b|TEMPORAL|IAC|JAW|MANDIB|MAXIL|DENT|TEETH"
    r"|TONGUE|CAROTID|WHOLE|WHOLEBODY|\bWB\b|BODY|TOPO|SCOUT|CERVICAL|C-?SPINE|KOPF|SCHAEDEL|SCHÄDEL|HALS|TETE|CABEZA"
)
_ELSEWHERE = re.compile(
    r"CHEST|THORAX|LUNG|HEART|CARDIAC|ABD|PELVI|LIVER|KIDNEY|RENAL|SPLEEN|PANCREA|PROSTATE|UTERUS|HIP|KNEE|ANKLE|FOOT"
    r"|LEG|ARM\b|HAND|WRIST|ELBOW|SHOULDER|FEMUR|TIBIA|LUMBAR|LSPINE|L-SPINE|THORACIC|TSPINE|T-SPINE|SACR|COLON|BREAST"
    r"|EXTREMITY|BLADDER"
)
_SAYS_WHERE = (0x00180015, 0x00081030, 0x0008103E, 0x00181030, 0x00400254)


def reason_against(header: Header, *, faces_stay: bool) -> str | None:
    """Why this object is not given, as a key of `REASONS`; None where it may be."""
    data, kind = header.data, header.sop_class_uid
    if kind not in _SLICES | _PROJECTIONS:
        return _kind(kind)
    if PIXEL_DATA not in data or header.cut:
        return "damaged"
    said = _text(data, 0x00280301)
    if said not in ("", "NO"):
        return "burned-in"
    if _is_capture(data):
        return "capture"
    if _number(data, 0x00280002) != 1 or not _text(data, 0x00280004).startswith("MONOCHROME"):
        return "colour"
    if said != "NO" and (kind in _PROJECTIONS or _is_secondary(data)):
        return "unsaid"
    if any(_inside(data, group) for group in range(0x6000, 0x6100, 2)):
        return "overlay"
    if not faces_stay and (
        _text(data, 0x00280302) == "YES" or (kind not in _FACELESS and _may_show_a_face(data))
    ):
        return "face"
    return None


def _kind(sop_class: str) -> str:
    rest = sop_class.removeprefix(_STORAGE)
    if rest == sop_class:
        return "other"
    return next((name for start, name in _KINDS if f"{rest}.".startswith(f"{start}.")), "other")


def _is_capture(data: DataSet) -> bool:
    words = " ".join(_text(data, tag) for tag in (0x00080008, 0x0008103E))
    secondary = any(tag in data for tag in (0x00080064, 0x00181010, 0x00181012, 0x00181016, 0x00181018))
    return secondary or _SCREEN.search(words) is not None


def _is_secondary(data: DataSet) -> bool:
    kinds = [each.strip() for each in _text(data, 0x00080008).split("\\")]
    return "SECONDARY" in kinds or not kinds[0]


def _inside(data: DataSet, group: int) -> bool:
    """An overlay that lies in unused bits of the pixels (retired; PS3.3, C.9.2)."""
    return any(tag >> 16 == group for tag in data) and group << 16 | 0x3000 not in data


def _may_show_a_face(data: DataSet) -> bool:
    words = " ".join(_text(data, tag) for tag in _SAYS_WHERE)
    return _HEAD.search(words) is not None or _ELSEWHERE.search(words) is None


def _text(data: DataSet, tag: int) -> str:
    element = data.get(tag)
    return (element.value or b"").decode("latin-1").strip(" \0").upper() if element is not None else ""


def _number(data: DataSet, tag: int) -> int:
    element = data.get(tag)
    return int.from_bytes((element.value or b"")[:2], "big" if data.big else "little") if element else 0
