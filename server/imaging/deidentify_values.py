"""The action of each element, and its new value (PS3.15, Table E.1-1 and E.3); what no table names, by its VR.

Stricter than the table where it is silent: private elements, elements that the dictionary does not know, text, and
bytes without a known meaning do not stay because nobody named them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pydicom.uid import UID_dictionary

from .deidentify_encode import Written, text
from .deidentify_subject import Options, Subject, words_of
from .deidentify_table import BASIC
from .deidentify_words import clean_text, meaning_of
from .dictionary import is_signed_or_not, keyword_of, vr_of
from .elements import PIXEL_DATA, DataSet, Element

# E.3.7 Retain Patient Characteristics: sex, age, size, weight, ethnic group, smoking, pregnancy, neutered.
CHARACTERISTICS = frozenset(
    [
        0x00100040,
        0x00101010,
        0x00101020,
        0x00101030,
        0x00102160,
        0x00102161,
        0x001021A0,
        0x001021C0,
        0x00102203,
    ]
)
# E.3.8 Retain Device Identity: serial numbers and stations; operators and institutions are not the device.
DEVICE = frozenset(
    [
        0x00181000,
        0x00081010,
        0x0018700A,
        0x00181004,
        0x00181005,
        0x00181007,
        0x00181008,
        0x00500020,
        0x00181003,
    ]
)
# E.3.5 Clean Descriptors: the others are removed with the option too.
DESCRIPTORS = frozenset(
    [
        0x00081030,
        0x0008103E,
        0x00181030,
        0x00189424,
        0x00180010,
        0x00321060,
        0x00400254,
        0x00400007,
        0x00181400,
    ]
)
# Bytes whose meaning is known: tables that turn values into grey or colour, offsets of frames.
_BYTES = frozenset(
    [0x00283006, 0x00281201, 0x00281202, 0x00281203, 0x00281204, 0x00281221, 0x00281222, 0x00281223]
)
_MOST_BYTES = 1 << 20
_KEPT_AS_SAID = frozenset(
    [0x00280004, 0x00080060, 0x00282110, 0x00282114, 0x00185100]
)  # read by every viewer
_BIRTH = frozenset([0x00100030, 0x00100032])
_WHO = frozenset([
    0x00100010, 0x00100020, 0x00100021, 0x00100030, 0x00101000, 0x00101001, 0x00101002, 0x00101005, 0x00101040,
    0x00101060, 0x00101090, 0x00102154, 0x00102155, 0x00100050, 0x00080050, 0x00080080, 0x00080081, 0x00081040,
    0x00200010, 0x00380010, 0x00380060, 0x00401001, 0x00402016, 0x00402017, 0x00400009, 0x00400253,
    0x00080094, 0x00380300, 0x00380400, 0x00321033, 0x00321032, 0x00080090, 0x00081010, 0x00101080,
])  # fmt: skip
_SAME = ({"OB", "OW"}, {"US", "SS", "OW"}, {"LO", "SH"}, {"LT", "ST", "UT", "LO"}, {"UL", "US"}, {"DS", "IS"})
_NUMBERS = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4, "SV": 8, "UV": 8}
_FREE_TEXT = frozenset(["LO", "SH", "LT", "ST", "UT", "UC"])
_PATTERNS = {
    "DS": re.compile(r" *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? *"),
    "IS": re.compile(r" *[+-]?\d{1,10} *"),
    "AS": re.compile(r"\d{3}[DWMY]"),
    "CS": re.compile(r"[A-Z0-9_ ]{0,16}"),
    "TM": re.compile(r"\d\d(?:\d\d(?:\d\d(?:\.\d{1,6})?)?)? *"),
}
_KERNEL = re.compile(r"[A-Za-z]{1,2}\d{1,2}[a-z]?")
_DUMMIES = {"DA": "19000101", "DT": "19000101000000", "TM": "000000", "DS": "0", "IS": "0", "AS": "000D"}
_OLDEST = 90  # years; older ones are few (45 CFR 164.514(b)(2)(i)(C))
_CODE, _SCHEME, _MEANING = 0x00080100, 0x00080102, 0x00080104


@dataclass
class Rewriter:
    """Rewrites one object's elements, and counts what it did to each attribute, without values."""

    subject: Subject
    options: Options
    known: frozenset[str] = frozenset()  # of the person and of this object
    signed: bool = False  # Pixel Representation
    read: Callable[[int, int], bytes] | None = None  # bytes of the object that were too many to be kept
    counts: Counter[str] = field(default_factory=Counter)

    def data_set(self, data: DataSet, *, nested: bool = False) -> list[Written]:
        """What stays of a data set or item."""
        found = []
        for tag, element in data.items():
            if tag == PIXEL_DATA and not nested:
                continue
            written = self._element(tag, element)
            if written is not None:
                found.append(written)
        return found

    def _element(self, tag: int, element: Element) -> Written | None:
        vr = "SS" if self.signed and is_signed_or_not(tag) else vr_of(tag)
        if tag & 0xFFFF == 0:
            return None  # a group length says nothing
        if (name := _nameless(tag)) or not _fits(vr, element.vr):
            return self._gone(tag, name)
        if element.vr in ("OB", "OW", "SS"):
            vr = element.vr
        action = self.action(tag, vr)
        if action == "X":
            return self._gone(tag)
        if element.items is None and element.value is None and element.length:
            if tag not in _BYTES or element.length > _MOST_BYTES or self.read is None:
                return self._gone(tag)  # it was too large to be kept
            element.value = self.read(element.offset, element.length)
        if action == "Z" or (element.items is None and not element.length):
            return self._emptied(tag, vr, element)
        if action == "D":
            return self._dummy(tag, vr, element)
        if vr == "SQ":
            return self._sequence(tag, element)
        return self._value(tag, vr, element, action)

    def action(self, tag: int, vr: str) -> str:
        """The one action out of the table's alternatives: what keeps the object valid, and no more."""
        basic = BASIC.get(tag, "K")
        if basic in ("K", "U"):
            return basic
        if self.options.dates and vr in ("DA", "DT", "TM") and tag not in _BIRTH:
            return "C"
        if self.options.characteristics and tag in CHARACTERISTICS:
            return "K"
        if self.options.device and tag in DEVICE:
            return "device"
        if self.options.descriptors and tag in DESCRIPTORS:
            return "C"
        if basic == "X/Z/U*":
            return "U"
        return {"X/Z": "Z", "X/D": "D", "Z/D": "D", "X/Z/D": "D"}.get(basic, basic)

    def _value(self, tag: int, vr: str, element: Element, action: str) -> Written | None:
        value = element.value or b""
        if vr in _NUMBERS:
            return Written(tag, vr, value) if len(value) % _NUMBERS[vr] == 0 else self._gone(tag)
        if vr in ("OB", "OW", "OF", "OD", "OL", "OV", "UN", "UR", "AE"):
            return Written(tag, vr, value) if tag in _BYTES else self._gone(tag)
        said = value.decode("latin-1").rstrip(" \0")
        if vr == "UI":
            new = "\\".join(self._uid(each.strip()) for each in said.split("\\"))
        elif vr in _FREE_TEXT:
            new = self._device(said) if action == "device" else self._words(tag, said)
        elif vr == "PN":
            new = ""
        else:
            new = self._parts(tag, vr, said)
        if new != said:
            self._count(tag, "changed" if new else "emptied")
        return text(tag, vr, new)

    def _uid(self, uid: str) -> str:
        """UIDs that the standard itself gives out name kinds of things, all others things."""
        return uid if not uid or uid in UID_dictionary else self.subject.uid(uid)

    def _parts(self, tag: int, vr: str, said: str) -> str:
        """Each value of a code, number, age, date or time; all are emptied where one is not what it should be."""
        parts = [self._part(tag, vr, each.strip(" ")) for each in said.split("\\")]
        wrong = any(part is None for part in parts)
        return "" if wrong else "\\".join(part for part in parts if part is not None)

    def _part(self, tag: int, vr: str, said: str) -> str | None:
        if not said:
            return ""
        if vr == "DA":
            return (self.subject.date(said) or None) if self.options.dates else None
        if vr == "DT":
            return self._moment(said) if self.options.dates else None
        if vr == "TM" and not self.options.dates:
            return None
        if (pattern := _PATTERNS.get(vr)) is None or not said.isascii() or not pattern.fullmatch(said):
            return None
        if vr == "AS" and said.endswith("Y") and int(said[:3]) > _OLDEST:
            return f"{_OLDEST:03}Y"
        if vr == "TM" or (tag in _KEPT_AS_SAID and len(said) <= 16):
            return said
        return None if self._identifies(said, vr in ("DS", "IS")) else said

    def _moment(self, said: str) -> str | None:
        found = re.fullmatch(
            r"(\d{8})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?(?:[+-]\d{4})?", said, re.ASCII
        )
        day = self.subject.date(found[1]) if found else ""
        return day + (found[2] or "") if found and day else None

    def _words(self, tag: int, said: str) -> str:
        if tag == 0x00181210 and _KERNEL.fullmatch(said) and not self._identifies(said):
            return said
        return clean_text(said, self.known)

    def _device(self, said: str) -> str:
        plain = said.isascii() and said.isprintable()
        return said if plain and not self._identifies(said) else ""

    def _identifies(self, said: str, is_number: bool = False) -> bool:
        """Whether a value holds a word that identifies somebody; a short word has to stand alone."""
        folded = said.casefold()
        if is_number:  # a short number of a case is found in any measure
            return any(word.isdigit() and len(word) > 5 and word in folded for word in self.known)
        alone = words_of([folded.replace("_", " ")])
        return any(word in alone or (len(word) > 3 and word in folded) for word in self.known)

    def _sequence(self, tag: int, element: Element) -> Written:
        items = [self._item(item) for item in element.items or ()]
        return Written(tag, "SQ", items=[item for item in items if item])

    def _item(self, item: DataSet) -> list[Written]:
        found = self.data_set(item, nested=True)
        if _CODE not in item and 0x00080119 not in item and 0x00080120 not in item:
            return found
        value, scheme = _said(item, _CODE), _said(item, _SCHEME)
        meaning = meaning_of(scheme, value)
        if meaning is None or not meaning.isascii():
            self._count(_CODE, "removed")
            return []  # a code of nobody knows what: it may be a number of a case
        code = [text(_CODE, "SH", value), text(_SCHEME, "SH", scheme), text(_MEANING, "LO", meaning[:64])]
        return [each for each in found if each.vr == "SQ"] + code

    def _emptied(self, tag: int, vr: str, element: Element) -> Written:
        if element.length:
            self._count(tag, "emptied")
        return Written(tag, vr, items=[] if vr == "SQ" else None)

    def _dummy(self, tag: int, vr: str, element: Element) -> Written | None:
        if vr == "SQ":
            return self._emptied(tag, vr, element)
        if vr in _NUMBERS:
            self._count(tag, "changed")
            return Written(tag, vr, bytes(_NUMBERS[vr]))
        if vr == "UI":
            return self._value(tag, vr, element, "U")
        if vr in ("OB", "OW", "OF", "OD", "OL", "OV", "UN", "UR"):
            return self._gone(tag)
        self._count(tag, "changed")
        return text(tag, vr, _DUMMIES.get(vr, "REMOVED"))

    def _gone(self, tag: int, name: str = "") -> Written | None:
        self._count(tag, "removed", name)
        return None

    def _count(self, tag: int, what: str, name: str = "") -> None:
        self.counts[f"{what} {name or keyword_of(tag) or f'{tag:08X}'}"] += 1


def identifying(data: DataSet, depth: int = 0) -> Iterator[str]:
    """Texts of an object that name a person, a case or a place, wherever they stand in it."""
    for tag, element in data.items():
        if element.items is not None and depth < 16:
            for item in element.items:
                yield from identifying(item, depth + 1)
        elif element.value and len(element.value) < 10_000 and (tag in _WHO or element.vr == "PN"):
            yield element.value.decode("latin-1")
            yield element.value.decode("utf-8", "ignore")


def _said(item: DataSet, tag: int) -> str:
    element = item.get(tag)
    return (element.value or b"").decode("latin-1").strip(" \0") if element is not None else ""


def _nameless(tag: int) -> str:
    """What an element is called in the report that goes because of where it stands; empty where it may stay."""
    group = tag >> 16
    if group & 1:
        return "private"
    if group & 0xFF00 == 0x5000:
        return "curve"
    if group & 0xFF00 == 0x6000:
        return "overlay"
    if group < 8 or group > 0x7FE0 or not keyword_of(tag):
        return "unknown"
    return ""


def _fits(known: str, said: str) -> bool:
    """Whether an element is written as the dictionary knows it; what is not may be something else."""
    return known == said or any(known in same and said in same for same in _SAME)
