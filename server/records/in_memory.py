"""Search conditions asked of one resource in memory, by the rows that the index would have of it.

FHIR R4, 3.1.1.4. For what is rendered when it is read and lies in no index: AuditEvents. It says the same as
`search_sql.py` and its rows do; both read values by the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from server.core.errors import InvalidInput

from . import terminology
from .conditions import Condition, Criterion, Group, Negated
from .criteria import levels
from .document import Json
from .fold import fold
from .index import Rows, cut, rows_by, spans
from .references import target
from .registry import Kind, Param
from .search_ranges import about
from .search_values import Dated, dated, halves, split, unescaped

Coded = tuple[str, str]  # code, system
Row = TypeVar("Row")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Seen:
    """A resource as conditions look at it."""

    resource: Json
    base: str  # address of this server's FHIR API

    kept: dict[str, Rows] = field(default_factory=dict)
    values: dict[Hashable, Any] = field(default_factory=dict)  # as read: one for all resources of a search

    def rows(self, param: Param) -> Rows:
        """What the index would have of it by one parameter."""
        found = self.kept.get(param.key)
        if found is None:
            found = self.kept[param.key] = rows_by(self.resource, param)
        return found

    def read(self, what: Callable[[str], Read], value: str) -> Read:
        """A value of a condition as this function reads it, once for all resources."""
        key = (what, value)
        if key not in self.values:
            self.values[key] = what(value)
        found: Read = self.values[key]
        return found

    def tokens(self, param: Param, suffix: str = "") -> list[Coded]:
        key = param.key + suffix
        return [(code, system) for name, code, system in self.rows(param).token if name == key]

    def strings(self, param: Param, suffix: str = "") -> list[tuple[str, str]]:
        key = param.key + suffix
        return [(folded, value) for name, folded, value in self.rows(param).string if name == key]


def met(condition: Condition, seen: Seen) -> bool:
    """Whether the resource meets it. Chains must have been followed before; raises InvalidInput for one."""
    match condition:
        case Criterion():
            return _criterion(condition, seen)
        case Group():
            parts = (met(each, seen) for each in condition.conditions)
            return any(parts) if condition.any else all(parts)
        case Negated():
            return not met(condition.inner, seen)
    raise InvalidInput("This cannot be searched through a reference.")


def _criterion(criterion: Criterion, seen: Seen) -> bool:
    if criterion.param.name == "_id":
        named = str(seen.resource.get("id")) in (seen.read(unescaped, each) for each in criterion.values)
        return not named if criterion.modifier == "not" else named
    if criterion.modifier == "missing":
        return _present(criterion.param, seen) == (criterion.values[0] == "false")
    test = _KINDS.get(criterion.param.kind)
    if test is None:
        raise InvalidInput(f"{criterion.param.name} cannot be searched here.")
    return test(criterion, seen)


def _present(param: Param, seen: Seen) -> bool:
    if param.name in ("_id", "_lastUpdated"):
        return True
    rows, keys = seen.rows(param), (param.key, f"{param.key}:identifier", f"{param.key}:text")
    every = (rows.token, rows.string, rows.date, rows.reference, rows.uri)
    return any(row[0] in keys for table in every for row in table)


def _token(criterion: Criterion, seen: Seen) -> bool:
    param, modifier = criterion.param, criterion.modifier
    if modifier == "text":
        return _any(
            criterion,
            seen.strings(param, ":text"),
            lambda value, row: _word(seen.read(_folded, value), row[0]),
        )
    if modifier == "of-type":
        found = seen.tokens(param, ":of-type")
        return _any(criterion, found, lambda value, row: seen.read(_of_type, value) == row)
    found = seen.tokens(param)
    if modifier in ("above", "below"):
        return _any(criterion, found, lambda value, row: _levelled(value, row, criterion, seen))
    if modifier == "unequal":
        return any(not any(_coded(value, row, seen) for value in criterion.values) for row in found)
    test = _member if modifier in ("in", "not-in") else _coded
    met = _any(criterion, found, lambda value, row: test(value, row, seen))
    return met != (modifier in ("not", "not-in"))


def _any(criterion: Criterion, rows: list[Row], test: Callable[[str, Row], bool]) -> bool:
    return any(test(value, row) for row in rows for value in criterion.values)


def _coded(value: str, row: Coded, seen: Seen) -> bool:
    system, bar, code = seen.read(halves, value)
    if not bar:
        return row[0] == cut(code)
    return row[1] == cut(system) and (not code or row[0] == cut(code))


def _of_type(value: str) -> Coded:
    system, code, identifier = (unescaped(part) for part in split(value, "|"))
    return cut(f"{code}|{identifier}"), cut(system)


def _member(value: str, row: Coded, seen: Seen) -> bool:
    return (row[1], row[0]) in terminology.members(seen.read(unescaped, value))


def _levelled(value: str, row: Coded, criterion: Criterion, seen: Seen) -> bool:
    """The code, or one above or below it."""
    code, system = row
    key = (value, criterion.param.key, criterion.modifier)
    if key not in seen.values:
        seen.values[key] = levels(value, criterion.param, above=criterion.modifier == "above")
    found: list[tuple[str, str]] = seen.values[key]
    if (system, code) in found:
        return True
    signs = terminology.parted(found[0][0]) if criterion.modifier == "below" else ()
    return system == found[0][0] and any(code.startswith(found[0][1] + sign) for sign in signs)


def _folded(value: str) -> str:
    return cut(fold(unescaped(value)))


def _word(text: str, folded: str) -> bool:
    return folded.startswith(text) or f" {text}" in folded


def _string(criterion: Criterion, seen: Seen) -> bool:
    found, modifier = seen.strings(criterion.param), criterion.modifier
    if modifier == "unequal":
        return any(not any(_text(value, row, "equal", seen) for value in criterion.values) for row in found)
    return _any(criterion, found, lambda value, row: _text(value, row, modifier, seen))


def _text(value: str, row: tuple[str, str], modifier: str, seen: Seen) -> bool:
    folded, exact = row
    text = seen.read(_folded, value)
    match modifier:
        case "exact":
            return exact == cut(seen.read(unescaped, value))
        case "contains":
            return text in folded
        case "equal":
            return folded == text
        case "ends":
            return folded.endswith(text)
    return folded.startswith(text)


def _reference(criterion: Criterion, seen: Seen) -> bool:
    param, modifier = criterion.param, criterion.modifier
    if modifier == "identifier":
        found_by = seen.tokens(param, ":identifier")
        return _any(criterion, found_by, lambda value, row: _coded(value, row, seen))
    if modifier in ("above", "below"):
        raise InvalidInput(f"{criterion.param.name} cannot be searched by :{modifier} here.")
    found = [row[1:] for row in seen.rows(param).reference if row[0] == param.key]

    def leads(value: str, row: tuple[str, str, str]) -> bool:
        return _leads_to(seen.read(unescaped, value), row, modifier, seen)

    if modifier == "unequal":
        return any(not any(leads(value, row) for value in criterion.values) for row in found)
    return _any(criterion, found, leads)


def _leads_to(text: str, row: tuple[str, str, str], modifier: str, seen: Seen) -> bool:
    type, id, where = row
    local = ("", seen.base)
    to = seen.read(target, text)
    if to is None:
        fits = "/" in text or ":" in text or modifier in ("", "unequal", type)
        return id == cut(text) and where in local and fits
    bases = local if to.base in local else (cut(to.base),)
    return (type, id) == (to.type, to.id) and where in bases


def _date(criterion: Criterion, seen: Seen) -> bool:
    param = criterion.param
    found = [(low, high) for key, low, high in seen.rows(param).date if key == param.key]
    if param.name == "_lastUpdated":
        found = [(each.low, each.high) for each in spans(seen.resource["meta"]["lastUpdated"])]

    def within(value: str, row: tuple[datetime, datetime]) -> bool:
        date = seen.read(_dated, value)
        return _within(replace(date, prefix="po") if criterion.modifier == "overlaps" else date, *row)

    return _any(criterion, found, within)


def _dated(value: str) -> Dated:
    return dated(value, "date")  # its name is for the refusal of one that cannot be read: that came before


def _within(date: Dated, low: datetime, high: datetime) -> bool:
    """As `search_ranges.date_within` has it."""
    begin, end = date.span.low, date.span.high
    inside = begin <= low and high <= end
    match date.prefix:
        case "ne":
            return not inside
        case "gt":
            return high > end
        case "lt":
            return low < begin
        case "ge":
            return high > end or inside
        case "le":
            return low < begin or inside
        case "sa":
            return low >= end
        case "eb":
            return high <= begin
        case "po":
            return low < end and high > begin
        case "ap":
            near = about(date)
            return low < end + near and high > begin - near
    return inside


def _uri(criterion: Criterion, seen: Seen) -> bool:
    found = [row[1] for row in seen.rows(criterion.param).uri if row[0] == criterion.param.key]
    modifier = criterion.modifier
    if modifier == "unequal":
        return any(
            not any(_address(seen.read(unescaped, value), row, "") for value in criterion.values)
            for row in found
        )
    return _any(criterion, found, lambda value, row: _address(seen.read(unescaped, value), row, modifier))


def _address(value: str, row: str, modifier: str) -> bool:
    text = cut(value)
    if modifier in ("below", "starts"):
        return row.startswith(text)
    if modifier == "above":
        return row == text or any(
            row in (text[:at], text[: at + 1]) for at, sign in enumerate(text) if sign == "/"
        )
    return row == text


_KINDS: dict[Kind, Callable[[Criterion, Seen], bool]] = {
    Kind.TOKEN: _token,
    Kind.STRING: _string,
    Kind.DATE: _date,
    Kind.REFERENCE: _reference,
    Kind.URI: _uri,
}
