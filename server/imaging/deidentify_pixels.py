"""Pixel data carried over as they are: where they lie, how much of it is pixels, what of a frame is text.

DICOM PS3.5, 8 and A.4; ITU-T T.81 (JPEG), T.87 (JPEG-LS), T.800 (JPEG 2000): application segments and comments hold
what a program likes to write, so their content is blanked in place; what cannot be looked through is not given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import pack, unpack

from .elements import PIXEL_DATA, DataSet, Fragments
from .header import Header
from .transfer_syntax import RLE, is_native, media_type

Read = Callable[[int, int], bytes]  # (offset, size)

MOST_FRAME = 1 << 26  # bytes of one compressed frame
_JPEG, _J2K = frozenset(["image/jpeg", "image/jls"]), frozenset(["image/jp2", "image/jpx", "image/jphc"])
_ALONE = frozenset([0x01, *range(0xD0, 0xD9)])  # markers without a length
_IN_DATA = re.compile(
    rb"\xff([\x90-\xcf\xd8-\xfe])"
)  # of JPEG, behind its first scan: not stuffing, not a restart
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


class Unsure(Exception):
    """The pixel data may hold something else than pixels; the reason's key."""


@dataclass(frozen=True)
class Pixels:
    """What is copied of the object, and what stands around it."""

    before: bytes  # an offset table
    start: int
    stop: int
    blanks: tuple[tuple[int, int], ...]  # start and stop of what is written over with zeros
    after: bytes
    length: int  # of the element: undefined where encapsulated


def pixels_of(header: Header, read: Read) -> Pixels:
    """Raises Unsure."""
    if header.fragments is not None:
        return _encapsulated(header, header.fragments, read)
    element = header.data[PIXEL_DATA]
    if not is_native(header.transfer_syntax):
        raise Unsure("compression")
    size = _native_size(header.data)
    if size == 0 or element.length < size:
        raise Unsure("damaged")
    if header.encoding.big and element.length > size:
        size += size % 2  # in words the last byte stands behind the padding
    odd = size % 2
    return Pixels(b"", element.offset, element.offset + size, (), b"\0" * odd, size + odd)


def _native_size(data: DataSet) -> int:
    """Bytes of all frames; what lies behind is padding, and not carried over (PS3.5, 8.1.1)."""
    rows, columns, bits, samples = (
        number(data, tag) for tag in (0x00280010, 0x00280011, 0x00280100, 0x00280002)
    )
    element = data.get(0x00280008)
    said = (element.value or b"").decode("latin-1").strip(" \0") if element is not None else ""
    frames = int(said) if said.isdecimal() and len(said) < 10 else 1
    return (rows * columns * max(frames, 1) * bits * samples + 7) // 8


def number(data: DataSet, tag: int) -> int:
    """The value of an element of VR US; 0 where there is none."""
    element = data.get(tag)
    value = (element.value or b"")[:2] if element is not None else b""
    return int.from_bytes(value, "big" if data.big else "little")


def _encapsulated(header: Header, fragments: Fragments, read: Read) -> Pixels:
    if not fragments.complete or not fragments.starts:
        raise Unsure("damaged")
    kind = media_type(header.transfer_syntax)
    blanks: list[tuple[int, int]] = []
    for start, length in zip(fragments.starts, fragments.lengths, strict=True):
        if length > MOST_FRAME:
            raise Unsure("too-large")
        if header.transfer_syntax == RLE:
            _check_rle(read(start, length), number(header.data, 0x00280010) * number(header.data, 0x00280011))
            continue
        frame = read(start, length)
        if kind in _JPEG:
            found = _jpeg(frame)
        elif kind in _J2K:
            found = _jpeg_2000(frame)
        else:
            raise Unsure("compression")
        blanks += ((start + begin, start + end) for begin, end in found if end > begin)
    stop = fragments.starts[-1] + fragments.lengths[-1]
    table = _offset_table(fragments)
    return Pixels(table, fragments.base, stop, tuple(blanks), _SEQUENCE_END, 0xFFFFFFFF)


def _offset_table(fragments: Fragments) -> bytes:
    """The old one where every offset is one, else an empty one."""
    said, places = fragments.basic_offsets, {start - 8 - fragments.base for start in fragments.starts}
    count = len(said) // 4
    if len(said) % 4 or not set(unpack(f"<{count}I", said)) <= places:
        said = b""
    return b"\xfe\xff\x00\xe0" + pack("<I", len(said)) + said


