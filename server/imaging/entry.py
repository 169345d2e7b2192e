"""What the catalogue keeps of one instance: a header turned into columns and prepared answers.

Pure: nothing here knows the database. DICOM PS3.3, C.7 (patient, study, series, image modules).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from . import prepared
from .dicom_json import GROUPS, Converter, Json, dumps
from .header import Header
from .pixels import Pixels, pixels_of
from .text import fold, name_words, trigrams

_MOST = 256  # characters of a searched text


@dataclass(frozen=True)
class Entry:
    """One instance, ready for the catalogue."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    transfer_syntax: str
    modality: str
    study: dict[str, Any]  # columns of table study
    series: dict[str, Any]  # columns of table series
    instance: dict[str, Any]  # columns of table instance
    study_model: Json  # DICOM JSON of the study's attributes
    series_model: Json
    pixels: Pixels
    identity: Identity
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Identity:
    """Whom the object says it shows: a claim that is compared, never an identity here."""

    patient_id: str = ""
    issuer: str = ""
    names: tuple[str, ...] = ()  # alphabetic, ideographic, phonetic; empty where missing
    birth_day: str = ""  # YYYYMMDD
    sex: str = ""


def entry_of(header: Header) -> Entry:
    """The catalogue's view of a header."""
    trouble: set[str] = set()
    root = (
        f"/studies/{header.study_uid}/series/{header.series_uid}/instances/{header.sop_instance_uid}/bulkdata"
    )
    model = Converter(root, trouble).data_set(header.data)
    model["00083002"] = {"vr": "UI", "Value": [header.transfer_syntax]}
    model["00080016"] = {"vr": "UI", "Value": [header.sop_class_uid]}
    model["00080018"] = {"vr": "UI", "Value": [header.sop_instance_uid]}
    model = dict(sorted(model.items()))
    pixels = pixels_of(header)
    return Entry(
        study_uid=header.study_uid,
        series_uid=header.series_uid,
        sop_uid=header.sop_instance_uid,
        sop_class=header.sop_class_uid,
        transfer_syntax=header.transfer_syntax,
        modality=text(model, "00080060")[:16] or "OT",
        study=_study_columns(model),
        series=_series_columns(model),
        instance=_instance_columns(model, header, pixels),
        study_model=prepared.study_attributes(model),
        series_model=prepared.series_attributes(model),
        pixels=pixels,
        identity=identity_of(model),
        warnings=(*header.warnings, *sorted(trouble)),
    )


def identity_of(model: Json) -> Identity:
    """The identity that a DICOM JSON data set claims."""
    found = first(model, "00100010")
    groups = found if isinstance(found, dict) and model["00100010"].get("vr") == "PN" else {}
    return Identity(
        patient_id=text(model, "00100020"),
        issuer=text(model, "00100021"),
        names=tuple(groups.get(group, "") for group in GROUPS),
        birth_day=day(text(model, "00100030")),
        sex=text(model, "00100040"),
    )


def first(model: Json, tag: str) -> Any:
    """The first value of an attribute, or None."""
    values = model.get(tag, {}).get("Value")
    return values[0] if values else None


def items(model: Json, tag: str) -> list[Json]:
    """The items of a sequence; none of an attribute that an object says is something else."""
    element = model.get(tag, {})
    return list(element.get("Value") or ()) if element.get("vr") == "SQ" else []


def text(model: Json, tag: str) -> str:
    """The first value as text, empty when there is none."""
    value = first(model, tag)
    return str(value) if isinstance(value, str | int | float) else ""


def name(model: Json, tag: str) -> str:
    """A person name with all of its groups, as PS3.5 6.2.1.1 joins them."""
    value = first(model, tag)
    if not isinstance(value, dict) or model[tag].get("vr") != "PN":
        return ""
    return "=".join(value.get(group, "") for group in GROUPS).rstrip("=")


def integer(model: Json, tag: str) -> int | None:
    """The first value as a whole number that a column holds."""
    value = first(model, tag)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and -(2**31) <= value < 2**31 else None


def day(value: str) -> str:
    """A DA as YYYYMMDD (also the old form with dots); empty when the calendar has no such day."""
    digits = value.replace(".", "").replace("-", "").strip()
    if not re.fullmatch(r"[0-9]{8}", digits):
        return ""
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return ""
    return digits


def time(value: str) -> str:
    """A TM as HHMMSSffffff; empty when it is none."""
    found = re.fullmatch(
        r"([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d|60)(?:\.(\d{1,6})\d*)?)?)?", value.strip()
    )
    if not found:
        return ""
    hour, minute, second, fraction = found.groups()
    return f"{hour}{minute or '00'}{second or '00'}{(fraction or '').ljust(6, '0')}"


def as_date(digits: str) -> date | None:
    """YYYYMMDD as a date."""
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])) if digits else None


def _folded(model: Json, tag: str) -> str:
    return fold(text(model, tag))[:_MOST]


def _study_columns(model: Json) -> dict[str, Any]:
    who, referrer = name(model, "00100010")[:_MOST], name(model, "00080090")[:_MOST]
    words = name_words(who)
    study_day = day(text(model, "00080020"))
    return {
        "study_date": as_date(study_day),
        "study_day": study_day,
        "study_time": time(text(model, "00080030")),
        "accession_number": text(model, "00080050")[:_MOST],
        "study_id": text(model, "00200010")[:_MOST],
        "dicom_patient_id": text(model, "00100020")[:_MOST],
        "issuer": text(model, "00100021")[:_MOST],
        "birth_day": day(text(model, "00100030")),
        "sex": text(model, "00100040")[:16],
        "name_folded": fold(who)[:_MOST],
        "name_words": words,
        "name_trigrams": trigrams(words),
        "referrer_folded": fold(referrer)[:_MOST],
        "referrer_words": name_words(referrer),
        "title_folded": _folded(model, "00081030"),
    }


def _series_columns(model: Json) -> dict[str, Any]:
    requests = items(model, "00400275")
    return {
        "modality": text(model, "00080060")[:16] or "OT",
        "series_number": integer(model, "00200011"),
        "series_day": day(text(model, "00080021")),
        "series_time": time(text(model, "00080031")),
        "title_folded": _folded(model, "0008103E"),
        "body_part": text(model, "00180015")[:_MOST],
        "laterality": text(model, "00200060")[:16],
        "step_day": day(text(model, "00400244")),
        "step_time": time(text(model, "00400245")),
        "requests": sorted({text(item, "00400009") for item in requests} - {""}),
        "procedures": sorted({text(item, "00401001") for item in requests} - {""}),
    }


def _instance_columns(model: Json, header: Header, pixels: Pixels) -> dict[str, Any]:
    uids = {
        "study_uid": header.study_uid,
        "series_uid": header.series_uid,
        "sop_uid": header.sop_instance_uid,
    }
    return {
        "instance_number": integer(model, "00200013"),
        "sop_class": header.sop_class_uid,
        "transfer_syntax": header.transfer_syntax,
        "pixel_rows": pixels.rows,
        "pixel_columns": pixels.columns,
        "bits_allocated": pixels.bits_allocated,
        "samples": pixels.samples,
        "frame_count": pixels.frame_count,
        "frame_bits": pixels.frame_bits,
        "pixel_offset": pixels.offset,
        "pixel_length": pixels.length,
        "frame_table": pixels.table,
        "pieced": pixels.pieced,
        "content_day": day(text(model, "00080023")),
        "content_time": time(text(model, "00080033")),
        "qido": prepared.instance_qido(model, **uids),
        "metadata": dumps(model),
    }
