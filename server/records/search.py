"""Search: one statement for a page, with every condition and the caller's reach in it.

FHIR R4, 3.1.1. Pages are cut by the values of the last row (keyset), so that what is added or removed meanwhile
neither repeats nor hides anything; without `_sort` they go by the immutable key, newest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple

from server.access.reach import Reach
from server.core.errors import InvalidInput, UnknownParameter
from server.storage.db import Database, Record, planned_by_value
from server.storage.sql import Statement
from server.storage.where import FALSE, TRUE, Where, all_of, any_of

from .conditions import Chain, Condition, Criterion, Group, Has, Negated
from .criteria import WORDS
from .registry import Kind, Param, ResourceType
from .search_references import Searching, patients_named, trees_passed
from .search_sql import date_elements, dates_at_once, is_happened, where
from .store import QUERIES

MOST_SORTS = 5
COUNTED = 100  # totals are exact up to here; beyond, only when they are asked for


@dataclass(frozen=True)
class Sort:
    """One key to sort by."""

    expression: str  # SQL over `resource` or over a lateral join
    join: str = ""
    descending: bool = False
    nullable: bool = True

    @property
    def order(self) -> str:
        nulls = " NULLS LAST" if self.nullable else ""
        return f"{self.expression} {'DESC' if self.descending else 'ASC'}{nulls}"


@dataclass(frozen=True)
class Query:
    """What is looked for among the resources of one type."""

    type: ResourceType
    conditions: tuple[Condition, ...] = ()
    sorts: tuple[Sort, ...] = ()
    compartment: str | None = None  # within this patient's

    def patients(self) -> list[str]:
        """The patients it names."""
        return list(self._patients)

    @cached_property
    def _patients(self) -> tuple[str, ...]:
        named = (patient for condition in self.conditions for patient in patients_named(condition))
        return tuple(named) if self.compartment is None else (self.compartment, *named)


class Found(NamedTuple):
    """A resource that a search found, or one that belongs to it; in the order of the columns that are asked for."""

    key: int
    patient_id: str
    type: str
    id: str
    version: int
    last_updated: datetime
    study_uid: str | None
    json: bytes
    position: tuple[Any, ...] = ()  # where the next page begins


class FirstPage(NamedTuple):
    """The beginning of a search."""

    found: list[Found]
    counted: int
    aside: bool  # what was asked beside the search; not asked where nothing was found


def sort(type: ResourceType, names: Sequence[str]) -> tuple[Sort, ...]:
    """Parse `_sort`; raises UnknownParameter. FHIR R4, 3.1.1.5.1."""
    if len(names) > MOST_SORTS:
        raise InvalidInput(f"_sort takes at most {MOST_SORTS} keys.")
    return tuple(
        _sort(type, name.lstrip("-"), name.startswith("-"), place) for place, name in enumerate(names)
    )


def _sort(type: ResourceType, name: str, descending: bool, place: int) -> Sort:
    if name == "_id":
        return Sort("resource.id", descending=descending, nullable=False)
    if name == "_lastUpdated":
        return Sort("resource.last_updated", descending=descending, nullable=False)
    param = type.params.get(name)
    if param is None or param.kind not in _SORTED_BY:
        raise UnknownParameter(f"{type.name} cannot be sorted by this.")
    if type.happened is not None and param.kind is Kind.DATE and param.path == type.happened:
        return Sort("resource.happened", descending=descending)
    return _joined(param, descending, place)


# R4: several values sort by the one that comes first in the order asked for.
_SORTED_BY = {
    Kind.TOKEN: ("index_token", "code"),
    Kind.STRING: ("index_string", "folded"),
    Kind.DATE: ("index_date", "low"),
    Kind.REFERENCE: ("index_reference", "target_id"),
    Kind.URI: ("index_uri", "value"),
    Kind.QUANTITY: ("index_quantity", "low"),
    Kind.NUMBER: ("index_quantity", "low"),
}


def _joined(param: Param, descending: bool, place: int) -> Sort:
    table, column = _SORTED_BY[param.kind]
    collate = ' COLLATE "C"' if param.kind in (Kind.TOKEN, Kind.STRING, Kind.REFERENCE, Kind.URI) else ""
    first = "max" if descending else "min"
    join = (  # names from this file and the registry
        f"LEFT JOIN LATERAL (SELECT {first}(row.{column}{collate}) AS value FROM {table} AS row"  # noqa: S608
        f" WHERE row.key = resource.key AND row.param = '{param.key}') AS sort{place} ON true"
    )
    return Sort(f"sort{place}.value", join, descending)


async def page(
    db: Database,
    query: Query,
    searching: Searching,
    *,
    reach: Reach,
    limit: int,
    after: tuple[Any, ...] | None = None,
) -> list[Found]:
    """Up to `limit` resources, from the beginning or after the position of the last one of the page before."""
    sorts = (*query.sorts, Sort("resource.key", descending=_ends_descending(query.sorts), nullable=False))
    bounded = _is_bounded(query, reach)
    asked = match(query, replace(searching, bounded=bounded))
    if after is not None:
        asked = asked & _after(sorts, after)
    values = {"type": query.type.name, "limit": limit}
    rows = await _rows(db, _page_statement(sorts), values, query, reach, asked)
    return [_found(row, len(sorts)) for row in rows]


async def first_page(
    db: Database,
    query: Query,
    searching: Searching,
    *,
    reach: Reach,
    limit: int,
    counted: int,
    aside: Where = FALSE,
) -> FirstPage:
    """The first resources, how many there are in all (up to `counted`), and what was asked aside: in one walk."""
    sorts = (*query.sorts, Sort("resource.key", descending=_ends_descending(query.sorts), nullable=False))
    asked = match(query, replace(searching, bounded=_is_bounded(query, reach)))
    values = {"type": query.type.name, "shown": limit}
    rows = await _rows(db, _counted(sorts, counted), values, query, reach, asked, aside=aside)
    if not rows:
        return FirstPage([], 0, False)
    return FirstPage([_found(row, len(sorts)) for row in rows], rows[0]["counted"], rows[0]["aside"])


async def count(db: Database, query: Query, searching: Searching, *, reach: Reach, limit: int | None) -> int:
    """How many there are; counted up to `limit` where one is given."""
    bounded = _is_bounded(query, reach)
    values = {"type": query.type.name, "limit": limit}
    asked = match(query, replace(searching, bounded=bounded))
    rows = await _rows(db, QUERIES["count_found"], values, query, reach, asked)
    return int(rows[0][0])


async def types_referred_to(
    db: Database, keys: Sequence[int], params: Sequence[Param], *, base: str
) -> set[str]:
    """The types that these resources refer to by these parameters; nothing of what lies there is shown."""
    values = {"keys": list(keys), "params": [param.key for param in params], "bases": ["", base]}
    return {row["target_type"] for row in await db.fetch_all(QUERIES["types_referred_to"], values)}


async def included(
    db: Database,
    keys: Sequence[int],
    params: Sequence[Param],
    target_type: str,
    *,
    reach: Reach,
    base: str,
    limit: int,
) -> list[Found]:
    """What these resources refer to by these parameters, of one type, within the reach for that type."""
    values = {
        "keys": list(keys),
        "params": [param.key for param in params],
        "type": target_type,
        "bases": ["", base],
        "limit": limit,
    }
    rows = await db.fetch_all(QUERIES["included"], values, reach=reach.resources())
    return [_found(row, 0) for row in rows]


async def including(
    db: Database, found: Sequence[Found], params: Sequence[Param], *, reach: Reach, base: str, limit: int
) -> list[Found]:
    """What refers to these resources by these parameters, of one type, within the reach for that type."""
    values = {
        "types": [one.type for one in found],
        "ids": [one.id for one in found],
        "params": [param.key for param in params],
        "type": params[0].type,
        "bases": ["", base],
        "limit": limit,
    }
    rows = await db.fetch_all(QUERIES["including"], values, reach=reach.resources())
    return [_found(row, 0) for row in rows]


def types_passed(conditions: Sequence[Condition]) -> set[str]:
    """The types that chains and `_has` look into: each needs a scope of its own."""
    passed: set[str] = set()
    for condition in conditions:
        if isinstance(condition, Chain):
            for type, inner in condition.targets:
                passed |= {type} | types_passed([inner])
        elif isinstance(condition, Has):
            passed |= {condition.param.type} | types_passed([condition.inner])
        elif isinstance(condition, Group):
            passed |= types_passed(condition.conditions)
        elif isinstance(condition, Negated):
            passed |= types_passed([condition.inner])
        else:
            passed.update(trees_passed(condition))
    return passed


def match(query: Query, searching: Searching) -> Where:
    """Every condition; those on the same date of which there is one are asked together."""
    together: dict[str, list[Criterion]] = {}
    conditions = []
    for condition in query.conditions:
        if isinstance(condition, Criterion) and not condition.modifier and _comes_once(condition.param):
            together.setdefault(condition.param.name, []).append(condition)
        else:
            conditions.append(where(condition, searching))
    conditions += [dates_at_once(each, searching) for each in together.values()]
    if query.compartment is not None:
        conditions.append(Where("resource.patient_id = :compartment", {"compartment": query.compartment}))
    return all_of(*conditions)


@cache
def _comes_once(param: Param) -> bool:
    """Whether it is a date element that does not repeat (nor a Timing, which repeats by itself)."""
    found = date_elements(param)
    return bool(found) and not any(element.many or element.type == "Timing" for element in found)


def _is_bounded(query: Query, reach: Reach) -> bool:
    """Whether one patient's rows are all that can be found."""
    if query.compartment is not None or reach.root is not None:
        return True
    if any(isinstance(c, Criterion) and patients_named(c) for c in query.conditions):
        return True
    if any(isinstance(c, Criterion) and c.param.name == "_id" and not c.modifier for c in query.conditions):
        return True
    return bool(reach.lanes) and all(lane.patient is not None for lane in reach.lanes)


