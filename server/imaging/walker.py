"""Data elements read in one forward pass from bytes that arrive bit by bit.

A `Walker` is a generator: it asks for bytes it has not got (`Want`) and is sent them, so the same code reads a
file by range, a whole buffer, and a network stream of which nothing but the header is kept. Large values are
stepped over, their place noted. Nesting is kept on a stack of our own and has a bound.

DICOM PS3.5, 7 (The Data Set), A.4 (encapsulated pixel data).
"""

from __future__ import annotations

from collections.abc import Generator
from struct import Struct

from .dictionary import LONG_VRS, SHORT_VRS, vr_of
from .elements import PIXEL_DATA, DataSet, Element, Fragments, Steps, TooDeep, Truncated, Unreadable, Want

UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

KEEP = 65_536  # a longer value stays where it is
KEEP_TEXT = 1_048_576
MAX_KEPT = 32 * 1_048_576  # bytes of all values kept of one object; beyond, only small ones are
SMALL = 256
MAX_DEPTH = 64  # the deepest real ones (structured reports) stay under 30
MAX_ELEMENTS = 300_000  # beyond, nested elements are checked and not kept
_ALWAYS = frozenset([0x7FE00008, 0x7FE00009, 0x7FE00010])
MAX_FRAGMENTS = 4_000_000
MAX_OFFSETS = 64 * 1_048_576  # bytes of a basic offset table

_SHORT = {vr.encode(): vr for vr in SHORT_VRS}
_LONG = {vr.encode(): vr for vr in LONG_VRS}
_TEXT = SHORT_VRS - {"AT", "FD", "FL", "SL", "SS", "UL", "US"} | {"UC", "UR", "UT"}
_BULKY = frozenset(["OB", "OW"])

_HEADS = {False: Struct("<HH2sH"), True: Struct(">HH2sH")}
_LENGTHS = {False: Struct("<L"), True: Struct(">L")}
_TAGS = {False: Struct("<HHL"), True: Struct(">HHL")}


class _Scope:
    """An open sequence, item or the data set itself."""

    __slots__ = ("data", "end", "implicit", "sequence")

    def __init__(self, data: DataSet, sequence: Element | None, end: int, implicit: bool) -> None:
        self.data = data  # of the item; of a sequence: what it stands in
        self.sequence = sequence
        self.end = end  # UNDEFINED: a delimiter ends it
        self.implicit = implicit


