"""Search: one statement for a page, with every condition and the caller's reach in it.

FHIR R4, 3.1.1. Pages are cut by the values of the last row (keyset), so that what is added or removed meanwhile
neither repeats nor hides anything; without `_sort` they go by the immutable key, newest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from server.access.reach import Reach
from server.core.errors import InvalidInput, UnknownParameter
from server.storage.db import Database, Record
from server.storage.sql import Statement
from server.storage.where import TRUE, Where, all_of, any_of

from .criteria import Chain, Condition, Has
from .registry import Kind, Param, ResourceType
from .search_sql import Searching, patients_named, where
from .store import QUERIES

MOST_SORTS = 5
COUNTED = 1000  # totals are exact up to here; beyond, only when they are asked for


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
        named = [patient for condition in self.conditions for patient in patients_named(condition)]
        return [self.compartment, *named] if self.compartment is not None else named


@dataclass(frozen=True)
class Found:
    """A resource that a search found, or one that belongs to it."""

    key: int
    type: str
    id: str
    version: int
    last_updated: datetime
    patient_id: str
    study_uid: str | None
    json: bytes
    position: tuple[Any, ...] = ()  # where the next page begins


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
    match = _match(query, searching)
    if after is not None:
        match = match & _after(sorts, after)
    statement = _page_statement(sorts)
    values = {"type": query.type.name, "limit": limit}
    rows = await db.fetch_all(statement, values, match=match, reach=reach.resources())
    return [_found(row, len(sorts)) for row in rows]


async def count(db: Database, query: Query, searching: Searching, *, reach: Reach, limit: int | None) -> int:
    """How many there are; counted up to `limit` where one is given."""
    values = {"type": query.type.name, "limit": limit}
    match = _match(query, searching)
    return int(await db.fetch_val(QUERIES["count_found"], values, match=match, reach=reach.resources()))


async def included(
    db: Database, keys: Sequence[int], param: Param, target_type: str, *, reach: Reach, base: str, limit: int
) -> list[Found]:
    """What these resources refer to by `param`, of one type, within the reach for that type."""
    values = {
        "keys": list(keys),
        "param": param.key,
        "type": target_type,
        "bases": ["", base],
        "limit": limit,
    }
    rows = await db.fetch_all(QUERIES["included"], values, reach=reach.resources())
    return [_found(row, 0) for row in rows]


async def including(
    db: Database, found: Sequence[Found], param: Param, *, reach: Reach, base: str, limit: int
) -> list[Found]:
    """What refers to these resources by `param`, within the reach for its type."""
    values = {
        "types": [one.type for one in found],
        "ids": [one.id for one in found],
        "param": param.key,
        "type": param.type,
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
    return passed


def _match(query: Query, searching: Searching) -> Where:
    conditions = [where(condition, searching) for condition in query.conditions]
    if query.compartment is not None:
        conditions.append(Where("resource.patient_id = :compartment", {"compartment": query.compartment}))
    return all_of(*conditions)


def _ends_descending(sorts: Sequence[Sort]) -> bool:
    return sorts[-1].descending if sorts else True


def _page_statement(sorts: Sequence[Sort]) -> Statement:
    """The page's statement with its joins and order: names from the registry, nothing from the request."""
    joins = " ".join(dict.fromkeys(sort.join for sort in sorts if sort.join))
    columns = "".join(f", {sort.expression} AS position{place}" for place, sort in enumerate(sorts))
    text = QUERIES["page"].text
    for name, part in (("columns", columns), ("joins", joins), ("order", ", ".join(s.order for s in sorts))):
        text = text.replace(f"[{name}]", part)
    return Statement("page", text)


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
    return Found(
        row["key"],
        row["type"],
        row["id"],
        row["version"],
        row["last_updated"],
        row["patient_id"],
        row["study_uid"],
        row["json"],
        tuple(row[f"position{place}"] for place in range(sorts)),
    )