async def _rows(
    db: Database,
    statement: Statement,
    values: dict[str, Any],
    query: Query,
    reach: Reach,
    asked: Where,
    **parts: Where,
) -> list[Record]:
    """The rows. A plan is made once, and again each time only for what may be in many rows or in few (a modality):
    there the best way depends on the value."""
    within = reach.resources()
    sharp = not query.conditions or _is_bounded(query, reach) or any(map(_is_sharp, query.conditions))
    if sharp:
        return await db.fetch_all(statement, values, match=asked, reach=within, **parts)
    text, args = statement.bind(values, match=asked, reach=within, **parts)
    with planned_by_value():
        async with db.raw() as connection:
            prepared = await connection.prepare(text)
            rows: list[Record] = await prepared.fetch(*args)
            return rows


_BLUNT = frozenset(
    {"not", "missing", "text", "contains", "in", "not-in", "above", "below", "unequal", "ends"}
)
_NAMES_OF_ONE = frozenset({"_id", "identifier", "instance", "series", "email", "phone", "telecom"})


def _is_sharp(condition: Condition) -> bool:
    """Whether few rows can meet it, whatever the value (names, identifiers, references), or the order that is walked
    anyway finds them (when it was written, when it happened)."""
    if isinstance(condition, Chain):
        return all(_is_sharp(inner) for _, inner in condition.targets)
    if isinstance(condition, Has):
        return _is_sharp(condition.inner)
    if isinstance(condition, Group | Negated) or condition.param.name in WORDS:
        return False
    if condition.modifier in _BLUNT:
        return False
    kinds = (Kind.REFERENCE, Kind.STRING, Kind.URI)
    named = condition.param.kind in kinds or condition.param.name in _NAMES_OF_ONE
    return named or condition.param.name == "_lastUpdated" or is_happened(condition.param)


