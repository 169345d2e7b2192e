"""De-identification: an object as a research project gets it, or the reason why it does not.

DICOM PS3.15, Annex E: the Basic Application Level Confidentiality Profile of Table E.1-1 with options. Pure: bytes in,
a plan out. The header is written anew, element by element; pixels are carried over by range, so that an object of
gigabytes takes no more memory than its header. The same input and key give the same bytes, always: nothing has to be
kept of the result but its size and checksum.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from . import transfer_syntax as syntaxes
from .deidentify_encode import Written, beginning, data_set, head_of, text
from .deidentify_pixels import Pixels, Unsure, number, pixels_of
from .deidentify_policy import REASONS, reason_against
from .deidentify_subject import Options, Subject, subject_key, words_of
from .deidentify_table import EDITION
from .deidentify_values import Rewriter, identifying
from .deidentify_words import meaning_of
from .elements import PIXEL_DATA, Unreadable
from .header import Header, read_header

VERSION = 1  # of what is made: raised whenever the same input would give other bytes
PART = 1 << 20
_MOST_INFLATED = 1 << 26
_METHOD = (f"Lightbox {VERSION}", f"DICOM PS3.15 {EDITION} Annex E", "Private and unknown elements removed")


class Excluded(Exception):
    """This object is not given; `reason` is a key of `deidentify_policy.REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Made:
    """One object without its person: the new header, and what is copied behind it."""

    study_uid: str
    series_uid: str
    sop_uid: str
    head: bytes
    pixels: Pixels
    removed: dict[str, int]  # what was done to which attribute, how often; no values
    inflated: bytes | None = None  # the source, where it was deflated

    @property
    def size(self) -> int:
        return len(self.head) + (self.pixels.stop - self.pixels.start) + len(self.pixels.after)

    def copied(self, start: int, part: bytes) -> bytes:
        """Bytes of the source from `start` on, as they go out."""
        touched = [each for each in self.pixels.blanks if each[0] < start + len(part) and each[1] > start]
        if not touched:
            return part
        new = bytearray(part)
        for begin, end in touched:
            low, high = max(begin - start, 0), min(end - start, len(part))
            new[low:high] = bytes(high - low)
        return bytes(new)

    def parts(self, source: BinaryIO, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Bytes start..stop of the new object, in parts of bounded size."""
        stop = self.size if stop is None else stop
        if self.inflated is not None:
            source = io.BytesIO(self.inflated)
        middle = len(self.head)
        end = middle + self.pixels.stop - self.pixels.start
        if start < middle:
            yield self.head[start:stop]
        at = max(start, middle)
        while at < min(stop, end):
            offset = self.pixels.start + at - middle
            source.seek(offset)
            part = source.read(min(PART, min(stop, end) - at))
            if not part:
                raise Unreadable("The object ends before its pixel data do.")
            yield self.copied(offset, part)
            at += len(part)
        if stop > end:
            yield self.pixels.after[max(start - end, 0) : stop - end]


def deidentify(source: BinaryIO, subject: Subject, options: Options) -> Made:
    """What becomes of an object that can be read by range. Raises Excluded."""
    try:
        header = read_header(source)
        inflated = None
        if header.encoding.deflated:
            inflated = _inflated(source, header)
            source = io.BytesIO(inflated)
    except Unreadable as exc:
        raise Excluded("damaged") from exc

    def read(offset: int, size: int) -> bytes:
        source.seek(offset)
        return source.read(size)

    if (reason := reason_against(header, faces_stay=options.faces)) is not None:
        raise Excluded(reason)
    try:
        pixels = pixels_of(header, read)
    except Unsure as exc:
        raise Excluded(str(exc)) from exc
    rewriter = Rewriter(
        subject,
        options,
        known=subject.known | words_of(identifying(header.data)),
        signed=number(header.data, 0x00280103) == 1,
        read=read,
    )
    elements = [each for each in rewriter.data_set(header.data) if each.tag not in _OURS]
    if not {each.tag for each in elements if each.value} >= _NEEDED:
        raise Excluded("damaged")  # what pixels are read with is not written as it has to be
    return _made(header, subject, options, elements, pixels, dict(rewriter.counts), inflated)


def _inflated(source: BinaryIO, header: Header) -> bytes:
    """A deflated object (PS3.5, A.5), small enough to be held, with its header's own offsets."""
    if header.size > _MOST_INFLATED:
        raise Excluded("too-large")
    source.seek(0)
    whole = source.read(_MOST_INFLATED)
    content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(whole[header.start :], _MOST_INFLATED)
    return whole[: header.start] + content


def _made(
    header: Header,
    subject: Subject,
    options: Options,
    elements: list[Written],
    pixels: Pixels,
    removed: dict[str, int],
    inflated: bytes | None,
) -> Made:
    big = header.encoding.big
    syntax = header.transfer_syntax
    if syntaxes.is_native(syntax):
        syntax = syntaxes.BIG_ENDIAN if big else syntaxes.EXPLICIT
    sop_uid = subject.uid(header.sop_instance_uid)
    vr = "OB" if header.fragments is not None else header.data[PIXEL_DATA].vr
    head = b"".join(
        [
            beginning(header.sop_class_uid, sop_uid, syntax),
            data_set([*elements, *_said_of_it(subject, options)], big),
            head_of(PIXEL_DATA, vr if vr in ("OB", "OW") else "OW", pixels.length, big),
            pixels.before,
        ]
    )
    study, series = subject.uid(header.study_uid), subject.uid(header.series_uid)
    return Made(study, series, sop_uid, head, pixels, removed, inflated)


def _said_of_it(subject: Subject, options: Options) -> list[Written]:
    """Who it is now, and how it came to be so (PS3.15, E.1.1; PS3.3, C.12.1.1.10, C.7.1.1)."""
    codes = [_code(each) for each in codes_of(options)]
    found = [
        text(0x00100010, "PN", subject.pseudonym),
        text(0x00100020, "LO", subject.pseudonym),
        text(0x00120062, "CS", "YES"),
        text(0x00120063, "LO", "\\".join(_METHOD)),
        Written(0x00120064, "SQ", items=codes),
        text(0x00280301, "CS", "NO"),
        text(0x00280303, "CS", "MODIFIED" if options.dates else "REMOVED"),
    ]
    return found if options.faces else [*found, text(0x00280302, "CS", "NO")]


def codes_of(options: Options) -> tuple[str, ...]:
    """The profile and its options, in the codes of CID 7050."""
    chosen = (
        ("113100", True),
        ("113105", options.descriptors),
        ("113107", options.dates),
        ("113108", options.characteristics),
        ("113109", options.device),
    )
    return tuple(code for code, holds in chosen if holds)


def _code(value: str) -> list[Written]:
    meaning = (meaning_of("DCM", value) or "")[:64]
    return [
        text(0x00080100, "SH", value),
        text(0x00080102, "SH", "DCM"),
        text(0x00080104, "LO", meaning),
    ]


# Written by us: whatever the object said there goes. The character set too, for all text is ASCII.
_OURS = frozenset([
    0x00080005, 0x00100010, 0x00100020, 0x00120062, 0x00120063, 0x00120064, 0x00280301, 0x00280302, 0x00280303,
    0x7FE00001, 0x7FE00002,
])  # fmt: skip

# PS3.3, C.7.6.3: without these nobody can read the pixels.
_NEEDED = frozenset([*range(0x00280100, 0x00280104), 0x00280002, 0x00280004, 0x00280010, 0x00280011])

__all__ = [
    "REASONS",
    "VERSION",
    "Excluded",
    "Made",
    "Options",
    "Subject",
    "deidentify",
    "subject_key",
    "words_of",
]
