"""The content of a DICOM Structured Report as text and as XHTML; pure functions.

DICOM PS3.3, C.17.3 (SR Document Content): a tree of items, each with a value type, mostly a concept name, and a
value. FHIR R4, 2.4.0 (narrative).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from . import codes
from .imaging_study import items, persons, text
from .names import fhir_day, printable

Json = dict[str, Any]

MOST_LINES = 5_000
MOST_TEXT = 200_000  # characters
_MOST_DEPTH = 40
_CONTENT, _CONCEPT, _TYPE, _RELATION = "0040A730", "0040A043", "0040A040", "0040A010"
# Headings whose text is what the report comes to: PS3.16, CID 7001 and 7002, and their LOINC twins.
_CONCLUSIONS = frozenset({"121072", "121073", "121076", "121077", "19005-8", "55110-1", "11534-7"})


@dataclass(frozen=True)
class Line:
    """One content item: how deep it stands, what it is about, and what it says."""

    depth: int
    name: str
    value: str = ""

    @property
    def is_heading(self) -> bool:
        return not self.value

    def __str__(self) -> str:
        words = f"{self.name}: {self.value}" if self.name and self.value else self.name or self.value
        return "  " * max(0, self.depth - 1) + words


def lines_of(model: Json) -> list[Line]:
    """The tree in reading order, without the document's title; bounded."""
    found: list[Line] = []
    size = 0
    for line in _children(model, 1):
        size += len(line.name) + len(line.value)
        if len(found) >= MOST_LINES or size > MOST_TEXT:
            break
        found.append(line)
    return found


def conclusions(model: Json) -> tuple[list[str], list[Json]]:
    """What stands under headings such as "Impression": texts, and coded conclusions as CodeableConcepts."""
    texts: list[str] = []
    concepts: list[Json] = []
    for item in _concluding(model, 0):
        for each in _within(item, 0):
            kind = text(each, _TYPE)
            if kind == "TEXT" and (said := _value(each)):
                texts.append(said)
            elif kind == "CODE":
                concepts += [found for code in items(each, "0040A168") if (found := codes.concept(code))]
    return texts, concepts


def as_text(lines: list[Line]) -> str:
    """Plain text, a line an item."""
    return "\n".join(str(line) for line in lines)


def as_xhtml(title: str, lines: list[Line]) -> str:
    """A narrative: headings and paragraphs, nothing else."""
    parts = ['<div xmlns="http://www.w3.org/1999/xhtml">', f"<h2>{escape(title)}</h2>"]
    for line in lines:
        if line.is_heading:
            parts.append(f"<h3>{escape(line.name)}</h3>")
        else:
            name = f"<b>{escape(line.name)}:</b> " if line.name else ""
            parts.append(f"<p>{name}{_broken(line.value)}</p>")
    return "".join([*parts, "</div>"])


def observers(model: Json) -> list[str]:
    """Person Observer Name (121008, DCM), wherever it stands: TID 1002."""
    found = [
        name
        for item in _within(model, 0)
        if text(item, _TYPE) == "PNAME" and _concept_code(item) == "121008"
        for name in persons(item, "0040A123")
    ]
    return list(dict.fromkeys(found))


def _broken(value: str) -> str:
    return "<br/>".join(escape(each) for each in value.splitlines())


def _children(item: Json, depth: int) -> Iterator[Line]:
    if depth > _MOST_DEPTH:
        return
    for child in items(item, _CONTENT):
        # Who is shown and who observes is told by the report's own elements.
        if text(child, _RELATION) in ("HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS ACQ CONTEXT"):
            continue
        name, value = _concept_name(child), _value(child)
        is_container = text(child, _TYPE) == "CONTAINER"
        if value or (is_container and name):
            yield Line(depth, name, value)
        yield from _children(child, depth + 1)


def _concluding(item: Json, depth: int) -> Iterator[Json]:
    if depth > _MOST_DEPTH:
        return
    for child in items(item, _CONTENT):
        if _concept_code(child) in _CONCLUSIONS:
            yield child
        else:
            yield from _concluding(child, depth + 1)


def _within(item: Json, depth: int) -> Iterator[Json]:
    yield item
    if depth < _MOST_DEPTH:
        for child in items(item, _CONTENT):
            yield from _within(child, depth + 1)


def _concept_name(item: Json) -> str:
    return next((text(each, "00080104") for each in items(item, _CONCEPT)), "")


def _concept_code(item: Json) -> str:
    return next((text(each, "00080100") for each in items(item, _CONCEPT)), "")


def _value(item: Json) -> str:
    match text(item, _TYPE):
        case "TEXT":
            return _lines(item, "0040A160")
        case "CODE":
            return ", ".join(filter(None, (text(each, "00080104") for each in items(item, "0040A168"))))
        case "NUM":
            return _measured(item)
        case "PNAME":
            return ", ".join(persons(item, "0040A123"))
        case "DATE":
            return fhir_day(text(item, "0040A121")) or text(item, "0040A121")
        case "TIME":
            return text(item, "0040A122")
        case "DATETIME":
            return text(item, "0040A120")
    return ""


def _measured(item: Json) -> str:
    for value in items(item, "0040A300"):
        unit = next((text(each, "00080100") for each in items(value, "004008EA")), "")
        number = text(value, "0040A30A")
        return f"{number} {unit}".strip() if unit not in ("", "1", "{none}") else number
    return ""


def _lines(item: Json, tag: str) -> str:
    """A text with its line breaks, without control characters."""
    values = item.get(tag, {}).get("Value") or [""]
    said = printable(values[0]) if isinstance(values[0], str) else ""
    lines = (" ".join(each.split()) for each in said.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return "\n".join(lines).strip()
