"""The directory of a DICOM file-set (DICOMDIR), and the names of the files in it.

DICOM PS3.10, 8 (file-sets, file IDs) and 8.6 (DICOMDIR); PS3.3, F (Basic Directory); PS3.12, V (ZIP). Instances may
come in any order, one by one; what is kept of each is its record, some 300 bytes, so that hundreds of thousands fit.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import pack, pack_into
from typing import Any

import orjson

from . import transfer_syntax as syntaxes
from .catalogue import InstanceRow
from .dicom_json import ROOT, Json
from .dictionary import LONG_VRS, vr_of
from .fileset_records import INSTEAD, KEYS, NUMBER, PATIENT, RECORDS, SERIES, STUDY, Key, record_type
from .rewritten import IMPLEMENTATION_NAME, IMPLEMENTATION_UID

DIRECTORY_NAME = "DICOMDIR"
FOLDER = "DICOM"

_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
_UTF_8 = "ISO_IR 192"
_PIECE = 1 << 20
_NEXT, _LOWER = 16, 38  # where the two offsets lie in a record, counted from its item's tag
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_WHOLE = {"US": "H", "SS": "h", "UL": "L", "SL": "l"}
_MOST = {"DA": 8, "SH": 16, "CS": 16, "IS": 12, "TM": 14, "AS": 4}  # bytes, of what an object may break
_LONGEST = 1024  # characters of any value
_ITEM, _ITEM_END = b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


@dataclass(frozen=True)
class Entry:
    """One instance as the directory sees it."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    transfer_syntax: str
    attributes: Json = field(default_factory=dict)  # DICOM JSON, by eight hex digits


def attributes_of(metadata: bytes) -> Json:
    """Of an instance's DICOM JSON what the directory may say, and its SOP Instance UID."""
    model: Json = orjson.loads(metadata.replace(ROOT, b""))
    return {tag: value for tag, value in model.items() if tag in KEYS or tag == "00080018"}


def entry_of(row: InstanceRow, transfer_syntax: str, attributes: Json) -> Entry:
    """The entry of an instance that is held, as it goes out; `attributes` as `attributes_of` its metadata."""
    modality = {"vr": "CS", "Value": [row.modality]}
    attributes = {"00080060": modality, **attributes} if row.modality else attributes
    return Entry(row.study_uid, row.series_uid, row.sop_uid, row.sop_class, transfer_syntax, attributes)


@dataclass
class _Node:
    """A record that others lie beneath."""

    name: str  # of its folder
    lower: int  # where the offset of its first child is to be written
    last: int = 0  # where the offset of the one after its last child is to be written
    count: int = 0
    children: dict[str, _Node] = field(default_factory=dict)


class FileSet:
    """Gathers instances; gives each its file name, and at the end the directory."""

    def __init__(self, label: str = "LIGHTBOX") -> None:
        self._label = label.upper()[:16]
        self._body = bytearray()
        self._root = _Node(FOLDER, -1)
        self._first = self._last = 0
        self._base = len(_head(self._label, "", 0, 0))

    def add(self, entry: Entry) -> str:
        """Note the instance; returns the name of its file, with slashes (PS3.10, 8.2: File ID)."""
        given = entry.attributes
        own = {
            "0020000D": {"vr": "UI", "Value": [entry.study_uid]},
            "0020000E": {"vr": "UI", "Value": [entry.series_uid]},
        }
        values = {**given, **own}
        patient = self._under(self._root, _patient_key(values), "PT", "PATIENT", PATIENT, values)
        study = self._under(patient, entry.study_uid, "ST", "STUDY", STUDY, values)
        series = self._under(study, entry.series_uid, "SE", "SERIES", SERIES, values)
        name = f"{series.name}/IM{_base36(series.count)}"
        kind = record_type(entry.sop_class)
        file = {
            "00041500": ("CS", name.replace("/", "\\")),
            "00041510": ("UI", entry.sop_class),
            "00041511": ("UI", entry.sop_uid),
            "00041512": ("UI", entry.transfer_syntax),
        }
        self._record(series, kind, RECORDS[kind], values, file)
        return name

    def written(self) -> Iterator[bytes]:
        """The bytes of DICOMDIR."""
        digest = hashlib.blake2b(self._body, digest_size=16).digest()
        uid = f"2.25.{uuid.UUID(bytes=digest, version=4).int}"
        yield _head(self._label, uid, self._first, self._last)
        for start in range(0, len(self._body), _PIECE):
            yield bytes(self._body[start : start + _PIECE])
        yield _SEQUENCE_END

    def _under(
        self, parent: _Node, key: str, prefix: str, kind: str, keys: tuple[Key, ...], values: Json
    ) -> _Node:
        node = parent.children.get(key)
        if node is None:
            name = f"{parent.name}/{prefix}{_base36(parent.count)}"
            start = self._record(parent, kind, keys, values, {})
            node = parent.children[key] = _Node(name, start + _LOWER)
        return node

    def _record(
        self,
        parent: _Node,
        kind: str,
        keys: tuple[Key, ...],
        values: Json,
        file: Mapping[str, tuple[str, str]],
    ) -> int:
        """Write a record, and its place into the one before it or above; returns where it starts."""
        parent.count += 1
        start = len(self._body)
        self._body += _record_bytes(kind, keys, values, file, parent.count)
        offset = self._base + start
        before = parent.last or parent.lower
        if before >= 0:
            pack_into("<L", self._body, before, offset)
        if parent is self._root:
            self._first, self._last = self._first or offset, offset
        parent.last = start + _NEXT
        return start


def _base36(number: int) -> str:
    """Six digits: a name has eight characters (PS3.10, 8.2)."""
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


def _patient_key(values: Json) -> str:
    return f"{_text(values, '00100020')}\0{_text(values, '00100010')}\0{_text(values, '00100030')}"


