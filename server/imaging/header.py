"""The header of a DICOM object: read from pieces as they come or by range, and checked.

DICOM PS3.5, 9.1 (UIDs) and A.5 (deflate). What stays in memory is the header alone, and it has a bound.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from .elements import DataSet, Element, Fragments, Unreadable, Want
from .prologue import NotAnObject, Prologue, read_prologue
from .transfer_syntax import Encoding
from .walker import Walker

MAX_INFLATED = 1024 * 1_048_576  # of one deflated object
_INFLATE_STEP = 1_048_576
_READ = 65_536

_UID = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z._-]{0,62}[0-9A-Za-z])?")
_STRICT_UID = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+")


class NoUid(Unreadable):
    """An identifier that every object must have is missing or is not one."""


@dataclass(frozen=True)
class Header:
    """What was read of one object."""

    data: DataSet
    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    transfer_syntax: str  # what it truly is written in
    encoding: Encoding
    start: int  # of the data set; from here on a deflated object's offsets count inflated bytes
    size: int  # of the object, inflated where deflated
    fragments: Fragments | None
    cut: bool  # it ends inside its pixel data
    partial: bool  # `data` lacks something nested
    warnings: tuple[str, ...]


class HeaderReader:
    """Takes an object piece by piece; `finish` gives its header or says why it has none."""

    def __init__(self) -> None:
        self._steps = self._run()
        self._want: Want | None = next(self._steps)
        self._held: list[bytes] = []  # bytes from the wanted offset on
        self._held_size = 0
        self._position = 0  # behind the last byte pushed
        self._inflater: zlib._Decompress | None = None
        self._error: Unreadable | None = None
        self._walker: Walker | None = None
        self._read: tuple[Prologue, Walker] | None = None

    @property
    def wants_more(self) -> bool:
        """False when nothing that follows can change the outcome."""
        return self._error is None and self._want is not None

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the object. Never raises: `finish` does."""
        if not self.wants_more:
            return
        try:
            self._take(chunk)
        except Unreadable as error:
            self._error = error

    def skip(self) -> int | None:
        """The offset to go on from where the object can be read by range; None: the next byte."""
        if self._inflater is not None or self._want is None or self._want.offset <= self._position:
            return None
        self._position = self._want.offset
        return self._position

    def finish(self) -> Header:
        """The header, when all was fed. Raises Unreadable and its kinds."""
        try:
            while self.wants_more:
                self._advance()
        except Unreadable as error:
            self._error = error
        if self._error is not None:
            raise self._error
        assert self._read is not None
        return _checked(*self._read, self._position)

    def uids(self) -> tuple[str | None, str | None]:
        """SOP class and SOP instance as far as they were read: a refusal names them (PS3.18, 10.5.3)."""
        data = self._walker.root if self._walker is not None else {}
        found = [_plain(data.get(tag)) for tag in (0x00080016, 0x00080018)]
        return (found[0] if is_uid(found[0]) else None), (found[1] if is_uid(found[1]) else None)

    def _run(self) -> Generator[Want, bytes, None]:
        prologue = yield from read_prologue()
        if prologue.encoding.deflated:
            yield Want(prologue.start, 0, inflate=True)
        walker = Walker(prologue.start, implicit=prologue.encoding.implicit, big=prologue.encoding.big)
        self._walker = walker
        yield from walker.run()
        self._read = (prologue, walker)

    def _take(self, chunk: bytes) -> None:
        if self._inflater is None:
            self._push(chunk)
        else:
            for piece in self._inflated(chunk):
                self._push(piece)

    def _push(self, piece: bytes) -> None:
        start = self._position
        self._position += len(piece)
        if self._want is None or self._position <= self._want.offset:
            return
        self._hold(piece[max(0, self._want.offset - start) :])
        while self._want is not None and self._held_size >= max(self._want.size, 1):
            self._advance()

    def _hold(self, piece: bytes) -> None:
        self._held.append(piece)
        self._held_size += len(piece)

    def _advance(self) -> None:
        """Give the steps what is held, and keep of it what they have not passed yet."""
        assert self._want is not None
        data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        offset = self._want.offset
        self._held, self._held_size = [], 0
        try:
            self._want = self._steps.send(data)
        except StopIteration:
            self._want = None
            return
        rest = data[self._want.offset - offset :]
        if self._want.inflate:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            self._position = self._want.offset
            self._want = next(self._steps)
            self._take(rest)
        elif rest:
            self._hold(rest)

    def _inflated(self, chunk: bytes) -> Iterator[bytes]:
        """The chunk inflated step by step, for a small one may hold gigabytes."""
        assert self._inflater is not None
        try:
            while chunk:
                piece = self._inflater.decompress(chunk, _INFLATE_STEP)
                if self._position + len(piece) > MAX_INFLATED:
                    raise Unreadable("This object inflates to more than is accepted.")
                chunk = self._inflater.unconsumed_tail
                yield piece
        except zlib.error as error:
            raise Unreadable("The deflated data set is damaged.") from error


def read_header(reader: BinaryIO) -> Header:
    """The header of an object that can be read by range; of large values only the place is looked at."""
    steps = HeaderReader()
    while steps.wants_more:
        offset = steps.skip()
        if offset is not None:
            reader.seek(offset)
        chunk = reader.read(_READ)
        if not chunk:
            break
        steps.feed(chunk)
    return steps.finish()


def header_of(content: bytes) -> Header:
    """The header of an object in memory."""
    steps = HeaderReader()
    steps.feed(content)
    return steps.finish()


def is_uid(text: str) -> bool:
    """Whether this can be the UID of something here: no path characters, at most 64 characters."""
    return _UID.fullmatch(text) is not None and ".." not in text


def _checked(prologue: Prologue, walker: Walker, size: int) -> Header:
    warnings = [*prologue.warnings, *walker.warnings]
    data = walker.root
    sop_class = _uid(data, 0x00080016, "SOP Class UID", warnings, prologue.sop_class_uid)
    sop_instance = _uid(data, 0x00080018, "SOP Instance UID", warnings, prologue.sop_instance_uid)
    if prologue.sop_instance_uid and prologue.sop_instance_uid != sop_instance:
        warnings.append("the file meta information names another SOP instance")
    return Header(
        data=data,
        sop_class_uid=sop_class,
        sop_instance_uid=sop_instance,
        study_uid=_uid(data, 0x0020000D, "Study Instance UID", warnings),
        series_uid=_uid(data, 0x0020000E, "Series Instance UID", warnings),
        transfer_syntax=prologue.transfer_syntax,
        encoding=prologue.encoding,
        start=prologue.start,
        size=size,
        fragments=walker.fragments,
        cut=walker.cut,
        partial=walker.partial,
        warnings=tuple(warnings),
    )


def _plain(element: Element | None) -> str:
    return element.value.decode("latin-1").strip(" \0") if element is not None and element.value else ""


def _uid(data: DataSet, tag: int, name: str, warnings: list[str], otherwise: str = "") -> str:
    """A UID (PS3.5 9.1): what is only unusual is noted, what is none is refused."""
    text = _plain(data.get(tag))
    if not text and otherwise:
        warnings.append(f"the {name} stands in the file meta information only")
        text = otherwise
    if not text:
        raise NoUid(f"The {name} is missing.")
    if not is_uid(text):
        raise NoUid(f"The {name} is not a UID.")
    if not _STRICT_UID.fullmatch(text):
        warnings.append(f"the {name} is not written as the standard demands")
    return text


__all__ = [
    "Header",
    "HeaderReader",
    "NoUid",
    "NotAnObject",
    "Unreadable",
    "header_of",
    "is_uid",
    "read_header",
]
