"""The data set of an instance as it is written in another transfer syntax.

DICOM PS3.5, 7.1 and A; PS3.10, 7.1. Elements keep their bytes: how they are framed changes, and the order of bytes of
a big endian object. What is large stays where it is until it is sent: a stretch of the object, or its frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import pack

from . import transfer_syntax as syntaxes
from .dicom_json import little
from .dictionary import LONG_VRS, SHORT_VRS, is_signed_or_not
from .elements import PIXEL_DATA, DataSet, Element
from .header import Header
from .pixels import number

IMPLEMENTATION_UID = "2.25.116908428519411373021206396527431260211"
IMPLEMENTATION_NAME = "LIGHTBOX"


@dataclass(frozen=True)
class Stretch:
    """Bytes that stay in the object until they are sent."""

    start: int
    stop: int
    vr: str
    big: bool


@dataclass(frozen=True)
class Frames:
    """The pixels, decoded or encoded frame by frame."""

    count: int
    target: str | None  # the compressed transfer syntax that they are put into


Chunk = bytes | Stretch | Frames


def written(
    header: Header, transfer_syntax: str, frames: int, frame_size: int, target: str | None
) -> Iterator[Chunk]:
    """The file meta information, then the data set."""
    yield _meta(header, transfer_syntax)
    implicit = transfer_syntax == syntaxes.IMPLICIT
    for tag in sorted(header.data):
        element = header.data[tag]
        if tag & 0xFFFF == 0:
            continue  # group lengths are retired, and would be wrong now
        if tag == PIXEL_DATA and target is not None:
            yield _head(tag, "OB", 0xFFFFFFFF, False)
            yield Frames(frames, target)
        elif tag == PIXEL_DATA and header.fragments is not None:
            yield from _decoded_pixels(header, element, frames, frame_size, implicit)
        elif tag == PIXEL_DATA:
            yield from _pixels(header, element, implicit)
        else:
            yield from _element(element, header.data, implicit, number(header.data, 0x00280103) == 1)


def _decoded_pixels(
    header: Header, element: Element, frames: int, frame_size: int, implicit: bool
) -> Iterator[Chunk]:
    size = frames * frame_size
    vr = "OW" if (number(header.data, 0x00280100) or 8) > 8 else "OB"
    yield _head(element.tag, vr, size + size % 2, implicit)
    yield Frames(frames, None)
    if size % 2:
        yield b"\0"


def _pixels(header: Header, element: Element, implicit: bool) -> Iterator[Chunk]:
    length = max(0, min(element.length, header.size - element.offset))
    wide = {16: "OW", 32: "OL", 64: "OV"}.get(number(header.data, 0x00280100) or 8, element.vr)
    vr = "OW" if implicit or element.vr not in ("OB", "OW") else element.vr
    yield _head(element.tag, vr, length + length % 2, implicit)
    yield Stretch(element.offset, element.offset + length, wide, header.data.big)
    if length % 2:
        yield b"\0"


def _element(element: Element, data: DataSet, implicit: bool, signed: bool) -> Iterator[Chunk]:
    if element.items is not None:
        yield from _sequence(element, implicit, signed)
        return
    vr = element.vr
    if signed and vr == "US" and data.implicit and is_signed_or_not(element.tag):
        vr = "SS"
    if vr in SHORT_VRS and element.length > 0xFFFE:
        vr = "UN"  # PS3.5 6.2.2, note 5
    padding = element.length % 2
    yield _head(element.tag, vr, element.length + padding, implicit)
    if element.value is not None:
        yield little(element.value, element.vr, data.big)
    else:
        yield Stretch(element.offset, element.offset + element.length, element.vr, data.big)
    if padding:
        yield b"\0"


def _sequence(element: Element, implicit: bool, signed: bool) -> Iterator[Chunk]:
    """Sequences and items of undefined length: nothing has to be counted before."""
    yield _head(element.tag, "SQ", 0xFFFFFFFF, implicit)
    for item in element.items or ():
        yield b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        for tag in sorted(item):
            if tag & 0xFFFF:
                yield from _element(item[tag], item, implicit, signed)
        yield b"\xfe\xff\x0d\xe0\0\0\0\0"
    yield b"\xfe\xff\xdd\xe0\0\0\0\0"


def _head(tag: int, vr: str, length: int, implicit: bool) -> bytes:
    if implicit:
        return pack("<HHL", tag >> 16, tag & 0xFFFF, length)
    if vr in LONG_VRS:
        return pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode(), 0, length)
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), length)


def _meta(header: Header, transfer_syntax: str) -> bytes:
    """PS3.10, 7.1."""
    elements = [
        (0x00020001, "OB", b"\0\1"),
        (0x00020002, "UI", header.sop_class_uid.encode()),
        (0x00020003, "UI", header.sop_instance_uid.encode()),
        (0x00020010, "UI", transfer_syntax.encode()),
        (0x00020012, "UI", IMPLEMENTATION_UID.encode()),
        (0x00020013, "SH", IMPLEMENTATION_NAME.encode()),
    ]
    body = b"".join(
        _head(tag, vr, len(value) + len(value) % 2, False) + value + b"\0" * (len(value) % 2)
        for tag, vr, value in elements
    )
    return b"\0" * 128 + b"DICM" + _head(0x00020000, "UL", 4, False) + pack("<L", len(body)) + body
