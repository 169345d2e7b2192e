"""Answers made ready when an instance is stored: the DICOM JSON that a search returns at each level.

DICOM PS3.18, Tables 10.6.3-3 to 10.6.3-5 (attributes of a study, series and instance); F.2 (JSON). An attribute of
these tables that the object lacks is there without a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from .dicom_json import ROOT, Json, dumps
from .dictionary import vr_of

# Of the patient and the study: kept with the study for searches and `includefield`.
_STUDY_LEVEL = frozenset({
    0x00080005, 0x00080020, 0x00080030, 0x00080050, 0x00080051, 0x00080090, 0x00080096, 0x0008009C, 0x0008009D,
    0x00080201, 0x00081030, 0x00081032, 0x00081048, 0x00081049, 0x00081060, 0x00081062, 0x00081080, 0x00081084,
    0x00081110, 0x00081120, 0x0020000D, 0x00200010, 0x00321032, 0x00321033, 0x00321060, 0x00321064, 0x00380010,
    0x00380014, 0x00380060, 0x00380064, 0x00401002, 0x0040100A, 0x00401012,
})  # fmt: skip
# Of the series and its equipment.
_SERIES_LEVEL = frozenset({
    0x00080005, 0x00080021, 0x00080031, 0x00080060, 0x00080068, 0x00080070, 0x00080080, 0x00080081, 0x00080082,
    0x00080201, 0x00081010, 0x0008103E, 0x0008103F, 0x00081040, 0x00081050, 0x00081052, 0x00081070, 0x00081072,
    0x00081090, 0x00081111, 0x00180015, 0x00181000, 0x00181020, 0x00181030, 0x00185100, 0x0020000E, 0x00200011,
    0x00200052, 0x00200060, 0x00201040, 0x00400244, 0x00400245, 0x00400250, 0x00400251, 0x00400253, 0x00400254,
    0x00400260, 0x00400275, 0x00400280,
})  # fmt: skip

_STUDY_TABLE = (
    "00080005", "00080020", "00080030", "00080050", "00080090", "00080201", "00081030", "00100010", "00100020",
    "00100021", "00100030", "00100040", "0020000D", "00200010",
)  # fmt: skip
_SERIES_TABLE = (
    "00080005", "00080021", "00080031", "00080060", "00080201", "0008103E", "00180015", "0020000E", "00200011",
    "00200060", "00400244", "00400245", "00400275",
)  # fmt: skip
_INSTANCE_TABLE = (
    "00080005", "00080008", "00080016", "00080018", "00080023", "00080033", "00080201", "0020000D", "0020000E",
    "00200013", "00280008", "00280010", "00280011", "00280100",
)  # fmt: skip
# Left out where the object has none: what is empty in most objects only costs.
_IF_THERE = frozenset({
    "00080005", "00080008", "00080023", "00080033", "00080201", "00081030", "00100021", "00180015", "00200060",
    "00280008", "00280010", "00280011", "00280100", "00400244", "00400245", "00400275", "00080021", "00080031",
    "0008103E",
})  # fmt: skip


def study_attributes(model: Json) -> Json:
    """The attributes of the patient and the study among those of an instance."""
    return {tag: value for tag, value in model.items() if is_of_study(int(tag, 16)) and _is_small(value)}


def series_attributes(model: Json) -> Json:
    """The attributes of the series among those of an instance."""
    return {tag: value for tag, value in model.items() if is_of_series(int(tag, 16)) and _is_small(value)}


def is_of_series(tag: int) -> bool:
    """Whether an attribute is kept with the series."""
    return tag in _SERIES_LEVEL


def is_of_study(tag: int) -> bool:
    """Whether an attribute is kept with the study: those of the patient are."""
    return tag >> 16 in (0x0010, 0x0012) or tag in _STUDY_LEVEL


def _is_small(value: Json) -> bool:
    return "BulkDataURI" not in value


def study_qido(
    attributes: Json,
    *,
    study_uid: str,
    modalities: Iterable[str],
    sop_classes: Iterable[str],
    series: int,
    instances: int,
) -> bytes:
    """PS3.18, Table 10.6.3-3."""
    computed = {
        "00080056": _value("CS", "ONLINE"),
        "00080061": _values("CS", modalities),
        "00080062": _values("UI", sop_classes),
        "00081190": _url(f"/studies/{study_uid}"),
        "0020000D": _value("UI", study_uid),
        "00201206": _value("IS", series),
        "00201208": _value("IS", instances),
    }
    return _prepared(attributes, _STUDY_TABLE, computed)


def series_qido(attributes: Json, *, study_uid: str, series_uid: str, instances: int) -> bytes:
    """PS3.18, Table 10.6.3-4."""
    computed = {
        "00080056": _value("CS", "ONLINE"),
        "00081190": _url(f"/studies/{study_uid}/series/{series_uid}"),
        "0020000D": _value("UI", study_uid),
        "0020000E": _value("UI", series_uid),
        "00201209": _value("IS", instances),
    }
    return _prepared(attributes, _SERIES_TABLE, computed)


def instance_qido(model: Json, *, study_uid: str, series_uid: str, sop_uid: str) -> bytes:
    """PS3.18, Table 10.6.3-5."""
    computed = {
        "00080056": _value("CS", "ONLINE"),
        "00081190": _url(f"/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}"),
        "00083002": model.get("00083002", {"vr": "UI"}),
        "0020000D": _value("UI", study_uid),
        "0020000E": _value("UI", series_uid),
        "00080018": _value("UI", sop_uid),
    }
    return _prepared(model, _INSTANCE_TABLE, computed)


def _prepared(attributes: Json, table: Iterable[str], computed: Json) -> bytes:
    chosen = {
        tag: attributes.get(tag) or {"vr": vr_of(int(tag, 16))}
        for tag in table
        if tag in attributes or tag not in _IF_THERE
    }
    return dumps(dict(sorted((chosen | computed).items())))


def _value(vr: str, value: str | int) -> Json:
    return {"vr": vr, "Value": [value]}


def _values(vr: str, values: Iterable[Any]) -> Json:
    found = list(values)
    return {"vr": vr, "Value": found} if found else {"vr": vr}


def _url(path: str) -> Json:
    return {"vr": "UR", "Value": [orjson.Fragment(b'"' + ROOT + path.encode() + b'"')]}
