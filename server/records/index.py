"""What searches find a resource by: its rows in the index tables.

FHIR R4, 3.1.1.4: which parts of an element each kind of parameter looks at. The shape of an element says its
datatype (a CodeableConcept has `coding`, an Identifier `value`), so that one function serves every parameter.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from server.storage.sql import Statement

from .document import Json, Number
from .fold import fold, soundex
from .moments import EARLIEST, LATEST, Span, span
from .references import Target, target
from .registry import Kind, Param, ResourceType

# A row of a B-tree holds 2,700 bytes; what is longer is compared by its beginning.
LONGEST = 250
_LARGEST = Decimal("1e100")
_NAME_PARTS = ("text", "family", "given", "prefix", "suffix")
_ADDRESS_PARTS = ("text", "line", "city", "district", "state", "postalCode", "country")


@dataclass
class Rows:
    """The index rows of one resource, by table; sets, for an element may repeat itself."""

    token: set[tuple[str, str, str]] = field(default_factory=set)  # param, code, system
    string: set[tuple[str, str, str]] = field(default_factory=set)  # param, folded, value
    date: set[tuple[str, datetime, datetime]] = field(default_factory=set)  # param, low, high
    reference: set[tuple[str, str, str, str]] = field(default_factory=set)  # param, type, id, base
    uri: set[tuple[str, str]] = field(default_factory=set)  # param, value
    quantity: set[tuple[str, Decimal, Decimal, str, str, str]] = field(default_factory=set)
    composite: list[Json] = field(default_factory=list)  # param, and the columns of each part by its slot

    def values(self) -> dict[str, Any]:
        """The rows as the arrays that the statements unnest."""
        columns: dict[str, Any] = {}
        for table, names in _COLUMNS.items():
            rows = list(getattr(self, table))
            for place, name in enumerate(names):
                columns[f"{table}_{name}"] = [row[place] for row in rows]
        columns["composites"] = orjson.dumps(self.composite, default=str).decode()
        return columns


def with_index(queries: dict[str, Statement]) -> dict[str, Statement]:
    """The statements with what several of them say of the index put where they say it."""
    parts = {"[index]": queries["index_rows"].text, "[no_index]": queries["no_index"].text}
    for name, statement in queries.items():
        text = statement.text
        for mark, part in parts.items():
            text = text.replace(mark, part)
        queries[name] = Statement(name, text)
    return queries


_COLUMNS = {
    "token": ("param", "code", "system"),
    "string": ("param", "folded", "value"),
    "date": ("param", "low", "high"),
    "reference": ("param", "type", "id", "base"),
    "uri": ("param", "value"),
    "quantity": ("param", "low", "high", "system", "code", "unit"),
}


# A composite's row has the columns of each kind of index; each part writes those of its slot, the first of all in "f".
SLOTS = {
    Kind.TOKEN: "t",
    Kind.STRING: "s",
    Kind.DATE: "d",
    Kind.QUANTITY: "q",
    Kind.REFERENCE: "r",
}
MOST_PAIRS = 100  # of one composite in one resource


def slots(param: Param) -> tuple[str, ...]:
    """Where the parts of a composite lie in its row."""
    first, *others = param.parts
    return ("f" if first.kind is Kind.TOKEN else SLOTS[first.kind], *(SLOTS[part.kind] for part in others))


def rows_of(resource: Json, type: ResourceType) -> Rows:
    """Everything that searches find this resource by."""
    rows = Rows()
    for param in type.params.values():
        for element in param.path.find(resource):
            _indexer(param)(rows, param, element)
    if type.name == "Patient":
        _deceased(rows, resource)
    return rows


def rows_by(resource: Json, param: Param) -> Rows:
    """What searches by this one parameter find the resource by."""
    rows = Rows()
    for element in param.path.find(resource):
        _indexer(param)(rows, param, element)
    if param.key == "Patient.deceased":
        _deceased(rows, resource)
    return rows


def happened(resource: Json, type: ResourceType) -> datetime | None:
    """The first moment of the type's own date, to sort by."""
    return min((found.low for found in _own_spans(resource, type)), default=None)


