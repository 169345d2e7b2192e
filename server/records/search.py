"""Search: one statement for a page, with every condition and the caller's reach in it.

FHIR R4, 3.1.1. Pages are cut by the values of the last row (keyset), so that what is added or removed meanwhile
neither repeats nor hides anything; without `_sort` they go by the immutable key, newest first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, cached_property
from typing import Any, NamedTuple

from server.access.reach import Ground, Reach
from server.storage.db import Database, Record, planned_by_value
from server.storage.sql import Statement
from server.storage.where import FALSE, Where, all_of

from .conditions import Chain, Condition, Criterion, Group, Has, Negated
from .registry import Param, ResourceType
from .search_order import Sort, beyond, counted_statement, ordered, page_statement
from .search_plan import is_sharp, leading
from .search_references import Searching, patients_named, trees_passed
from .search_sql import date_elements, dates_at_once, rows_met, where
from .store import QUERIES

COUNTED = 100  # totals are exact up to here; beyond, only when they are asked for


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
    walk = _walk(query, searching, reach)
    if after is not None:
        walk.parts["match"] &= beyond(walk.sorts, after)
    values = {"type": query.type.name, "limit": limit}
    rows = await _rows(db, page_statement(walk.sorts), values, query, reach, walk.parts)
    return [_found(row, len(walk.sorts)) for row in rows]


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
    walk = _walk(query, searching, reach)
    values = {"type": query.type.name, "shown": limit}
    statement = counted_statement(walk.sorts, counted)
    rows = await _rows(db, statement, values, query, reach, {**walk.parts, "aside": aside})
    if not rows:
        return FirstPage([], 0, False)
    return FirstPage([_found(row, len(walk.sorts)) for row in rows], rows[0]["counted"], rows[0]["aside"])


async def count(db: Database, query: Query, searching: Searching, *, reach: Reach, limit: int | None) -> int:
    """How many there are; counted up to `limit` where one is given."""
    values = {"type": query.type.name, "limit": limit}
    asked = _asked(query, searching, reach, _led(query, reach))
    rows = await _rows(db, QUERIES["count_found"], values, query, reach, {"match": asked})
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


class _Walk(NamedTuple):
    """How a search is gone through."""

    sorts: tuple[Sort, ...]
    parts: dict[str, Where]  # what is asked of each resource, and of the rows of an index that lead to it


def _walk(query: Query, searching: Searching, reach: Reach) -> _Walk:
    """In the order asked for; newest first, what leads to all that can be found is put in order before the rest of
    the conditions and the reach are asked, of each by itself, until there are enough."""
    led = _led(query, reach)
    if not led or query.sorts or not _is_wide(reach):
        return _Walk(ordered(query.sorts), {"match": _asked(query, searching, reach, led)})
    lead, others = rows_met(led, searching), _without(query, led)
    return _Walk(
        ordered((), lead.table),
        {"match": match(others, replace(searching, bounded=True)), "lead": lead.match},
    )


def _asked(query: Query, searching: Searching, reach: Reach, led: Sequence[Condition]) -> Where:
    """Every condition: what leads, and of each resource that this leads to, the others."""
    if not led:
        return match(query, replace(searching, bounded=_is_bounded(query, reach)))
    leads, others = replace(query, conditions=tuple(led)), _without(query, led)
    return match(leads, searching) & match(others, replace(searching, bounded=True))


def _led(query: Query, reach: Reach) -> list[Chain | Criterion]:
    return [] if _is_bounded(query, reach) else leading(query.conditions)


def _without(query: Query, led: Sequence[Condition]) -> Query:
    return replace(query, conditions=tuple(each for each in query.conditions if each not in led))


def _is_wide(reach: Reach) -> bool:
    """Whether it may hold a great part of all patients; a person's few are what a plan begins with."""
    return any(lane.ground not in _A_PERSON_S for lane in reach.lanes)


_A_PERSON_S = frozenset({Ground.OWN, Ground.SHARE, Ground.LINK, Ground.EMERGENCY})


async def _rows(
    db: Database,
    statement: Statement,
    values: dict[str, Any],
    query: Query,
    reach: Reach,
    parts: Mapping[str, Where],
) -> list[Record]:
    """The rows. A plan is made once, and again each time only for what may be in many rows or in few (a modality):
    there the best way depends on the value."""
    within = reach.resources()
    sharp = not query.conditions or _is_bounded(query, reach) or any(map(is_sharp, query.conditions))
    if sharp:
        return await db.fetch_all(statement, values, reach=within, **parts)
    text, args = statement.bind(values, reach=within, **parts)
    with planned_by_value():
        async with db.raw() as connection:
            prepared = await connection.prepare(text)
            rows: list[Record] = await prepared.fetch(*args)
            return rows


def _found(row: Record, sorts: int) -> Found:
    """A row: the columns, then those that it is sorted by."""
    return Found._make((*row[:_COLUMNS], row[_COLUMNS : _COLUMNS + sorts]))


_COLUMNS = len(Found._fields) - 1  # less its position
