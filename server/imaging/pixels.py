"""Where the frames of an object lie, so that one is read by range and the rest is not.

DICOM PS3.5, 8 (native), A.4 (encapsulated: offset tables and fragments); PS3.3, C.7.6.3 and C.7.6.6.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import pairwise
from struct import Struct, unpack

from . import transfer_syntax as syntaxes
from .elements import PIXEL_DATA, DataSet, Element, Fragments
from .header import Header

_FLOAT, _DOUBLE = 0x7FE00008, 0x7FE00009
_ABSURD = 1 << 50  # bits of one frame
ROW = Struct("<QQ")  # of a frame table: where the frame's bytes begin and end


@dataclass(frozen=True)
class Pixels:
    """The pixel data of one object, as far as its header tells."""

    rows: int | None = None
    columns: int | None = None
    samples: int | None = None
    bits_allocated: int | None = None
    frame_count: int = 0  # 0: there are none
    frame_bits: int | None = None  # of a native frame; frames follow each other without a gap
    offset: int | None = None  # of the value
    length: int | None = None  # of the value; None when encapsulated
    table: bytes | None = None  # encapsulated: a ROW a frame, as far as frames can be told apart
    pieced: bool = False  # a frame may be several fragments, item headers between them


def pixels_of(header: Header) -> Pixels:
    """What the catalogue keeps of the pixel data."""
    data = header.data
    element = next((data[tag] for tag in (PIXEL_DATA, _FLOAT, _DOUBLE) if tag in data), None)
    rows, columns = number(data, 0x00280010), number(data, 0x00280011)
    samples, bits = number(data, 0x00280002), number(data, 0x00280100)
    if element is None:
        return Pixels(rows, columns, samples, bits)
    said = max(1, number(data, 0x00280008) or 1)
    if header.fragments is not None:
        table, pieced = _table(header.fragments, said)
        count = said if table is None else min(said, len(table) // ROW.size)
        if syntaxes.is_video(header.transfer_syntax):  # one stream, whatever its fragments
            table, pieced, count = None, True, said
        return Pixels(rows, columns, samples, bits, count, None, header.fragments.offset, None, table, pieced)
    length = max(0, min(element.length, header.size - element.offset))
    frame_bits = _frame_bits(data, rows, columns, samples, _bits(element, bits))
    held = length * 8 // frame_bits if frame_bits else 0
    count = min(said, max(held, 1)) if length else 0
    return Pixels(rows, columns, samples, bits, count, frame_bits, element.offset, length)


def number(data: DataSet, tag: int) -> int | None:
    """A whole number of the header (US or IS), None when there is none that makes sense."""
    element = data.get(tag)
    if element is None or not element.value:
        return None
    if element.vr in ("US", "SS", "UL", "SL"):
        size = 2 if element.vr in ("US", "SS") else 4
        said = int.from_bytes(element.value[:size], "big" if data.big else "little")
        return said if said < 2**31 else None
    try:
        found = int(element.value.decode("ascii").split("\\")[0].strip(" \0"))
    except ValueError:
        return None
    return found if 0 <= found < 2**31 else None


def text(data: DataSet, tag: int) -> str:
    """A code of the header, empty when there is none."""
    element = data.get(tag)
    return element.value.decode("latin-1").strip(" \0") if element is not None and element.value else ""


def _bits(element: Element, allocated: int | None) -> int | None:
    return {_FLOAT: 32, _DOUBLE: 64}.get(element.tag, allocated)


def _frame_bits(
    data: DataSet, rows: int | None, columns: int | None, samples: int | None, bits: int | None
) -> int | None:
    if not (rows and columns and bits):
        return None
    if text(data, 0x00280004) == "YBR_FULL_422":  # two samples a pixel (PS3.3, C.7.6.3.1.2)
        samples = 2
    size = rows * columns * (samples or 1) * bits
    return size if size < _ABSURD else None


def _table(fragments: Fragments, count: int) -> tuple[bytes | None, bool]:
    """The rows of the frame table, and whether frames consist of pieces."""
    held = len(fragments.starts)
    if held == 0:
        return b"", False
    if held == count:
        firsts = array("Q", range(held))
    elif count == 1:
        firsts = array("Q", [0])
    else:
        found = _by_offsets(fragments, count) or _by_beginnings(fragments, count)
        if found is None:
            # Fewer fragments than frames: the object was cut. More, and no table: nobody can tell.
            if held > count:
                return None, True
            found = array("Q", range(held))
        firsts = found
    rows = bytearray()
    for index, first in enumerate(firsts):
        last = (firsts[index + 1] if index + 1 < len(firsts) else held) - 1
        rows += ROW.pack(fragments.starts[first], fragments.starts[last] + fragments.lengths[last])
    return bytes(rows), len(firsts) != held


def _by_offsets(fragments: Fragments, count: int) -> array[int] | None:
    """The first fragment of each frame by the basic offset table (PS3.5, A.4)."""
    if len(fragments.basic_offsets) != 4 * count:
        return None
    places = {start - 8 - fragments.base: index for index, start in enumerate(fragments.starts)}
    offsets = unpack(f"<{count}L", fragments.basic_offsets)
    firsts = [places.get(offset) for offset in offsets]
    found = array("Q", (first for first in firsts if first is not None))
    if len(found) != count or found[0] != 0 or any(one >= next for one, next in pairwise(found)):
        return None
    return found


def _by_beginnings(fragments: Fragments, count: int) -> array[int] | None:
    """The fragments that begin as a compressed image does, when they are as many as the frames."""
    firsts = array("Q", (index for index, head in enumerate(fragments.heads) if head))
    return firsts if len(firsts) == count and firsts[0] == 0 else None