def happened_end(resource: Json, type: ResourceType) -> datetime | None:
    """The first moment after the type's own date: with `happened`, what a search by it asks."""
    return max((found.high for found in _own_spans(resource, type)), default=None)


def _own_spans(resource: Json, type: ResourceType) -> Iterator[Span]:
    for each in type.happened.find(resource) if type.happened is not None else ():
        yield from spans(each)


def spans(element: Any) -> Iterator[Span]:
    """The times of a date, dateTime, instant, Period or Timing; what cannot be read has none."""
    if isinstance(element, str):
        try:
            yield span(element)
        except ValueError:
            return
    elif isinstance(element, dict):
        if "start" in element or "end" in element:
            yield from _period(element)
        for event in element.get("event", ()):
            yield from spans(event)
        bounds = element.get("repeat")
        if isinstance(bounds, dict) and "boundsPeriod" in bounds:
            yield from spans(bounds["boundsPeriod"])


def cut(text: str) -> str:
    """A text as the index holds it."""
    return text[:LONGEST]


def _period(element: Json) -> Iterator[Span]:
    start, end = element.get("start"), element.get("end")
    try:
        low = span(start).low if isinstance(start, str) else EARLIEST
        high = span(end).high if isinstance(end, str) else LATEST
    except ValueError:
        return
    yield Span(low, high)


def _token(rows: Rows, param: Param, element: Any) -> None:
    if isinstance(element, bool):
        rows.token.add((param.key, str(element).lower(), ""))
    elif isinstance(element, str):
        rows.token.add((param.key, cut(element), param.system))
    elif isinstance(element, dict):
        if "coding" in element or "text" in element:
            _concept(rows, param, element)
        elif "value" in element:
            _identifier(rows, param, element)
        else:
            _coding(rows, param, element)


def _concept(rows: Rows, param: Param, element: Json) -> None:
    for coding in element.get("coding", ()):
        _coding(rows, param, coding)
    _described(rows, param, element.get("text"))


def _coding(rows: Rows, param: Param, coding: Any) -> None:
    if not isinstance(coding, dict):
        return
    code, system = coding.get("code"), coding.get("system")
    if isinstance(code, str) or isinstance(system, str):
        rows.token.add((param.key, cut(code or ""), cut(system or "")))
    _described(rows, param, coding.get("display"))


def _identifier(rows: Rows, param: Param, element: Json) -> None:
    """An Identifier, or a ContactPoint (whose `system` is no code system)."""
    value = element.get("value")
    if not isinstance(value, str):
        return
    is_contact = element.get("system") in ("phone", "fax", "email", "pager", "url", "sms", "other")
    system = "" if is_contact else element.get("system") or ""
    rows.token.add((param.key, cut(value), cut(system)))
    type = element.get("type")
    if not isinstance(type, dict):
        return
    _described(rows, param, type.get("text"))
    for coding in type.get("coding", ()):
        if isinstance(coding, dict) and isinstance(coding.get("code"), str):
            key = f"{param.key}:of-type"
            rows.token.add((key, cut(f"{coding['code']}|{value}"), cut(coding.get("system") or "")))


def _described(rows: Rows, param: Param, text: Any) -> None:
    """What `:text` looks at."""
    if isinstance(text, str):
        rows.string.add((f"{param.key}:text", cut(fold(text)), cut(text)))


def _string(rows: Rows, param: Param, element: Any) -> None:
    for text in _texts(element):
        rows.string.add((param.key, cut(fold(text)), cut(text)))


def _texts(element: Any) -> Iterator[str]:
    if isinstance(element, str):
        yield element
    elif isinstance(element, dict):
        for part in (*_NAME_PARTS, *_ADDRESS_PARTS[1:]):
            found = element.get(part, ())
            for text in [found] if isinstance(found, str) else found:
                if isinstance(text, str):
                    yield text


def _date(rows: Rows, param: Param, element: Any) -> None:
    for found in spans(element):
        rows.date.add((param.key, found.low, found.high))