def _ends_descending(sorts: Sequence[Sort]) -> bool:
    return sorts[-1].descending if sorts else True


@lru_cache(maxsize=256)
def _page_statement(sorts: tuple[Sort, ...], name: str = "page") -> Statement:
    """The page's statement with its joins and order: names from the registry, nothing from the request."""
    joins = " ".join(dict.fromkeys(sort.join for sort in sorts if sort.join))
    columns = "".join(f", {sort.expression} AS position{place}" for place, sort in enumerate(sorts))
    text = QUERIES[name].text
    for place, part in (
        ("columns", columns),
        ("joins", joins),
        ("order", ", ".join(s.order for s in sorts)),
        ("positions", "".join(f", found.position{place}" for place in range(len(sorts)))),
    ):
        text = text.replace(f"[{place}]", part)
    return Statement(name, text)


@lru_cache(maxsize=256)
def _counted(sorts: tuple[Sort, ...], most: int) -> Statement:
    """The page's statement, which shows the first of what it finds and tells how much that is, up to `most`: a number
    in the text, so that the plan knows it."""
    statement = _page_statement(sorts, "first_page")
    return Statement(statement.name, statement.text.replace("[most]", str(most)))


def _after(sorts: Sequence[Sort], position: tuple[Any, ...]) -> Where:
    """Rows that come after this position in the order (keyset)."""
    if len(position) != len(sorts):
        raise InvalidInput("The paging link does not fit the search.")
    ways, equal = [], TRUE
    for place, (one, value) in enumerate(zip(sorts, position, strict=True)):
        beyond = _beyond(one, value, place)
        if beyond is not None:
            ways.append(all_of(equal, beyond))
        same = Where(f"{one.expression} IS NOT DISTINCT FROM :at{place}", {f"at{place}": value})
        if value is None:
            same = Where(f"{one.expression} IS NULL")
        equal = all_of(equal, same)
    return any_of(*ways)


def _beyond(sort: Sort, value: Any, place: int) -> Where | None:
    if value is None:
        return None  # nulls are last: nothing comes after them by this key
    sign = "<" if sort.descending else ">"
    beyond = Where(f"{sort.expression} {sign} :at{place}", {f"at{place}": value})
    return beyond | Where(f"{sort.expression} IS NULL") if sort.nullable else beyond


def _found(row: Record, sorts: int) -> Found:
    """A row: the columns, then those that it is sorted by."""
    return Found._make((*row[:_COLUMNS], row[_COLUMNS : _COLUMNS + sorts]))


_COLUMNS = len(Found._fields) - 1  # less its position
