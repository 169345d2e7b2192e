"""The parameters of a search, parsed once into a frozen value.

DICOM PS3.18, 8.3.4 (search parameters) and 10.6.1.2; the values mean what PS3.4, C.2.2.2 says: single values,
lists, wildcards, ranges, and the empty value that matches all and asks for the attribute back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from pydicom.datadict import (
    dictionary_has_tag,
    dictionary_VM,
    dictionary_VR,
    keyword_for_tag,
    tag_for_keyword,
)

from server.core.errors import InvalidInput, UnknownParameter

from .qido_values import Test, tests

DEFAULT_LIMIT = 5_000  # decision 15
MAX_LIMIT = 50_000  # what is beyond is asked for with offset; the answer says so in a Warning
MAX_KEYS = 64
MAX_DEPTH = 6
_ABSURD = 2**31 - 1

PARAMETERS = (
    "limit",
    "offset",
    "includefield",
    "fuzzymatching",
    "emptyvaluematching",
    "multiplevaluematching",
)
_SAID_ELSEWHERE = {"accept", "charset"}  # PS3.18, 8.3.3: read with the headers
# Retrieve URL and the numbers of a patient's studies, series and instances are made for the answer.
_MADE = frozenset({"00081190", "00201200", "00201202", "00201204"})
_MULTIPLE = frozenset({"AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"})  # PS3.4, C.2.2.2.8

Path = tuple[str, ...]  # "00400275", "00400009": from the outermost sequence to the attribute


@dataclass(frozen=True)
class Match:
    """One key: where the attribute lies, its value representation, and the tests of which one must hold."""

    path: Path
    vr: str
    any_of: tuple[Test, ...]

    @property
    def tag(self) -> str:
        return self.path[-1]

    @property
    def name(self) -> str:
        return ".".join(keyword_for_tag(int(tag, 16)) or tag for tag in self.path)


@dataclass(frozen=True)
class QidoQuery:
    """A search as it was asked for."""

    matches: tuple[Match, ...] = ()
    include: tuple[Path, ...] = ()  # beyond what is always returned
    include_all: bool = False
    fuzzy: bool = False
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    warnings: tuple[str, ...] = ()


@dataclass
class _Draft:
    values: dict[Path, tuple[str, list[str]]] = field(default_factory=dict)
    include: list[Path] = field(default_factory=list)
    include_all: bool = False
    fuzzy: bool = False
    empty: bool = False
    multiple: bool = False
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    warnings: list[str] = field(default_factory=list)


def parse(parameters: Iterable[tuple[str, str]]) -> QidoQuery:
    """Parse the query string of a search.

    Raises UnknownParameter for a key that is neither a parameter nor an attribute of the data dictionary, and
    InvalidInput for a value that cannot be one of its kind.
    """
    draft = _Draft()
    for name, value in parameters:
        _take(draft, name, value)
    matches = []
    for path, (vr, values) in draft.values.items():
        name = _spelled(path)
        draft.include.append(path)  # PS3.4, C.2.2.1.1: keys come back in the answer
        if draft.multiple and vr in _MULTIPLE and dictionary_VM(int(path[-1], 16)) != "1":
            each_of = [value for text in values for value in text.split("\\")]
            found = [tests(vr, path[-1], [value], name, empty=draft.empty) for value in each_of]
        else:
            found = [tests(vr, path[-1], values, name, empty=draft.empty)]
        matches += [Match(path, vr, any_of) for any_of in found if any_of]
    return QidoQuery(
        tuple(matches),
        tuple(dict.fromkeys(draft.include)),
        draft.include_all,
        draft.fuzzy,
        draft.limit,
        draft.offset,
        tuple(draft.warnings),
    )


def _take(draft: _Draft, name: str, value: str) -> None:
    match name:
        case "limit":
            draft.limit = min(_count(name, value), MAX_LIMIT)
        case "offset":
            draft.offset = _count(name, value)
        case "fuzzymatching":
            draft.fuzzy = _truth(name, value)
        case "includefield":
            _include(draft, value)
        case "emptyvaluematching":
            draft.empty = _truth(name, value)
        case "multiplevaluematching":
            draft.multiple = _truth(name, value)
        case _ if name not in _SAID_ELSEWHERE:
            _key(draft, name, value)


def _key(draft: _Draft, name: str, value: str) -> None:
    path, vr = attribute(name)
    if vr == "SQ" and value:
        raise InvalidInput(
            f"{_spelled(path)} is a sequence; name the attribute inside of it, with a dot between."
        )
    if path[-1] in _MADE and value not in ("", "*"):
        raise InvalidInput(f"{_spelled(path)} is made for the answer; it cannot be searched by.")
    draft.values.setdefault(path, (vr, []))[1].append(value)
    if len(draft.values) > MAX_KEYS:
        raise InvalidInput(f"A search may name {MAX_KEYS} attributes at most.")


def _include(draft: _Draft, value: str) -> None:
    """PS3.18, 8.3.4.3: `all`, or a list of attributes; the parameter may come several times."""
    for name in filter(None, (each.strip() for each in value.split(","))):
        if name.lower() == "all":
            draft.include_all = True
        elif is_tag(name):  # private ones too: returned when held
            draft.include.append((name.upper(),))
        else:
            draft.include.append(attribute(name)[0])
        if len(draft.include) > 1000:
            raise InvalidInput("A search may ask for 1000 fields at most.")


@lru_cache(maxsize=4096)
def attribute(name: str) -> tuple[Path, str]:
    """The path and value representation of an attribute given by keyword, tag, or a path of either.

    Raises UnknownParameter when the dictionary does not know it, or a step on the way is no sequence.
    """
    steps = name.split(".")
    if len(steps) > MAX_DEPTH:
        raise InvalidInput(f"An attribute may lie {MAX_DEPTH} steps deep at most.")
    path = tuple(_tag(step, name) for step in steps)
    vrs = [str(dictionary_VR(int(tag, 16))).split(" ")[0] for tag in path]
    if any(vr != "SQ" for vr in vrs[:-1]):
        raise UnknownParameter(f"{_shown(name)} leads through an attribute that is not a sequence.")
    return path, vrs[-1]


def _tag(step: str, name: str) -> str:
    if is_tag(step):
        if dictionary_has_tag(int(step, 16)):
            return step.upper()
    elif step.isascii() and step.isalnum() and (number := tag_for_keyword(step)) is not None:
        return f"{number:08X}"
    raise UnknownParameter(f"{_shown(name)} is neither a search parameter nor a known attribute.")


def is_tag(text: str) -> bool:
    """Whether it is a tag in eight hex digits."""
    return len(text) == 8 and all(each in "0123456789abcdefABCDEF" for each in text)


@lru_cache(maxsize=4096)
def _spelled(path: Path) -> str:
    return ".".join(keyword_for_tag(int(tag, 16)) or tag for tag in path)


def _shown(name: str) -> str:
    """The name as far as it may stand in a sentence: it came from outside."""
    return "".join(each for each in name[:80] if each.isprintable()) or "An empty name"


def _count(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()) or int(value[:12]) > _ABSURD or len(value) > 10:
        raise InvalidInput(f"{name} wants a whole number from 0 to {_ABSURD}.")
    return int(value)


def _truth(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InvalidInput(f"{name} wants true or false.")
    return value.lower() == "true"