def _reference(rows: Rows, param: Param, element: Any) -> None:
    text = element if isinstance(element, str) else None
    if isinstance(element, dict):
        text = element.get("reference", element.get("url"))
        if isinstance(identifier := element.get("identifier"), dict):
            _reference_identifier(rows, param, identifier)
    for each in _with_and_without_version(text) if isinstance(text, str) else ():
        if not each.startswith("#"):
            to = target(each) or Target("", each)
            rows.reference.add((param.key, to.type, cut(to.id), cut(to.base)))


def _with_and_without_version(canonical: str) -> list[str]:
    """R4, 3.1.1.4.12: a canonical is found without its version too."""
    address, bar, _ = canonical.partition("|")
    return [canonical, address] if bar else [canonical]


def _reference_identifier(rows: Rows, param: Param, identifier: Json) -> None:
    """What `:identifier` looks at."""
    value, system = identifier.get("value"), identifier.get("system")
    if isinstance(value, str):
        rows.token.add((f"{param.key}:identifier", cut(value), cut(system or "")))


def _uri(rows: Rows, param: Param, element: Any) -> None:
    if isinstance(element, str):
        profile = param.name == "_profile"
        for each in _with_and_without_version(element) if profile else [element]:
            rows.uri.add((param.key, cut(each)))


def _quantity(rows: Rows, param: Param, element: Any) -> None:
    if isinstance(element, dict) and (value := _number(element.get("value"))) is not None:
        below = element.get("comparator") in ("<", "<=")
        above = element.get("comparator") in (">", ">=")
        texts = (element.get(name) or "" for name in ("system", "code", "unit"))
        system, code, unit = (cut(text) for text in texts)
        low, high = (-_LARGEST if below else value), (_LARGEST if above else value)
        rows.quantity.add((param.key, low, high, system, code, unit))
    elif (value := _number(element)) is not None:
        rows.quantity.add((param.key, value, value, "", "", ""))


def _phonetic(rows: Rows, param: Param, element: Any) -> None:
    """Words by how they sound (R4 leaves the way to the server: Soundex)."""
    for text in _texts(element):
        for word in fold(text).split():
            if code := soundex(word):
                rows.string.add((param.key, code, code))


def _composite(rows: Rows, param: Param, element: Any) -> None:
    """A row for each pair of values that stand in the same element."""
    found: list[list[Json]] = []
    for part, slot in zip(param.parts, slots(param), strict=True):
        own = Rows()
        for value in part.path.find(element):
            _INDEXERS[part.kind](own, Param(param.type, param.name, part.kind, part.path), value)
        names = _COLUMNS[part.kind][1:]
        kept = (row for row in getattr(own, part.kind) if row[0] == param.key)
        found.append([{f"{slot}_{n}": v for n, v in zip(names, row[1:], strict=True)} for row in kept])
    for values in itertools.islice(itertools.product(*found), MOST_PAIRS):
        joined: Json = {"param": param.key}
        for one in values:
            joined |= one
        rows.composite.append(joined)


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = Decimal(value.text if isinstance(value, Number) else str(value))
    except InvalidOperation:
        return None
    return number if abs(number) < _LARGEST and number.as_tuple().exponent > -100 else None  # type: ignore[operator]


def _deceased(rows: Rows, resource: Json) -> None:
    """R4 Patient.deceased: true for a date, and false where nothing is said."""
    rows.token = {row for row in rows.token if row[0] != "Patient.deceased"}
    dead = "deceasedDateTime" in resource or resource.get("deceasedBoolean") is True
    rows.token.add(("Patient.deceased", str(dead).lower(), ""))


def _indexer(param: Param) -> Callable[[Rows, Param, Any], None]:
    return _phonetic if param.name == "phonetic" else _INDEXERS[param.kind]


_INDEXERS: dict[Kind, Callable[[Rows, Param, Any], None]] = {
    Kind.TOKEN: _token,
    Kind.STRING: _string,
    Kind.DATE: _date,
    Kind.REFERENCE: _reference,
    Kind.URI: _uri,
    Kind.QUANTITY: _quantity,
    Kind.NUMBER: _quantity,
    Kind.COMPOSITE: _composite,
}
