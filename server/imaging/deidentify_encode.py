"""A data set written anew, in an explicit VR (PS3.5, 7.1.2 and 7.5; PS3.10, 7.1): of the old bytes values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack

from .dictionary import LONG_VRS

IMPLEMENTATION_UID = "2.25.302214437953161930853174529711536720318"
IMPLEMENTATION_NAME = "LIGHTBOX"
_NUL_PADDED = frozenset(["UI", "OB", "UN"])
_MOST_SHORT = 0xFFFE


@dataclass(frozen=True)
class Written:
    """One element to write: a value, or the items of a sequence."""

    tag: int
    vr: str
    value: bytes = b""
    items: Sequence[Sequence[Written]] | None = None


def text(tag: int, vr: str, value: str) -> Written:
    """An element of plain ASCII text."""
    return Written(tag, vr, value.encode("ascii"))


def head_of(tag: int, vr: str, length: int, big: bool) -> bytes:
    """Tag, VR and length."""
    order = ">" if big else "<"
    start = pack(f"{order}HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr in LONG_VRS:
        return start + pack(f"{order}HI", 0, length)
    return start + pack(f"{order}H", length)


def data_set(elements: Sequence[Written], big: bool = False) -> bytes:
    """The elements in the order of their tags. What is too long for its VR is left out."""
    parts = []
    for each in sorted(elements, key=lambda one: one.tag):
        value = _items(each.items, big) if each.items is not None else _padded(each)
        if each.vr in LONG_VRS or len(value) <= _MOST_SHORT:
            parts.append(head_of(each.tag, each.vr, len(value), big) + value)
    return b"".join(parts)


def _items(items: Sequence[Sequence[Written]], big: bool) -> bytes:
    order, parts = ">" if big else "<", []
    for item in items:
        content = data_set(item, big)
        parts.append(pack(f"{order}HHI", 0xFFFE, 0xE000, len(content)) + content)
    return b"".join(parts)


def _padded(element: Written) -> bytes:
    if len(element.value) % 2 == 0:
        return element.value
    return element.value + (b"\0" if element.vr in _NUL_PADDED else b" ")


def beginning(sop_class: str, sop_instance: str, transfer_syntax: str) -> bytes:
    """An empty preamble and file meta information of our own."""
    meta = data_set(
        [
            Written(0x00020001, "OB", b"\0\1"),
            text(0x00020002, "UI", sop_class),
            text(0x00020003, "UI", sop_instance),
            text(0x00020010, "UI", transfer_syntax),
            text(0x00020012, "UI", IMPLEMENTATION_UID),
            text(0x00020013, "SH", IMPLEMENTATION_NAME),
        ]
    )
    length = data_set([Written(0x00020000, "UL", pack("<I", len(meta)))])
    return bytes(128) + b"DICM" + length + meta