# -- values


def _text(values: Json, tag: str) -> str:
    """The values of an attribute as text, backslashes between."""
    found = (values.get(tag) or {}).get("Value") or []
    return "\\".join(_one(value) for value in found) if isinstance(found, list) else ""


def _one(value: Any) -> str:
    if isinstance(value, dict):  # a person's name
        groups = [str(value.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return "" if value is None else str(value)


def _record_bytes(
    kind: str, keys: tuple[Key, ...], values: Json, file: Mapping[str, tuple[str, str]], number: int
) -> bytes:
    elements = dict(file)
    nested: dict[str, bytes] = {}
    for key in keys:
        vr = vr_of(int(key.tag, 16))
        if vr == "SQ":
            nested[key.tag] = _sequence(key, values)
            continue
        text = _text(values, key.tag) or next(
            (found for tag in INSTEAD.get(key.tag, ()) if key.otherwise and (found := _text(values, tag))), ""
        )
        if not text and key.if_there:
            continue
        stands_in = str(number) if key.otherwise == NUMBER else key.otherwise or ""
        elements[key.tag] = (vr, _fitting(text, vr) or stands_in)
    sequences = orjson.dumps([values.get(tag) for tag in nested])
    if not (sequences.isascii() and all(text.isascii() for _, text in elements.values())):
        elements["00080005"] = ("CS", _UTF_8)
    pieces = {tag: _element(tag, vr, text) for tag, (vr, text) in elements.items()}
    pieces |= {tag: piece for tag, piece in nested.items() if piece}
    head = (
        _raw(0x00041400, "UL", b"\0\0\0\0")
        + _raw(0x00041410, "US", b"\xff\xff")
        + _raw(0x00041420, "UL", b"\0\0\0\0")
        + _element("00041430", "CS", kind)
    )
    body = head + b"".join(pieces[tag] for tag in sorted(pieces))
    return pack("<HHL", 0xFFFE, 0xE000, len(body)) + body


def _fitting(text: str, vr: str) -> str:
    """A value that the VR can hold: what objects break, the directory does not."""
    if vr in ("DA", "TM"):
        text = text.replace(".", "", 2) if vr == "DA" else text.replace(":", "")
        if not text.replace(".", "").isdigit():
            return ""
    if vr == "IS":
        text = text.split("\\")[0].split(".")[0]
        if not text.lstrip("+-").isdigit():
            return ""
    return text[: _MOST.get(vr, _LONGEST)] if "\\" not in text else text[:_LONGEST]


def _sequence(key: Key, values: Json) -> bytes:
    """A sequence as it is in the object; of content, only what modifies the title (PS3.3, F.5.15)."""
    items = [item for item in (values.get(key.tag) or {}).get("Value") or [] if isinstance(item, dict)]
    if key.tag == "0040A730":
        items = [item for item in items if _text(item, "0040A010") == "HAS CONCEPT MOD"]
    if not items and key.if_there:
        return b""
    return _nested(key.tag, items, 0)


def _nested(tag: str, items: list[Json], depth: int) -> bytes:
    out = bytearray(pack("<HH2sHL", int(tag[:4], 16), int(tag[4:], 16), b"SQ", 0, 0xFFFFFFFF))
    for item in items:
        out += _ITEM
        for inner in sorted(item):
            vr = str(item[inner].get("vr") or "")
            if vr == "SQ" and depth < 8:
                below = [each for each in item[inner].get("Value") or [] if isinstance(each, dict)]
                out += _nested(inner, below, depth + 1)
            elif vr in _WHOLE:
                numbers = [each for each in item[inner].get("Value") or [] if isinstance(each, int)]
                out += _raw(int(inner, 16), vr, b"".join(pack(f"<{_WHOLE[vr]}", each) for each in numbers))
            elif vr and vr not in LONG_VRS and vr not in ("FL", "FD", "AT"):
                out += _element(inner, vr, _text(item, inner))
        out += _ITEM_END
    return bytes(out + _SEQUENCE_END)


def _element(tag: str, vr: str, text: str) -> bytes:
    if vr in _WHOLE:
        numbers = [int(part) for part in text.split("\\") if part.isdigit()]
        return _raw(int(tag, 16), vr, b"".join(pack(f"<{_WHOLE[vr]}", each & 0x7FFF) for each in numbers))
    value = text[:_LONGEST].encode("utf-8", "replace")
    return _raw(int(tag, 16), vr, value + (b"\0" if vr == "UI" else b" ") * (len(value) % 2))


def _raw(tag: int, vr: str, value: bytes) -> bytes:
    if vr in LONG_VRS:
        return pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(value)) + value
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def _head(label: str, uid: str, first: int, last: int) -> bytes:
    """Preamble, file meta information (of one length, whatever the UID), and the file-set's own elements."""
    meta = (
        _raw(0x00020001, "OB", b"\0\1")
        + _element("00020002", "UI", _DIRECTORY_CLASS)
        + _raw(0x00020003, "UI", uid.encode().ljust(64, b"\0"))
        + _element("00020010", "UI", syntaxes.EXPLICIT)
        + _element("00020012", "UI", IMPLEMENTATION_UID)
        + _element("00020013", "SH", IMPLEMENTATION_NAME)
    )
    return (
        b"\0" * 128
        + b"DICM"
        + _raw(0x00020000, "UL", pack("<L", len(meta)))
        + meta
        + _element("00041130", "CS", label)
        + _raw(0x00041200, "UL", pack("<L", first))
        + _raw(0x00041202, "UL", pack("<L", last))
        + _raw(0x00041212, "US", b"\0\0")
        + pack("<HH2sHL", 0x0004, 0x1220, b"SQ", 0, 0xFFFFFFFF)
    )
