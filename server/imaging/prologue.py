"""What stands before a data set, and how the data set is written: what is said, and what is true.

DICOM PS3.10, 7.1 (preamble, prefix, file meta information). Files without them are read by their first bytes.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from . import transfer_syntax as syntaxes
from .dictionary import LONG_VRS, SHORT_VRS
from .elements import Truncated, Unreadable, Want
from .transfer_syntax import Encoding

_VRS = frozenset(vr.encode() for vr in SHORT_VRS | LONG_VRS)
_DIRECTORY = "1.2.840.10008.1.3.10"
_MAX_META = 65_536  # bytes of one value


class NotAnObject(Unreadable):
    """This is the directory of a disc, not an object of a study."""


@dataclass(frozen=True)
class Prologue:
    """Where the data set starts, and what the file meta information says."""

    start: int
    sop_class_uid: str
    sop_instance_uid: str
    declared: str  # Transfer Syntax UID, empty when there is none
    encoding: Encoding
    warnings: tuple[str, ...]

    @property
    def transfer_syntax(self) -> str:
        """The declared one, unless the bytes tell another."""
        if self.declared and (
            syntaxes.encoding(self.declared) == self.encoding or not syntaxes.is_native(self.declared)
        ):
            return self.declared
        if self.encoding.big:
            return syntaxes.BIG_ENDIAN
        return syntaxes.IMPLICIT if self.encoding.implicit else syntaxes.EXPLICIT


class _AtHand:
    """What was given last: most of the time all that is asked for lies in it."""

    def __init__(self) -> None:
        self._begin = 0
        self._data = b""

    def read(self, offset: int, size: int) -> Generator[Want, bytes, bytes]:
        """`size` bytes from `offset` on, fewer where the object ends."""
        if offset - self._begin + size > len(self._data):
            self._data = yield Want(offset, size)
            self._begin = offset
        return self._data[offset - self._begin : offset - self._begin + size]


def read_prologue() -> Generator[Want, bytes, Prologue]:
    """The steps that read it. Raises Unreadable, Truncated, NotAnObject."""
    bytes_ = _AtHand()
    head = yield from bytes_.read(0, 144)
    start = 132 if head[128:132] == b"DICM" else 4 if head[:4] == b"DICM" else 0
    warnings = [] if start == 132 else ["no preamble"]
    meta: dict[int, str] = {}
    end = start
    if start or head[:2] == b"\x02\x00":
        end = yield from _read_meta(bytes_, start, meta)
    if not meta:
        warnings.append("no file meta information")
    sop_class = meta.get(0x0002, "")
    if sop_class == _DIRECTORY:
        raise NotAnObject()
    declared = meta.get(0x0010, "")
    first = yield from bytes_.read(end, 12)
    encoding = _encoding(first, declared, warnings)
    return Prologue(end, sop_class, meta.get(0x0003, ""), declared, encoding, tuple(warnings))


def _read_meta(bytes_: _AtHand, at: int, meta: dict[int, str]) -> Generator[Want, bytes, int]:
    """Read group 0002, in Explicit VR Little Endian, to its end, whatever its group length says."""
    while True:
        head = yield from bytes_.read(at, 12)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            return at
        if head[4:6] not in _VRS:
            raise Unreadable("The file meta information is damaged.")
        long = head[4:6].decode() in LONG_VRS
        size = 12 if long else 8
        length = int.from_bytes(head[8:12] if long else head[6:8], "little")
        if length > _MAX_META:
            raise Unreadable("The file meta information is damaged.")
        content = yield from bytes_.read(at, size + length)
        if len(content) < size + length:
            raise Truncated("The object ends inside its file meta information.")
        meta[int.from_bytes(head[2:4], "little")] = (
            content[size : size + length].decode("latin-1").strip(" \0")
        )
        at += size + length


def _encoding(first: bytes, declared: str, warnings: list[str]) -> Encoding:
    """How the data set is written: as declared, or as its first element shows."""
    said = syntaxes.encoding(declared) if declared else None
    if said is not None and said.deflated:
        return said
    seen = _seen(first)
    if said is None:
        if seen is None:
            raise Unreadable()
        warnings.append("no transfer syntax")
        return seen
    if seen is None or seen == said:
        return said
    warnings.append("the transfer syntax is not the declared one")
    return seen


def _seen(first: bytes) -> Encoding | None:
    """The encoding that the first element of a data set shows; None when it cannot be told."""
    if len(first) < 8:
        return None
    little, big = int.from_bytes(first[:2], "little"), int.from_bytes(first[:2], "big")
    is_big = little > big and big <= 0x7FE0
    if first[4:6] in _VRS:
        return Encoding(False, is_big, False)
    # Implicit: the first group is a small one, its length too (implicit big endian does not exist).
    if little <= 0x0020 and int.from_bytes(first[4:8], "little") <= _MAX_META:
        return Encoding(True, False, False)
    return None
