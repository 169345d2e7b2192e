"""The order of a search, and where a page of it begins: the statement of a page for the keys it is sorted by.

FHIR R4, 3.1.1.5.1 (`_sort`). Names come from this file and the registry; of a request there are values only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from server.core.errors import InvalidInput, UnknownParameter
from server.storage.sql import Statement
from server.storage.where import TRUE, Where, all_of, any_of

from .registry import Kind, Param, ResourceType
from .store import QUERIES

MOST_SORTS = 5


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
    join = (
        f"LEFT JOIN LATERAL (SELECT {first}(row.{column}{collate}) AS value FROM {table} AS row"  # noqa: S608
        f" WHERE row.key = resource.key AND row.param = '{param.key}') AS sort{place} ON true"
    )
    return Sort(f"sort{place}.value", join, descending)


@lru_cache(maxsize=256)
def ordered(sorts: tuple[Sort, ...], rows: str | None = None) -> tuple[Sort, ...]:
    """What is asked for, down to the key, which no two share; without `_sort` the newest come first.

    Where `rows` lead to all that can be found (those that meet `{lead}`), their keys are put in order before anything
    is asked of the resources, so that the walk ends with the page.
    """
    if rows is None or sorts:
        descending = sorts[-1].descending if sorts else True
        return (*sorts, Sort("resource.key", descending=descending, nullable=False))
    join = (
        f"JOIN (SELECT DISTINCT row.key FROM {rows} WHERE {{lead}} ORDER BY row.key DESC) AS lead"  # noqa: S608
        " ON lead.key = resource.key"
    )
    return (Sort("lead.key", join, descending=True, nullable=False),)


@lru_cache(maxsize=256)
def page_statement(sorts: tuple[Sort, ...], name: str = "page") -> Statement:
    """The page's statement with its joins and order."""
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
def counted_statement(sorts: tuple[Sort, ...], most: int) -> Statement:
    """The page's statement, which shows the first of what it finds and tells how much that is, up to `most`: a number
    in the text, so that the plan knows it."""
    statement = page_statement(sorts, "first_page")
    return Statement(statement.name, statement.text.replace("[most]", str(most)))


def beyond(sorts: Sequence[Sort], position: tuple[Any, ...]) -> Where:
    """Rows that come after this position in the order (keyset)."""
    if len(position) != len(sorts):
        raise InvalidInput("The paging link does not fit the search.")
    ways, equal = [], TRUE
    for place, (one, value) in enumerate(zip(sorts, position, strict=True)):
        later = _later(one, value, place)
        if later is not None:
            ways.append(all_of(equal, later))
        same = Where(f"{one.expression} IS NOT DISTINCT FROM :at{place}", {f"at{place}": value})
        if value is None:
            same = Where(f"{one.expression} IS NULL")
        equal = all_of(equal, same)
    return any_of(*ways)


def _later(sort: Sort, value: Any, place: int) -> Where | None:
    if value is None:
        return None  # nulls are last: nothing comes after them by this key
    sign = "<" if sort.descending else ">"
    later = Where(f"{sort.expression} {sign} :at{place}", {f"at{place}": value})
    return later | Where(f"{sort.expression} IS NULL") if sort.nullable else later
