"""The values of search keys: exact, wildcard or range, by value representation.

DICOM PS3.4, C.2.2.2.1-5 (kinds of matching); PS3.5, 6.2 (value representations). Dates and times become
bounds that compare as text: `YYYYMMDD`, `HHMMSSffffff`, `YYYYMMDDHHMMSSffffff`; a partial one spans its
whole precision.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from server.core.errors import InvalidInput

MAX_VALUES = 1000
MAX_LENGTH = 1024


@dataclass(frozen=True)
class Equals:
    """Single value matching (PS3.4, C.2.2.2.1)."""

    value: str


@dataclass(frozen=True)
class Like:
    """Wildcard matching: `*` any run of characters, `?` any one (PS3.4, C.2.2.2.4)."""

    pattern: str


@dataclass(frozen=True)
class Between:
    """Range matching, both ends included; None where open (PS3.4, C.2.2.2.5)."""

    low: str | None
    high: str | None


@dataclass(frozen=True)
class Empty:
    """Empty value matching: the attribute is there without a value, or is not there (PS3.4, C.2.2.2.7)."""


Test = Equals | Like | Between | Empty

EMPTY = '""'  # how a key asks for it

_WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_NUMBER_VRS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"})
# A comma separates values only where it can hardly be part of one; the backslash always does.
_COMMA_VRS = frozenset({"UI", "CS", "DA", "TM", "DT", "AS"}) | _NUMBER_VRS
_COMMA_EITHER_WAY = frozenset({"00100020", "00080050", "00200010"})  # Patient ID, Accession Number, Study ID
_TEXT_VRS = frozenset({"LT", "ST", "UT", "UR"})  # a backslash is an ordinary character in these

_TIME = r"(?:[01]\d|2[0-3])(?::?[0-5]\d(?::?(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?"
_DATE = r"\d{8}|\d{4}\.\d{2}\.\d{2}"
_STAMP = (
    r"\d{4}(?:\d{2}(?:\d{2}(?:\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?)?)?(?:[+-](?:0\d|1[0-4])[0-5]\d)?"
)


def tests(vr: str, tag: str, values: Iterable[str], name: str, *, empty: bool) -> tuple[Test, ...]:
    """The tests one of which must hold; none when an empty value or `*` matches everything.

    `empty`: two quotation marks ask for what has no value. Raises InvalidInput when a value is not of the kind its
    attribute has.
    """
    found: list[Test] = []
    for value in (each for text in values for each in _list(vr, tag, text)):
        test = Empty() if empty and value == EMPTY else _test(vr, value, name)
        if test is None:
            return ()  # universal matching (PS3.4, C.2.2.2.3)
        found.append(test)
    if len(found) > MAX_VALUES:
        raise InvalidInput(f"{name} has more than {MAX_VALUES} values.")
    return tuple(dict.fromkeys(found))


def _list(vr: str, tag: str, text: str) -> list[str]:
    if vr in _TEXT_VRS:
        return [text]
    values = text.split("\\")
    if vr in _COMMA_VRS:
        values = [each for value in values for each in value.split(",")]
    elif tag in _COMMA_EITHER_WAY:
        values += [each for value in values if "," in value for each in value.split(",")]
    trimmed = [each.strip() for each in values]
    return [each for each in trimmed if each] or [""]


def _test(vr: str, value: str, name: str) -> Test | None:
    if "\x00" in value or len(value) > MAX_LENGTH:
        raise InvalidInput(f"The value of {name} is too long, or holds a character no value can have.")
    if value in ("", "*"):
        return None
    match vr:
        case "DA":
            return _dates(value, name)
        case "TM":
            return _times(value, name)
        case "DT":
            return _stamps(value, name)
        case _ if vr in _NUMBER_VRS:
            return Equals(_number(vr, value, name))
        case _ if vr in _WILDCARD_VRS and ("*" in value or "?" in value):
            return Like(value)
    return Equals(value)


def _dates(value: str, name: str) -> Test | None:
    low, high = _ends(value, _DATE, f"{name} wants a date YYYYMMDD, or a range of two with - between.")
    first, last = (each and _day(each, name) for each in (low, high))
    return _between(first, last)


def _day(text: str, name: str) -> str:
    digits = text.replace(".", "")
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError as exc:
        raise InvalidInput(f"{name} names a day that the calendar does not have.") from exc
    return digits


def _times(value: str, name: str) -> Test | None:
    wanted = f"{name} wants a time HH, HHMM, HHMMSS or HHMMSS.FFFFFF, or a range of two with - between."
    low, high = _ends(value, _TIME, wanted)
    return _between(low and time_bound(low, "0"), high and time_bound(high, "9"))


def time_bound(text: str, fill: str) -> str:
    """`HHMMSSffffff`: the first or last moment that a partial time spans (`fill` is 0 or 9)."""
    digits = text.replace(":", "").replace(".", "")
    if fill == "0":
        return digits.ljust(12, "0")
    return (digits + "235959"[len(digits) :] if len(digits) < 6 else digits).ljust(12, "9")


def _stamps(value: str, name: str) -> Test | None:
    wanted = f"{name} wants YYYYMMDDHHMMSS.FFFFFF or the beginning of it, or a range of two with - between."
    low, high = _ends(value, _STAMP, wanted)
    return _between(low and _stamp(low, "00010101000000"), high and _stamp(high, "99991231235959"))


def _stamp(text: str, rest: str) -> str:
    digits = re.split(r"[+-]", text)[0].replace(".", "")
    return (digits + rest[len(digits) :]).ljust(20, "0" if rest.startswith("0") else "9")


def _ends(value: str, one: str, wanted: str) -> tuple[str | None, str | None]:
    """The two ends of `a`, `a-b`, `a-` and `-b`."""
    found = re.fullmatch(rf"(?P<only>{one})|(?P<low>{one})?\s*-\s*(?P<high>{one})?", value, re.ASCII)
    if found is None:
        raise InvalidInput(wanted)
    if found["only"]:
        return found["only"], found["only"]
    return found["low"], found["high"]


def _between(low: str | None, high: str | None) -> Test | None:
    if low is None and high is None:
        return None
    return Equals(low) if low is not None and low == high else Between(low, high)


def _number(vr: str, value: str, name: str) -> str:
    pattern = r"[0-9A-Fa-f]{8}" if vr == "AT" else r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?"
    if not re.fullmatch(pattern, value, re.ASCII) or len(value) > 32:
        raise InvalidInput(f"{name} wants a number.")
    return value