class Walker:
    """Reads the elements from `start` on; `run()` is the generator."""

    def __init__(self, start: int, *, implicit: bool = False, big: bool = False) -> None:
        self.root = DataSet(big, implicit)
        self.fragments: Fragments | None = None
        self.warnings: list[str] = []
        self.cut = False  # the object ends inside the pixel data
        self.partial = False  # something nested was checked and not kept
        self._implicit = implicit
        self._base = start
        self._buffer = b""
        self._at = 0
        self._kept = 0
        self._count = 0
        self._stack: list[_Scope] = []

    # -- bytes

    def _need(self, size: int) -> Generator[Want, bytes, bool]:
        """Have `size` bytes at hand; False when the object ends before."""
        if self._at + size <= len(self._buffer):
            return True
        self._base += self._at
        self._at = 0
        self._buffer = yield Want(self._base, size)
        return len(self._buffer) >= size

    def _where(self) -> int:
        return self._base + self._at

    # -- elements

    def run(self) -> Steps:
        """Read to the end of the object. Raises Unreadable, TooDeep, Truncated."""
        self._stack = [_Scope(self.root, None, UNDEFINED, self._implicit)]
        while self._stack:
            scope = self._stack[-1]
            if scope.sequence is None and not scope.implicit:
                self._plain(scope)
            if scope.end != UNDEFINED and self._where() >= scope.end:
                self._stack.pop()
                continue
            if self._at + 8 > len(self._buffer) and not (yield from self._need(8)):
                self._ended()
                return
            try:
                if scope.sequence is not None:
                    self._item(scope)
                else:
                    yield from self._element(scope)
            except Unreadable:
                if PIXEL_DATA not in self.root:
                    raise
                self.warnings.append("what follows the pixel data cannot be read")
                return

    def _plain(self, scope: _Scope) -> None:
        """Take the elements that are all here and have nothing special, without a step for each.

        Those of an explicit, short VR: most of every header. The first other one is left to `_element`.
        """
        buffer, at, base = self._buffer, self._at, self._base
        unpack, put = _HEADS[scope.data.big].unpack_from, scope.data.__setitem__
        here = len(buffer) if scope.end == UNDEFINED else min(len(buffer), scope.end - base)
        if PIXEL_DATA in self.root or self._kept > MAX_KEPT - len(buffer):
            return
        while at + 8 <= here and self._count < MAX_ELEMENTS:
            group, number, code, length = unpack(buffer, at)
            vr, begin = _SHORT.get(code), at + 8
            if vr is None or group >= 0x7FE0 or begin + length > here:
                break
            at = begin + length
            element = Element(group << 16 | number, vr, base + begin, length)
            element.value = buffer[begin:at]
            put(element.tag, element)
            self._count += 1
            self._kept += length
        self._at = at

    def _ended(self) -> None:
        """The object ends where an element should begin."""
        if len(self._stack) > 1:
            raise Truncated()
        if self._buffer.strip(b"\0"):
            if PIXEL_DATA not in self.root:
                raise Truncated()
            self.warnings.append("a few bytes follow the last element")

    def _item(self, scope: _Scope) -> None:
        group, number, length = _TAGS[scope.data.big].unpack_from(self._buffer, self._at)
        tag = group << 16 | number
        self._at += 8
        if tag == _SEQUENCE_END:
            self._stack.pop()
        elif tag == _ITEM:
            if len(self._stack) > 2 * MAX_DEPTH:
                raise TooDeep()
            end = UNDEFINED if length == UNDEFINED else self._where() + length
            item = DataSet(scope.data.big, scope.implicit)
            self._count += 1
            if (
                self._count <= MAX_ELEMENTS
                and scope.sequence is not None
                and scope.sequence.items is not None
            ):
                scope.sequence.items.append(item)
            self._stack.append(_Scope(item, None, end, scope.implicit))
        else:
            raise Unreadable(f"A sequence holds ({group:04X},{number:04X}) where an item should begin.")

    def _element(self, scope: _Scope) -> Steps:
        big = scope.data.big
        group, number, code, short = _HEADS[big].unpack_from(self._buffer, self._at)
        tag = group << 16 | number
        if group == 0xFFFE:
            self._delimiter(tag)
            return
        if tag <= PIXEL_DATA and len(self._stack) == 1 and PIXEL_DATA in self.root:
            raise Unreadable("Elements are not in order.")
        vr, length, size = None, short, 8
        if not scope.implicit:
            vr = _SHORT.get(code)
            if vr is None:
                vr, length, size = yield from self._long(scope, code)
        if vr is None:
            length = _LENGTHS[big].unpack_from(self._buffer, self._at + 4)[0]
            vr = vr_of(tag, _creator(scope.data, tag))
        self._at += size
        self._count += 1
        yield from self._value(scope, Element(tag, vr, self._where(), length))

    def _long(self, scope: _Scope, code: bytes) -> Generator[Want, bytes, tuple[str | None, int, int]]:
        """VR, length and size of the head of an element whose length has 32 bits, or that has no VR."""
        vr = _LONG.get(code)
        if vr is None and not (code.isalpha() and code.isupper()):
            self._warn_once("an element without a VR in an explicit VR data set")
            return None, 0, 8
        if not (yield from self._need(12)):
            raise Truncated()
        length: int = _LENGTHS[scope.data.big].unpack_from(self._buffer, self._at + 8)[0]
        if vr is None:
            # A VR of a later edition has a 32 bit length (PS3.5 7.1.2); a wrong one mostly a short one.
            self._warn_once("an element with an unknown VR")
            reserved, short = self._buffer[self._at + 6 : self._at + 8], _HEADS[scope.data.big]
            if reserved != b"\0\0" or length > KEEP:
                return "UN", int(short.unpack_from(self._buffer, self._at)[3]), 8
            return "UN", length, 12
        return vr, length, 12

    def _delimiter(self, tag: int) -> None:
        self._at += 8
        if tag == _ITEM_END and len(self._stack) > 1:
            self._stack.pop()
        elif tag == _SEQUENCE_END and len(self._stack) > 2:
            self._warn_once("an item without its end")
            self._stack.pop()
            self._stack.pop()
        elif tag in (_ITEM_END, _SEQUENCE_END):
            self._warn_once("a delimiter outside of any sequence")
        else:
            raise Unreadable("An item begins outside of any sequence.")

    def _value(self, scope: _Scope, element: Element) -> Steps:
        if element.length == UNDEFINED:
            yield from self._undefined(scope, element)
        elif element.vr == "SQ":
            self._open(scope, element, scope.implicit)
        elif self._is_kept(element):
            yield from self._keep(scope, element)
        else:
            yield from self._step_over(scope, element)

    def _is_kept(self, element: Element) -> bool:
        if self._kept + element.length > MAX_KEPT:
            return element.length <= SMALL
        return element.length <= (KEEP_TEXT if element.vr in _TEXT else KEEP)

    def _undefined(self, scope: _Scope, element: Element) -> Steps:
        if element.tag == PIXEL_DATA or element.vr in _BULKY:
            fragments = Fragments(element.offset)
            yield from self._walk_fragments(fragments, scope.data.big)
            if element.tag == PIXEL_DATA and len(self._stack) == 1:
                self.fragments = fragments
                element.vr = element.vr if element.vr in _BULKY and not scope.implicit else "OB"
                scope.data[element.tag] = element
            else:
                self.partial = True
        elif element.vr == "UN" and not scope.implicit:
            # PS3.5 6.2.2, note 2: a sequence that some intermediary did not know, in implicit little endian.
            if scope.data.big:
                raise Unreadable("A value of unknown representation has no length.")
            self._open(scope, element, True)
        elif element.vr in ("SQ", "UN") or scope.implicit:
            self._open(scope, element, scope.implicit)
        else:
            raise Unreadable(f"({element.tag >> 16:04X},{element.tag & 0xFFFF:04X}) has no length.")

    def _open(self, scope: _Scope, element: Element, implicit: bool) -> None:
        if len(self._stack) > 2 * MAX_DEPTH:
            raise TooDeep()
        element.vr = "SQ"
        element.items = []
        self._put(scope, element)
        end = UNDEFINED if element.length == UNDEFINED else element.offset + element.length
        self._stack.append(_Scope(scope.data, element, end, implicit))

    def _keep(self, scope: _Scope, element: Element) -> Steps:
        if not (yield from self._need(element.length)):
            yield from self._too_long(scope, element)
            return
        value = self._buffer[self._at : self._at + element.length]
        if element.vr == "UN" and not scope.implicit:
            if self._unknown_sequence(scope, element, value):
                return
            element.vr = vr_of(element.tag)
        element.value = value
        self._at += element.length
        self._kept += element.length
        self._put(scope, element)

    def _unknown_sequence(self, scope: _Scope, element: Element, value: bytes) -> bool:
        """A standard sequence under VR UN: read it as what the dictionary says (PS3.5 6.2.2, note 2)."""
        if vr_of(element.tag) != "SQ" or scope.data.big or not value.startswith(b"\xfe\xff\x00\xe0"):
            return False
        self._open(scope, element, True)
        return True

    def _step_over(self, scope: _Scope, element: Element) -> Steps:
        end = self._at + element.length
        if end > len(self._buffer):
            self._at = end - 1  # its last byte proves that the length does not lie
            if not (yield from self._need(1)):
                yield from self._too_long(scope, element)
                return
            end = self._at + 1
        self._at = end
        self._put(scope, element)

    def _too_long(self, scope: _Scope, element: Element) -> Steps:
        """The value reaches past the end: refused, but pixels that were cut off are kept for what they are."""
        if element.tag != PIXEL_DATA or len(self._stack) > 1:
            name = f"({element.tag >> 16:04X},{element.tag & 0xFFFF:04X})"
            raise Truncated(f"{name} says it has {element.length} bytes; the object ends before.")
        self.cut = True
        self.warnings.append("the pixel data are cut off")
        self._put(scope, element)
        self._at = len(self._buffer)
        yield from ()

    def _put(self, scope: _Scope, element: Element) -> None:
        if self._count <= MAX_ELEMENTS:
            scope.data[element.tag] = element
        elif len(self._stack) == 1 and element.tag not in _ALWAYS:
            raise Unreadable("The header of this object is too large.")
        elif len(self._stack) == 1:
            scope.data[element.tag] = element
        else:
            self.partial = True
            self._warn_once("too many nested elements: some are left out of the metadata")

    # -- fragments

    def _walk_fragments(self, fragments: Fragments, big: bool) -> Steps:
        unpack = _TAGS[big].unpack_from
        first = True
        while True:
            if (
                self._at + 12 > len(self._buffer)
                and not (yield from self._need(12))
                and len(self._buffer) < 8
            ):
                self.cut = True
                self.warnings.append("the pixel data have no end")
                return
            group, number, length = unpack(self._buffer, self._at)
            tag = group << 16 | number
            if tag == _SEQUENCE_END:
                self._at += 8
                fragments.complete = True
                return
            if tag != _ITEM or length == UNDEFINED:
                raise Unreadable("The pixel data hold something else than fragments.")
            self._at += 8
            if first:
                yield from self._offset_table(fragments, length)
                first = False
            elif not (yield from self._fragment(fragments, length)):
                return

    def _offset_table(self, fragments: Fragments, length: int) -> Steps:
        if length > MAX_OFFSETS:
            raise Unreadable("The offset table of the pixel data is too large.")
        if not (yield from self._need(length)):
            raise Truncated("The object ends inside the offset table of its pixel data.")
        fragments.basic_offsets = self._buffer[self._at : self._at + length]
        self._at += length
        fragments.base = self._where()

    def _fragment(self, fragments: Fragments, length: int) -> Generator[Want, bytes, bool]:
        if len(fragments.starts) >= MAX_FRAGMENTS:
            raise Unreadable("The pixel data have too many fragments.")
        start = self._where()
        head = self._buffer[self._at : self._at + 4]
        end = self._at + length
        if end > len(self._buffer) and length:
            self._at = end - 1
            if not (yield from self._need(1)):
                self.cut = True
                self.warnings.append("the pixel data are cut off")
                self._at = len(self._buffer)
                return False
            end = self._at + 1
        self._at = end
        fragments.starts.append(start)
        fragments.lengths.append(length)
        fragments.heads.append(head[:3] == b"\xff\xd8\xff" or head == b"\xff\x4f\xff\x51")
        return True

    def _warn_once(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _creator(data: DataSet, tag: int) -> str:
    """Who reserved the block of a private element (PS3.5 7.8.1)."""
    if not tag >> 16 & 1:
        return ""
    found = data.get(tag & 0xFFFF0000 | (tag >> 8 & 0xFF))
    return found.value.decode("latin-1").rstrip(" \0") if found is not None and found.value else ""
