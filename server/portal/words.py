"""How things are said: dates spelled out, names of people and of kinds of images."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime

from babel.dates import format_date

from server.core.texts import N_, locale

# DICOM PS3.3 C.7.3.1.1.1 (Modality), in words a patient knows; what is missing is shown by its code.
KINDS = {
    "CT": N_("CT"),
    "MR": N_("MRI"),
    "US": N_("Ultrasound"),
    "CR": N_("X-ray"),
    "DX": N_("X-ray"),
    "RF": N_("Fluoroscopy"),
    "XA": N_("Angiography"),
    "MG": N_("Mammogram"),
    "NM": N_("Nuclear medicine"),
    "PT": N_("PET"),
    "OT": N_("Images"),
    "SC": N_("Captured image"),
    "ECG": N_("ECG"),
    "ES": N_("Endoscopy"),
    "OP": N_("Eye photography"),
    "OPT": N_("Eye tomography"),
    "IO": N_("Dental X-ray"),
    "PX": N_("Dental panorama"),
    "XC": N_("Photograph"),
    "SM": N_("Microscopy"),
    "RTIMAGE": N_("Radiotherapy image"),
    "RTSTRUCT": N_("Radiotherapy structures"),
    "RTPLAN": N_("Radiotherapy plan"),
    "RTDOSE": N_("Radiotherapy dose"),
    "SR": N_("Measurements"),
    "PR": N_("Display settings"),
    "SEG": N_("Segmentation"),
    "DOC": N_("Document"),
    "KO": N_("Marked images"),
}
# Codes that are no kind of imaging somebody would choose.
NO_KINDS = frozenset({"SR", "PR", "KO", "SEG", "DOC", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTIMAGE"})
_SECONDARY = {"SR", "PR", "KO", "SEG", "DOC"}

STATES = {
    "requested": N_("Waiting"),
    "invited": N_("Waiting"),
    "active": N_("Can see"),
    "declined": N_("Declined"),
    "withdrawn": N_("Withdrawn"),
    "expired": N_("Expired"),
    "ended": N_("Ended"),
}

RIGHTS = {
    "images": N_("See the images"),
    "reports": N_("Read the reports"),
    "download": N_("Download the original files"),
    "add": N_("Add images and reports"),
    "pass-on": N_("Pass on to colleagues in the care team"),
}

VERIFICATION = {
    "unverified": N_("Registration not checked yet"),
    "verified": N_("Registration checked"),
    "suspended": N_("Suspended"),
}


def day(value: date | datetime | None, language: str = "en") -> str:
    """A date spelled out: 21 November 2026."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        value = value.astimezone(UTC).date()
    return format_date(value, "long", locale=locale(language))


def month(value: date, language: str = "en") -> str:
    """A month spelled out: November 2026."""
    return format_date(value, "MMMM y", locale=locale(language))


def month_name(number: int, language: str = "en") -> str:
    """January is 1."""
    return str(locale(language).months["stand-alone"]["wide"][number])


def moment(value: datetime | None, language: str = "en") -> str:
    """A moment spelled out in UTC; the page turns it into the reader's zone where it can."""
    if value is None:
        return ""
    value = value.astimezone(UTC)
    return f"{day(value, language)}, {value:%H:%M} UTC"


def person(value: str) -> str:
    """A DICOM person name (PS3.5, 6.2.1) as people write it: "Doe^Jane^^Dr" is "Dr Jane Doe"."""
    group = next((each for each in value.split("=") if each.replace("^", "").strip()), "")
    family, given, middle, prefix, suffix = (part.strip() for part in [*group.split("^"), "", "", "", ""][:5])
    return " ".join(part for part in (prefix, given, middle, family, suffix) if part)


def initials(name: str) -> str:
    """One or two letters for a person without a picture."""
    words = [each for each in re.split(r"[\s.]+", name) if each[:1].isalpha() and each.lower() not in _TITLES]
    letters = [each[0] for each in (words[:1] + words[-1:] if len(words) > 1 else words)]
    return "".join(letters).upper() or "?"


_TITLES = {"dr", "prof", "mr", "mrs", "ms", "herr", "frau", "med"}


def kinds(modalities: Iterable[str]) -> list[str]:
    """The kinds of images of a study, those that are only about others last and only when alone."""
    codes = list(dict.fromkeys(modalities))
    main = [each for each in codes if each not in _SECONDARY]
    return list(dict.fromkeys(KINDS.get(each, each) for each in main or codes))
