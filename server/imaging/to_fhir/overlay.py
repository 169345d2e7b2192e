"""What the patient corrected, laid over what the images say. Pure functions; `imaging/corrections.py` keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from .imaging_study import Series, Study, person, text

# Series of these hold no images: a corrected modality is not theirs.
NO_IMAGES = frozenset(
    {"SR", "DOC", "PR", "KO", "SEG", "RTSTRUCT", "RTPLAN", "REG", "AU", "FID", "PLAN", "SMR"}
)


def original_values(row: Any) -> dict[str, str]:
    """What the images say, as a correction would write it; of a row with study_day, modalities and attributes."""
    attributes = _json(row["attributes"])
    series = _json(row["series_attributes"]) if row["series_attributes"] else {}
    day = row["study_day"]
    return {
        "date": f"{day[:4]}-{day[4:6]}-{day[6:8]}" if len(day) == 8 else "",
        "description": text(attributes, "00081030"),
        "modality": "/".join(code for code in row["modalities"] if code not in NO_IMAGES),
        "body_part": text(series, "00180015"),
        "name": person(attributes, "00100010"),
    }


def overlaid(study: Study, corrected: Mapping[str, str]) -> Study:
    """The study as the patient says it is, for the ImagingStudy."""
    if not corrected:
        return study
    attributes = dict(study.attributes)
    if description := corrected.get("description"):
        attributes["00081030"] = {"vr": "LO", "Value": [description]}
    moved: dict[str, Any] = {}
    if day := corrected.get("date"):
        moved = {"day": day.replace("-", ""), "time": ""}
    modality = corrected.get("modality")
    modalities = corrected_modalities(study.modalities, modality) if modality else study.modalities
    series = [_series(each, study.day, corrected) for each in study.series]
    return replace(study, **moved, attributes=attributes, modalities=modalities, series=series)


def corrected_modalities(modalities: Sequence[str], code: str) -> list[str]:
    """The kinds of a study whose images are of this kind; what holds no images stays what it is."""
    return list(dict.fromkeys([code, *(each for each in modalities if each in NO_IMAGES)]))


def _series(series: Series, day: str, corrected: Mapping[str, str]) -> Series:
    if series.modality in NO_IMAGES:
        return series
    changed: dict[str, Any] = {}
    if modality := corrected.get("modality"):
        changed["modality"] = modality
    if body_part := corrected.get("body_part"):
        changed["attributes"] = {**series.attributes, "00180015": {"vr": "CS", "Value": [body_part]}}
    if "date" in corrected and series.day == day:
        changed |= {"day": corrected["date"].replace("-", ""), "time": ""}
    return replace(series, **changed)


def _json(prepared: bytes) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(bytes(prepared).replace(b"\x01", b"").replace(b"\0", b""))
    return found
