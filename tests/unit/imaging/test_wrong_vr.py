"""Attributes under a VR that is not theirs: whatever the object says, what is made of it holds."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from fhir.resources.R4B.imagingstudy import ImagingStudy

import server.imaging as room
from server.imaging.codec import Undecodable, native
from server.imaging.description import Description, describe
from server.imaging.entry import Entry, entry_of
from server.imaging.header import NoUid, header_of
from server.imaging.picture import Look, picture
from server.imaging.to_fhir.imaging_study import Instance, Series, Study, imaging_study
from server.imaging.to_fhir.patient import unclaimed

from .test_header import START, UIDS

_ITEM = b"\xfe\xff\x00\xe0\x0a\0\0\0\x08\0\x00\x01SH\2\0ab"
_VALUES = {
    b"SQ": _ITEM,
    b"PN": b"A^B=C^D ",
    b"LO": b"text\\more ",
    b"DS": b"1.5\\-2\\x ",
    b"IS": b"99999999999 ",
    b"US": b"\xff\xff\1\0\2\0",
    b"SS": b"\xff\xff",
    b"FD": struct.pack("<dd", float("nan"), 1e300),
    b"FL": struct.pack("<f", float("inf")),
    b"AT": b"\1\2\3\4",
    b"OB": b"x" * 2000,
    b"OW": b"xy",
    b"UN": b"xy",
    b"UI": b"1.2.3\0",
    b"DA": b"20240131",
    b"UV": b"\xff" * 8,
}
_LONG = {b"SQ", b"OB", b"OW", b"UN", b"UV"}


def _tags() -> list[int]:
    """Every tag that the room's source names."""
    found: set[int] = set()
    for path in Path(next(iter(room.__path__))).rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        found.update(int(tag, 16) for tag in re.findall(r'(?:0x|")([0-9A-F]{8})\b', source))
    return sorted(tag for tag in found if 0x0008 <= tag >> 16 < 0xFFFA and not tag >> 16 & 1)


def _element(tag: int, vr: bytes) -> bytes:
    value = _VALUES[vr]
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return (
        head + (struct.pack("<HL", 0, len(value)) if vr in _LONG else struct.pack("<H", len(value))) + value
    )


def _everything(entry: Entry) -> None:
    series = Series(
        entry.series_uid,
        entry.modality,
        entry.series["series_number"],
        entry.series["series_day"],
        entry.series["series_time"],
        entry.series_model,
        [Instance(entry.sop_uid, entry.sop_class, entry.instance["instance_number"])],
    )
    study = Study(
        "s", entry.study_uid, "p", entry.study["study_day"], entry.study["study_time"], [entry.modality],
        entry.study_model, [series],
    )  # fmt: skip
    ImagingStudy.model_validate(imaging_study(study))
    unclaimed(entry.identity, "urn:x", "1")


def _shown(description: Description) -> None:
    try:
        picture(*native(b"\1\2" * 4000, description), Look(width=10, height=10))
    except (Undecodable, ValueError, IndexError, OverflowError):
        return  # what the renderer takes for an answer


@pytest.mark.parametrize("vr", sorted(_VALUES), ids=bytes.decode)
def test_any_tag_with_this_vr(vr: bytes) -> None:
    for tag in _tags():
        element = _element(tag, vr)
        try:
            header = header_of(START + element + UIDS if tag < 0x00080016 else START + UIDS + element)
        except NoUid:
            continue
        entry = entry_of(header)
        _everything(entry)
        _shown(describe(entry.instance["metadata"], header.transfer_syntax))


def test_all_tags_at_once() -> None:
    for vr in sorted(_VALUES):
        elements = b"".join(
            _element(tag, vr)
            for tag in _tags()
            if tag not in (0x00080016, 0x00080018, 0x0020000D, 0x0020000E)
        )
        entry = entry_of(header_of(START + UIDS + elements))
        _everything(entry)
        _shown(describe(entry.instance["metadata"], entry.transfer_syntax, 2))
