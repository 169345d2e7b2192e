"""What the directory of a DICOM file-set says of each kind of object.

DICOM PS3.3, F.5 (directory records: their keys and types) and F.4 (relationships). A key of type 1 must have a value:
`Key.otherwise` stands in where the object has none. The object itself is never changed.
"""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """One attribute of a directory record."""

    tag: str
    otherwise: str | None = None  # for type 1; None: may be empty (type 2)
    if_there: bool = False  # left out where the object has none (types 1C and 3)


DAY, TIME, NUMBER = "19000101", "000000", "#"  # NUMBER: the running number within what is above

_NUMBER = Key("00200013", NUMBER)
_CONTENT = (Key("00080023", DAY), Key("00080033", TIME))
_IDENTIFIED = (Key("00700080", "UNNAMED"), Key("00700081"), Key("00700084"))
_CODED = Key("0040A043")

PATIENT = (
    Key("00100010"),
    Key("00100020", "UNKNOWN"),
    Key("00100030", None, True),
    Key("00100040", None, True),
)
STUDY = (
    Key("00080020", DAY),
    Key("00080030", TIME),
    Key("00080050"),
    Key("00081030"),
    Key("0020000D", NUMBER),
    Key("00200010", NUMBER),
)
SERIES = (
    Key("00080060", "OT"),
    Key("0008103E", None, True),
    Key("0020000E", NUMBER),
    Key("00200011", NUMBER),
)

RECORDS: dict[str, tuple[Key, ...]] = {
    "IMAGE": (_NUMBER,),
    "RT DOSE": (_NUMBER, Key("3004000A", "PLAN")),
    "RT STRUCTURE SET": (_NUMBER, Key("30060002", "UNNAMED"), Key("30060008"), Key("30060009")),
    "RT PLAN": (_NUMBER, Key("300A0002", "UNNAMED"), Key("300A0006"), Key("300A0007")),
    "RT TREAT RECORD": (_NUMBER, Key("30080250"), Key("30080251")),
    "PRESENTATION": (
        Key("00700082", DAY),
        Key("00700083", TIME),
        _NUMBER,
        *_IDENTIFIED,
        Key("00081115", None, True),
        Key("00700402", None, True),
    ),
    "WAVEFORM": (_NUMBER, *_CONTENT),
    "SR DOCUMENT": (
        _NUMBER,
        Key("0040A491", "PARTIAL"),
        Key("0040A493", "UNVERIFIED"),
        *_CONTENT,
        Key("0040A030", None, True),
        _CODED,
        Key("0040A730", None, True),
    ),
    "KEY OBJECT DOC": (*_CONTENT, _NUMBER, _CODED, Key("0040A730", None, True)),
    "SPECTROSCOPY": (
        Key("00080008", "ORIGINAL"),
        *_CONTENT,
        _NUMBER,
        Key("00280008", "1"),
        Key("00280010", "1"),
        Key("00280011", "1"),
        Key("00289001", "1"),
        Key("00289002", "1"),
    ),
    "RAW DATA": (*_CONTENT, _NUMBER),
    "REGISTRATION": (*_CONTENT, _NUMBER, *_IDENTIFIED),
    "FIDUCIAL": (*_CONTENT, _NUMBER, *_IDENTIFIED),
    "ENCAP DOC": (
        Key("00080023"),
        Key("00080033"),
        _NUMBER,
        Key("00420010"),
        Key("0040E001", None, True),
        _CODED,
        Key("00420012", "application/octet-stream"),
    ),
    "VALUE MAP": (*_CONTENT, _NUMBER, *_IDENTIFIED),
    "STEREOMETRIC": (),
    "PLAN": (),
    "MEASUREMENT": (*_CONTENT, _NUMBER, *_IDENTIFIED),
    "SURFACE": (*_CONTENT, _NUMBER, *_IDENTIFIED),
    "SURFACE SCAN": _CONTENT,
    "TRACT": (*_CONTENT, _NUMBER, *_IDENTIFIED),
    "ASSESSMENT": (_NUMBER, Key("00080012", DAY), Key("00080013")),
    "RADIOTHERAPY": (_NUMBER, Key("30100033", None, True), Key("30100034", None, True), *_IDENTIFIED[1:]),
    "ANNOTATION": (*_CONTENT, _NUMBER, *_IDENTIFIED),
}
# Another attribute that tells the same, before something is made up.
INSTEAD = {
    "00080020": ("00080021", "00080022", "00080023", "00080012"),
    "00080030": ("00080031", "00080032", "00080033", "00080013"),
    "00080023": ("00080021", "00080020"),
    "00080033": ("00080031", "00080030"),
    "00080012": ("00080023", "00080020"),
    "00700082": ("00080023", "00080021", "00080020"),
    "00700083": ("00080033", "00080031", "00080030"),
}

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_TYPES = {
    "481.2": "RT DOSE",
    "481.3": "RT STRUCTURE SET",
    **dict.fromkeys(("481.5", "481.8"), "RT PLAN"),
    **dict.fromkeys(("481.4", "481.6", "481.7", "481.9"), "RT TREAT RECORD"),
    **dict.fromkeys((f"481.{n}" for n in (10, 11, *range(12, 23))), "RADIOTHERAPY"),
    "88.59": "KEY OBJECT DOC",
    **dict.fromkeys(("78.6", "79.1"), "SR DOCUMENT"),
    **dict.fromkeys(("78.1", "78.2", "78.3", "78.4", "78.5", "78.7", "80.1"), "MEASUREMENT"),
    "4.2": "SPECTROSCOPY",
    "66": "RAW DATA",
    **dict.fromkeys(("66.1", "66.3"), "REGISTRATION"),
    "66.2": "FIDUCIAL",
    "66.5": "SURFACE",
    "66.6": "TRACT",
    "67": "VALUE MAP",
    **dict.fromkeys(("68.1", "68.2"), "SURFACE SCAN"),
    "77.1.5.3": "STEREOMETRIC",
    "90.1": "ASSESSMENT",
    "91.1": "ANNOTATION",
    **{f"200.{n}": "PLAN" for n in (1, 3)},
}
_FAMILIES = (
    ("11.", "PRESENTATION"),
    ("9.", "WAVEFORM"),
    ("88.", "SR DOCUMENT"),
    ("104.", "ENCAP DOC"),
)


def record_type(sop_class: str) -> str:
    """The type of the record of an object (PS3.3, F.3.2.2); IMAGE where nothing better is known."""
    if not sop_class.startswith(_STORAGE):
        return "IMAGE"
    short = sop_class[len(_STORAGE) :]
    if short in _TYPES:
        return _TYPES[short]
    return next((name for prefix, name in _FAMILIES if short.startswith(prefix)), "IMAGE")


KEYS = frozenset(
    key.tag for record in (PATIENT, STUDY, SERIES, *RECORDS.values()) for key in record
) | frozenset(tag for tags in INSTEAD.values() for tag in tags)