def _check_rle(frame: bytes, pixels: int) -> None:
    """The header names up to 15 segments, a plane of bytes each; behind each is padding only (PS3.5, G.3 to G.5)."""
    if len(frame) < 64:
        raise Unsure("damaged")
    count, *offsets = unpack("<16I", frame[:64])
    if not 1 <= count <= 15 or any(offsets[count:]) or offsets[0] != 64:
        raise Unsure("compression")
    for begin, end in zip(offsets[:count], [*offsets[1:count], len(frame)], strict=True):
        if not 64 <= begin <= end <= len(frame):
            raise Unsure("compression")
        if frame[_plane_end(frame, begin, end, pixels) : end].strip(b"\0"):
            raise Unsure("compression")


def _plane_end(frame: bytes, at: int, end: int, pixels: int) -> int:
    """Where a plane of so many bytes is complete."""
    while pixels > 0 and at < end:
        code = frame[at]
        if code < 128:
            at, pixels = at + code + 2, pixels - code - 1
        else:
            at, pixels = at + 1 + (code > 128), pixels - (257 - code if code > 128 else 0)
    return at


def _jpeg(frame: bytes) -> Iterator[tuple[int, int]]:
    """Where comments and application segments of a JPEG or JPEG-LS frame hold their content."""
    at = 2
    if frame[:2] != b"\xff\xd8":
        raise Unsure("compression")
    while True:
        at, marker, begin, end = _segment(frame, at)
        if marker == 0xDA:
            break
        if marker in (0xD9, 0xD8):
            raise Unsure("compression")
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            yield _without_form(frame, marker, begin, end), end
    while True:  # from scan to scan
        found = _IN_DATA.search(frame, end)
        if found is None:
            raise Unsure("damaged")
        if found[1] == b"\xd9":
            return _check_end(frame, found.end())
        _, marker, begin, end = _segment(frame, found.start())
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            yield _without_form(frame, marker, begin, end), end


def _segment(frame: bytes, at: int) -> tuple[int, int, int, int]:
    """The next marker segment: where the one behind it is, its marker, begin and end of its content."""
    while frame[at : at + 2] == b"\xff\xff":
        at += 1
    if len(frame) < at + 4 or frame[at] != 0xFF:
        raise Unsure("damaged")
    marker = frame[at + 1]
    if marker in _ALONE:
        return at + 2, marker, at + 2, at + 2
    end = at + 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    if end > len(frame) or end < at + 4:
        raise Unsure("damaged")
    return end, marker, at + 4, end


def _without_form(frame: bytes, marker: int, begin: int, end: int) -> int:
    """From where on a segment is text. Three say how colours are meant, and are as short as they can be."""
    content = frame[begin:end]
    if marker == 0xE0 and content[:5] == b"JFIF\0":
        return min(begin + 14, end)
    if marker == 0xEE and content[:5] == b"Adobe":
        return min(begin + 12, end)
    if marker == 0xE8 and content[:4] == b"mrfx":
        return min(begin + 5, end)
    return begin


def _check_end(frame: bytes, at: int) -> None:
    """Behind the end there is nothing but padding."""
    if frame[at:].strip(b"\0\xff"):
        raise Unsure("compression")


def _jpeg_2000(frame: bytes) -> Iterator[tuple[int, int]]:
    """Where comments of a code stream hold their content, in its own header and in those of its tile parts."""
    at = 2
    if frame[:2] != b"\xff\x4f":
        raise Unsure("compression")
    while frame[at : at + 2] != b"\xff\xd9":
        part = at
        at, marker, begin, end = _segment(frame, at)
        if marker == 0x64:
            yield min(begin + 2, end), end  # behind the registration value
        elif marker == 0x90:  # a tile part
            length = int.from_bytes(frame[begin + 2 : begin + 6], "big")
            stop = part + length if length else len(frame.rstrip(b"\0")) - 2
            if not at <= stop <= len(frame):
                raise Unsure("damaged")
            yield from _tile_part(frame, at, stop)
            at = stop
    _check_end(frame, at + 2)


def _tile_part(frame: bytes, at: int, stop: int) -> Iterator[tuple[int, int]]:
    while frame[at : at + 2] != b"\xff\x93":  # its data begin
        at, marker, begin, end = _segment(frame, at)
        if end > stop:
            raise Unsure("damaged")
        if marker == 0x64:
            yield min(begin + 2, end), end
