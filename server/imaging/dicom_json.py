"""A data set as the DICOM JSON model, as bytes.

DICOM PS3.18, F.2. Odd values never raise: they come out as well as they can, and are noted. Values that stay in
the object are named by a BulkDataURI beneath `ROOT`, a byte that valid JSON cannot hold: the surface that sends
the bytes puts the address of its own root in that place.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from struct import unpack
from typing import Any

import orjson

from .dictionary import BINARY_VRS, SINGLE_VRS, TEXT_VRS, is_signed_or_not
from .elements import PIXEL_DATA, DataSet, Element
from .text import Decoder, name_groups

Json = dict[str, Any]

ROOT = b"\0"  # stands for the DICOMweb root of the patient
INLINE = 1024  # bytes of a binary value that are sent within the JSON

_FORMATS = {"FD": "d", "FL": "f", "SL": "l", "SS": "h", "SV": "q", "UL": "L", "US": "H", "UV": "Q"}
_SIZES = {"FD": 8, "FL": 4, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8, "AT": 4}
_WORD = _SIZES | {"AT": 2, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_EXACT = 2**53  # beyond, a JSON number is not safe: a string is (F.2.2, IS, DS, SV, UV)
_CHARACTER_SET = 0x00080005
_REPRESENTATION = 0x00280103
GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


@dataclass
class Converter:
    """Turns elements into the JSON model; `trouble` gathers what was odd."""

    bulk_root: str = ""  # "/studies/S/series/E/instances/I/bulkdata"; empty: no URIs
    trouble: set[str] = field(default_factory=set)
    inline: int = INLINE  # bytes of a binary value that stay within the JSON

    def data_set(self, data: DataSet, *, skip: Callable[[int], bool] | None = None) -> Json:
        """The object of a whole data set, tags ascending (F.2.2)."""
        return self._object(data, self._decoder(data, None), 0, "", skip)

    def values(self, data: DataSet, tag: int) -> list[Any]:
        """The values of one element at the top; empty when it is not there."""
        element = data.get(tag)
        if element is None:
            return []
        value = self._element(element, data, self._decoder(data, None), 0, "").get("Value")
        return list(value) if value else []

    def _decoder(self, data: DataSet, outer: Decoder | None) -> Decoder:
        element = data.get(_CHARACTER_SET)
        if element is None or element.value is None:
            return outer or Decoder((), self.trouble)
        terms = element.value.decode("latin-1").rstrip(" ").split("\\")
        return Decoder(tuple(term.strip(" \0") for term in terms), self.trouble)

    def _object(
        self,
        data: DataSet,
        decoder: Decoder,
        signed: int,
        path: str,
        skip: Callable[[int], bool] | None = None,
    ) -> Json:
        signed = _signed(data, signed)
        result: Json = {}
        for tag in sorted(data):
            if tag & 0xFFFF == 0 or (skip is not None and skip(tag)):
                continue
            result[f"{tag:08X}"] = self._element(data[tag], data, decoder, signed, path)
        if _CHARACTER_SET in data and "00080005" in result:
            result["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}  # what JSON is written in (F.2)
        return result

    def _element(self, element: Element, data: DataSet, decoder: Decoder, signed: int, path: str) -> Json:
        vr = element.vr
        if element.items is not None:
            return self._sequence(element, decoder, signed, path)
        if signed and vr == "US" and data.implicit and is_signed_or_not(element.tag):
            vr = "SS"
        if is_bulk(element, self.inline):
            return self._bulk(element, vr, path)
        if not element.value or vr == "SQ":
            return {"vr": vr}
        if vr in BINARY_VRS:
            return {"vr": vr, "InlineBinary": inline_binary(element.value, vr, data.big)}
        values = self._values(element.value, vr, data.big, decoder)
        return {"vr": vr, "Value": values} if any(each is not None for each in values) else {"vr": vr}

    def _sequence(self, element: Element, decoder: Decoder, signed: int, path: str) -> Json:
        items = element.items or []
        if not items:
            return {"vr": "SQ"}
        name = f"{path}/{element.tag:08X}"
        return {
            "vr": "SQ",
            "Value": [
                self._object(item, self._decoder(item, decoder), signed, f"{name}/{number}")
                for number, item in enumerate(items, 1)
            ],
        }

    def _bulk(self, element: Element, vr: str, path: str) -> Json:
        """F.2.6; of what lies in items, the path names sequence and item number (from 1)."""
        if not self.bulk_root:
            return {"vr": vr}
        uri = f"{self.bulk_root}{path}/{element.tag:08X}".encode()
        return {"vr": vr, "BulkDataURI": orjson.Fragment(b'"' + ROOT + uri + b'"')}

    def _values(self, value: bytes, vr: str, big: bool, decoder: Decoder) -> list[Any]:
        if vr in _FORMATS:
            return self._numbers(value, vr, big)
        if vr == "AT":
            return self._tags(value, big)
        text = decoder.text(value) if vr in TEXT_VRS else self._plain(value)
        if vr in SINGLE_VRS:
            return [text.rstrip(" ") or None]
        if vr == "PN":
            return [_person(each) for each in text.rstrip(" ").split("\\")]
        if vr in ("IS", "DS"):
            return [self._decimal(each) for each in text.rstrip(" ").split("\\")]
        if vr == "UC":
            return [each.rstrip(" ") or None for each in text.split("\\")]
        return [each.strip(" ") or None for each in text.split("\\")]

    def _plain(self, value: bytes) -> str:
        if b"\0" in value:
            value = value.replace(b"\0", b"")
        if value.isascii():
            return value.decode("ascii")
        self.trouble.add("characters that the VR does not allow")
        return value.decode("latin-1")

    def _decimal(self, text: str) -> int | float | str | None:
        text = text.strip(" ")
        if not text:
            return None
        try:
            number = float(text) if "_" not in text else math.nan
            if math.isfinite(number):
                whole = int(text) if text.lstrip("+-").isdigit() else number
                return whole if abs(whole) < _EXACT else text
        except ValueError:
            pass
        self.trouble.add("a number that is none")
        return text

    def _numbers(self, value: bytes, vr: str, big: bool) -> list[Any]:
        size = _SIZES[vr]
        count, rest = divmod(len(value), size)
        if rest:
            self.trouble.add("a value with an odd length")
        numbers: Iterable[Any] = unpack(
            f"{'>' if big else '<'}{count}{_FORMATS[vr]}", value[: count * size] if rest else value
        )
        if vr in ("FL", "FD"):
            return [each if math.isfinite(each) else _not_finite(each) for each in numbers]
        if vr in ("SV", "UV"):
            return [each if abs(each) < _EXACT else str(each) for each in numbers]
        return list(numbers)

    def _tags(self, value: bytes, big: bool) -> list[str]:
        if len(value) % 4:
            self.trouble.add("a value with an odd length")
        halves = unpack(f"{'>' if big else '<'}{len(value) // 4 * 2}H", value[: len(value) // 4 * 4])
        return [f"{one:04X}{other:04X}" for one, other in zip(halves[::2], halves[1::2], strict=True)]


def _signed(data: DataSet, outer: int) -> int:
    element = data.get(_REPRESENTATION)
    if element is None or not element.value or len(element.value) < 2:
        return outer
    return element.value[1 if data.big else 0]


def _not_finite(number: float) -> str:
    """JSON has no such numbers (RFC 8259, 6)."""
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def _person(text: str) -> Json | None:
    """F.2.2: an object of the groups that are there."""
    groups = name_groups(text)
    return {key: group for key, group in zip(GROUPS, groups, strict=True) if group} or None


def inline_binary(value: bytes, vr: str, big: bool) -> str:
    """F.2.7: Base64 of the value in little endian."""
    return b64encode(little(value, vr, big)).decode("ascii")


def little(value: bytes, vr: str, big: bool) -> bytes:
    """The value with its words in little endian, as bulk data are sent (PS3.18, 8.7.3.5)."""
    size = _WORD.get(vr, 1)
    if not big or size == 1 or len(value) % size:
        return value
    swapped = bytearray(value)
    for index in range(size):
        swapped[index::size] = value[size - 1 - index :: size]
    return bytes(swapped)


def dumps(value: Any) -> bytes:
    """The JSON bytes; may hold `ROOT` in the place of the root's address."""
    return orjson.dumps(value)


def to_column(prepared: bytes) -> bytes:
    """Prepared JSON as a table keeps it: its functions on text cannot take a zero byte, so it has a one instead."""
    return prepared.replace(b"\0", b"\1")


def without_root(model: Json) -> bytes:
    """The JSON bytes as any parser takes them: addresses in it are relative to the root."""
    return dumps(model).replace(ROOT, b"")


def from_column(prepared: bytes) -> bytes:
    """Prepared JSON with `ROOT` where the root's address belongs."""
    return prepared.replace(b"\1", b"\0")


def is_bulk(element: Element, inline: int = INLINE) -> bool:
    """Whether the metadata name this element by a URI."""
    if element.items is not None:
        return False
    if element.value is None or element.tag == PIXEL_DATA:
        return True
    return len(element.value) > inline and element.vr in BINARY_VRS
