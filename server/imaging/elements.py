"""The data elements of a DICOM object as they were read, and what can be wrong with one.

DICOM PS3.5, 7 (The Data Set), A.4 (encapsulated pixel data).
"""

from __future__ import annotations

from array import array
from collections.abc import Generator
from typing import NamedTuple

from server.core.errors import Unprocessable

PIXEL_DATA = 0x7FE00010


class Unreadable(Unprocessable):
    """This is not a DICOM object that can be read."""


class TooDeep(Unreadable):
    """The data set nests sequences too deeply."""


class Truncated(Unreadable):
    """The data set ends in the middle of an element."""


class Want(NamedTuple):
    """At least `size` bytes from `offset` on are needed (fewer only where the object ends)."""

    offset: int
    size: int
    inflate: bool = False  # from `offset` on the object is a deflate stream (PS3.5 A.5)


Steps = Generator[Want, bytes, None]


class Element:
    """One data element. `value` is None when it stays in the object, and for sequences and fragments."""

    __slots__ = ("items", "length", "offset", "tag", "value", "vr")

    def __init__(self, tag: int, vr: str, offset: int, length: int) -> None:
        self.tag = tag
        self.vr = vr
        self.offset = offset  # of the value
        self.length = length
        self.value: bytes | None = None
        self.items: list[DataSet] | None = None


class DataSet(dict[int, Element]):
    """The elements of a data set or item by tag, in the order of the object."""

    __slots__ = ("big", "implicit")

    def __init__(self, big: bool = False, implicit: bool = False) -> None:
        super().__init__()
        self.big = big
        self.implicit = implicit  # its VRs are the dictionary's, not the object's


class Fragments:
    """Encapsulated pixel data: where each fragment lies, and the basic offset table."""

    def __init__(self, offset: int) -> None:
        self.offset = offset  # of the first item
        self.base = offset  # of the first item after the offset table: what its offsets count from
        self.basic_offsets = b""
        self.starts = array("Q")  # of each fragment's bytes (its item header is the 8 before)
        self.lengths = array("L")
        self.heads = bytearray()  # 1 where a fragment begins as a compressed image does
        self.complete = False
