"""Search conditions as SQL: each asks whether the resource has a row in the index.

FHIR R4, 3.1.1.4. Column and table names are written here; names of parameters come from the registry; what a
request says is a value, never text of a statement. A chain asks the reach of every resource it passes: without
that, a search would tell what a read refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from server.storage.where import FALSE, TRUE, Where, all_of, any_of

from . import search_rows as rows
from .conditions import Chain, Condition, Criterion, Group, Has, Negated
from .criteria import WORDS, parts_of
from .index import slots
from .registry import Kind, Param, resource_type
from .search_ranges import date_within, last_updated_within, quantity_within
from .search_references import Searching, in_tree, is_owner, leads_to, patients
from .search_values import Dated, dated, measured, unescaped
from .structure import Element, structure
from .text_query import tsquery


def where(condition: Condition, searching: Searching, alias: str = "resource") -> Where:
    """The condition over a row of `resource` under this alias."""
    match condition:
        case Criterion():
            return _criterion(condition, searching, alias)
        case Chain():
            return _chain(condition, searching, alias)
        case Has():
            return _has(condition, searching, alias)
        case Group():
            each = (where(one, searching, alias) for one in condition.conditions)
            return any_of(*each) if condition.any else all_of(*each)
        case Negated():
            return ~where(condition.inner, searching, alias)


def _criterion(criterion: Criterion, searching: Searching, alias: str) -> Where:
    if criterion.modifier == "missing" and criterion.param.name in ("_id", "_lastUpdated"):
        return FALSE if criterion.values[0] == "true" else TRUE  # every resource has them
    if criterion.param.name == "_id":
        return _id(criterion, alias)
    if criterion.param.name == "_lastUpdated":
        return any_of(
            *(last_updated_within(dated(value, "_lastUpdated"), alias) for value in criterion.values)
        )
    if criterion.param.name in WORDS:
        return _words(criterion, alias)
    if criterion.modifier == "missing" and is_happened(criterion.param):
        there = "IS NULL" if criterion.values[0] == "true" else "IS NOT NULL"
        return Where(f"{alias}.happened {there}")
    if criterion.modifier == "missing":
        found = _present(criterion.param, searching, alias)
        return ~found if criterion.values[0] == "true" else found
    return _KINDS[criterion.param.kind](criterion, searching, alias)


def _present(param: Param, searching: Searching, alias: str) -> Where:
    """Whether there is a value: an identifier alone is a reference, words alone are a concept."""
    rows = [(_TABLES[param.kind], param.key)]
    if param.kind is Kind.REFERENCE:
        rows.append(("index_token", f"{param.key}:identifier"))
    elif param.kind is Kind.TOKEN:
        rows.append(("index_string", f"{param.key}:text"))
    return any_of(*(_exists(searching, table, key, TRUE, alias) for table, key in rows))


class Rows(NamedTuple):
    """Rows that lead to resources by their key."""

    table: str  # and its alias, `row`
    match: Where


def rows_met(conditions: Sequence[Chain | Criterion], searching: Searching) -> Rows:
    """The rows that meet a condition on a string or a reference, the end of a chain, a day, or dates of the one element
    that stands beside the resource."""
    first = conditions[0]
    if isinstance(first, Chain):
        [(type, inner)] = first.targets
        return _linked(first.param, type, inner, searching, "resource")
    dates = [each for each in conditions if isinstance(each, Criterion)]
    if first.param.kind is Kind.DATE and not is_happened(first.param):
        return Rows("index_date AS row", _of(first.param.key, _spans(dates)))
    if first.param.kind is Kind.DATE:
        living = Where("row.type = :type AND NOT row.deleted", {"type": first.param.type})
        return Rows("resource AS row", living & dates_at_once(dates, searching, "row"))
    is_string = first.param.kind is Kind.STRING
    match = _strings(dates[0]) if is_string else _references(dates[0], searching)
    return Rows(f"{_TABLES[first.param.kind]} AS row", _of(first.param.key, match))


def _of(key: str, match: Where) -> Where:
    return all_of(Where("row.param = :param", {"param": key}), match)


def _exists(searching: Searching, table: str, key: str, match: Where, alias: str) -> Where:
    """Whether the resource has such a row in this index."""
    both = _of(key, match)
    # OFFSET 0 keeps the planner from turning the question round (who has such a row?) for one patient's few rows.
    each = " OFFSET 0" if searching.bounded else ""
    text = f"EXISTS (SELECT 1 FROM {table} AS row WHERE row.key = {alias}.key AND ({both.sql}){each})"  # noqa: S608
    return Where(text, both.values)


def _id(criterion: Criterion, alias: str) -> Where:
    ids = [unescaped(value) for value in criterion.values]
    found = Where(f"{alias}.id = ANY (:ids::text[])", {"ids": ids})
    return ~found if criterion.modifier == "not" else found


def _words(criterion: Criterion, alias: str) -> Where:
    """FHIR R4, 3.1.1.4.15: `_text` looks at the narrative, `_content` at all that the resource says."""
    column = "narrative" if criterion.param.name == "_text" else "content"
    if criterion.modifier == "missing":
        sign = "=" if criterion.values[0] == "true" else "<>"
        match = Where(f"row.{column} {sign} ''::tsvector")
    else:
        queries = [tsquery(unescaped(value)) for value in criterion.values]
        match = Where(f"row.{column} @@ (:words::text)::tsquery", {"words": " | ".join(queries)})
    return Where(
        f"EXISTS (SELECT 1 FROM index_text AS row WHERE row.key = {alias}.key AND ({match.sql}))",  # noqa: S608
        match.values,
    )


def _token(criterion: Criterion, searching: Searching, alias: str) -> Where:
    param, key, modifier = criterion.param, criterion.param.key, criterion.modifier
    match modifier:
        case "text":
            return _exists(searching, "index_string", f"{key}:text", _any(rows.word, criterion), alias)
        case "of-type":
            return _exists(searching, "index_token", f"{key}:of-type", _any(rows.of_type, criterion), alias)
        case "above" | "below":
            found = any_of(
                *(rows.in_hierarchy(value, param, above=modifier == "above") for value in criterion.values)
            )
        case "in" | "not-in":
            found = _any(rows.in_value_set, criterion)
        case "unequal":
            found = ~_any(rows.coded, criterion)
        case _:
            found = _any(rows.coded, criterion)
    there = _exists(searching, "index_token", key, found, alias)
    return ~there if modifier in ("not", "not-in") else there


def _any(one: Callable[[str], Where], criterion: Criterion) -> Where:
    return any_of(*map(one, criterion.values))


_STRINGS = {"exact": rows.exact, "contains": rows.contains, "equal": rows.equal, "ends": rows.ends}


def _string(criterion: Criterion, searching: Searching, alias: str) -> Where:
    return _exists(searching, "index_string", criterion.param.key, _strings(criterion), alias)


def _strings(criterion: Criterion) -> Where:
    one = (
        rows.phonetic if criterion.param.name == "phonetic" else _STRINGS.get(criterion.modifier, rows.begins)
    )
    return ~_any(rows.equal, criterion) if criterion.modifier == "unequal" else _any(one, criterion)


def _reference(criterion: Criterion, searching: Searching, alias: str) -> Where:
    param, modifier = criterion.param, criterion.modifier
    if modifier == "identifier":
        coded = _any(rows.coded, criterion)
        return _exists(searching, "index_token", f"{param.key}:identifier", coded, alias)
    if modifier in ("above", "below"):
        tree = any_of(*(in_tree(value, criterion, searching) for value in criterion.values))
        return _exists(searching, "index_reference", param.key, tree, alias)
    owned = is_owner(param) and modifier != "unequal"
    if owned and (named := patients(criterion, searching)) is not None:
        return Where(f"{alias}.patient_id = ANY (:patients::text[])", {"patients": named})
    return _exists(searching, "index_reference", param.key, _references(criterion, searching), alias)


def _references(criterion: Criterion, searching: Searching) -> Where:
    found = any_of(*(leads_to(value, criterion, searching) for value in criterion.values))
    return ~found if criterion.modifier == "unequal" else found


def _date(criterion: Criterion, searching: Searching, alias: str) -> Where:
    return dates_at_once([criterion], searching, alias)


def dates_at_once(criteria: Sequence[Criterion], searching: Searching, alias: str = "resource") -> Where:
    """Several conditions on the same date, of which a resource has one: one range of the index instead of two."""
    param, asked = criteria[0].param, _spans(criteria)
    if searching.bounded or not is_happened(param):
        return _exists(searching, "index_date", param.key, asked, alias)
    # The same span stands beside the resource: the planner knows how many there are, and reads them in order.
    columns = {"low": f"{alias}.happened", "high": f"{alias}.happened_end"}
    return Where(re.sub(r"\brow\.(low|high)\b", lambda found: columns[found[1]], asked.sql), asked.values)


def _spans(criteria: Sequence[Criterion]) -> Where:
    """All of these over a row of the index of dates."""
    short = _is_short(criteria[0].param)
    dates = [[_dated(value, one) for value in one.values] for one in criteria]
    return all_of(*(any_of(*(date_within(date, short) for date in alternatives)) for alternatives in dates))


def _dated(value: str, criterion: Criterion) -> Dated:
    found = dated(value, criterion.param.name)
    return replace(found, prefix="po") if criterion.modifier == "overlaps" else found


@cache
def is_happened(param: Param) -> bool:
    """Whether it looks at the date that `resource.happened` holds, of which there is one."""
    found = date_elements(param)
    once = bool(found) and not any(element.many or element.type == "Timing" for element in found)
    return once and resource_type(param.type).happened == param.path


def date_elements(param: Param) -> list[Element]:
    """The elements of its type that a date parameter looks at; none where the path goes deeper."""
    if param.kind is not Kind.DATE or len(param.path.alternatives) != 1:
        return []
    [steps] = param.path.alternatives
    if len(steps) != 1:
        return []
    [step] = steps
    elements = structure(param.type).elements.values()
    return [each for each in elements if each.name == step.name or (step.choice and each.choice == step.name)]


@cache
def _is_short(param: Param) -> bool:
    """Whether its values last a year at most: dates, which may be a year alone, but no Period."""
    found = date_elements(param)
    return bool(found) and all(each.type in ("date", "dateTime", "instant") for each in found)


def _uri(criterion: Criterion, searching: Searching, alias: str) -> Where:
    modifier = criterion.modifier
    found = any_of(*(rows.address(unescaped(value), modifier) for value in criterion.values))
    if modifier == "unequal":
        found = ~found
    return _exists(searching, "index_uri", criterion.param.key, found, alias)


def _composite(criterion: Criterion, searching: Searching, alias: str) -> Where:
    """Rows whose columns, slot by slot, meet each part."""
    found = []
    for value in criterion.values:
        parts = zip(parts_of(value, criterion.param), slots(criterion.param), strict=True)
        found.append(all_of(*(_in_slot(_part(part, searching), slot) for part, slot in parts)))
    return _exists(searching, "index_composite", criterion.param.key, any_of(*found), alias)


def _part(part: Criterion, searching: Searching) -> Where:
    [value] = part.values
    match part.param.kind:
        case Kind.TOKEN:
            return rows.coded(value)
        case Kind.DATE:
            return date_within(dated(value, part.param.name), short=False)
        case Kind.QUANTITY:
            return quantity_within(measured(value, part.param.name))
        case Kind.REFERENCE:
            return leads_to(value, part, searching)
    return rows.begins(value)


def _in_slot(where: Where, slot: str) -> Where:
    """The same condition over the columns of a slot."""
    return Where(re.sub(r"\brow\.", f"row.{slot}_", where.sql), where.values)


def _quantity(criterion: Criterion, searching: Searching, alias: str) -> Where:
    found = any_of(*(quantity_within(measured(value, criterion.param.name)) for value in criterion.values))
    return _exists(searching, "index_quantity", criterion.param.key, found, alias)


def _chain(chain: Chain, searching: Searching, alias: str) -> Where:
    """The reference leads to a resource that the caller may search, and that meets the rest of the chain."""
    return any_of(*(_link(chain.param, type, inner, searching, alias) for type, inner in chain.targets))


def _link(param: Param, type: str, inner: Condition, searching: Searching, alias: str) -> Where:
    linked = _linked(param, type, inner, searching, alias)
    return Where(
        f"EXISTS (SELECT 1 FROM {linked.table} WHERE row.key = {alias}.key AND ({linked.match.sql}))",  # noqa: S608
        linked.match.values,
    )


def _linked(param: Param, type: str, inner: Condition, searching: Searching, alias: str) -> Rows:
    """The references, with what they lead to."""
    other = f"{alias}_to"
    met = all_of(
        Where(
            "row.param = :param AND row.base = ANY (:bases::text[])",
            {"param": param.key, "bases": ["", searching.base]},
        ),
        Where(f"{other}.type = :chained", {"chained": type}),
        where(inner, searching, other),
        searching.may_see(type, other),
    )
    joined = f"{other}.type = row.target_type AND {other}.id = row.target_id AND NOT {other}.deleted"
    return Rows(f"index_reference AS row JOIN resource AS {other} ON {joined}", met)


def _has(has: Has, searching: Searching, alias: str) -> Where:
    """Something that the caller may search refers to it, and meets the rest."""
    other = f"{alias}_of"
    met = all_of(
        Where(
            "row.param = :param AND row.base = ANY (:bases::text[])",
            {"param": has.param.key, "bases": ["", searching.base]},
        ),
        where(has.inner, searching, other),
        searching.may_see(has.param.type, other),
    )
    return Where(
        f"EXISTS (SELECT 1 FROM index_reference AS row JOIN resource AS {other} ON {other}.key = row.key"  # noqa: S608
        f" AND NOT {other}.deleted WHERE row.target_type = {alias}.type AND row.target_id = {alias}.id"
        f" AND ({met.sql}))",
        met.values,
    )


_TABLES = {
    Kind.TOKEN: "index_token",
    Kind.STRING: "index_string",
    Kind.DATE: "index_date",
    Kind.REFERENCE: "index_reference",
    Kind.URI: "index_uri",
    Kind.QUANTITY: "index_quantity",
    Kind.NUMBER: "index_quantity",
    Kind.COMPOSITE: "index_composite",
}
_KINDS = {
    Kind.TOKEN: _token,
    Kind.STRING: _string,
    Kind.DATE: _date,
    Kind.REFERENCE: _reference,
    Kind.URI: _uri,
    Kind.QUANTITY: _quantity,
    Kind.NUMBER: _quantity,
    Kind.COMPOSITE: _composite,
}
