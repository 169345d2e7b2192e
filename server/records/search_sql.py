"""Search conditions as SQL: each asks whether the resource has a row in the index.

FHIR R4, 3.1.1.4. Column and table names are written here; names of parameters come from the registry; what a
request says is a value, never text of a statement. A chain asks the reach of every resource it passes: without
that, a search would tell what a read refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from server.storage.where import FALSE, TRUE, Where, all_of, any_of

from .criteria import Chain, Condition, Criterion, Has, dated, measured, parts_of, split, unescaped
from .fold import fold, soundex
from .index import cut, slots
from .references import target
from .registry import Kind, Param, resource_type
from .search_ranges import date_within, last_updated_within, quantity_within
from .structure import Element, structure

# Sorts after every text that begins alike: `~<~` compares bytes, and this is the last character there is.
_LAST = "\U0010ffff"


@dataclass(frozen=True)
class Searching:
    """What the conditions need to know besides the query."""

    base: str  # address of this server's FHIR API
    reaches: Mapping[str, Any] = field(default_factory=dict)  # type -> Reach, for chains and _has
    bounded: bool = False  # few rows are looked at, one patient's: each is asked, no index is read by value

    def may_see(self, type: str, alias: str) -> Where:
        """What the caller may search of a type that a chain passes; nothing unless somebody asked the gate."""
        reach = self.reaches.get(type)
        where: Where = reach.resources(alias) if reach is not None else FALSE
        return where


def where(condition: Condition, searching: Searching, alias: str = "resource") -> Where:
    """The condition over a row of `resource` under this alias."""
    match condition:
        case Criterion():
            return _criterion(condition, searching, alias)
        case Chain():
            return _chain(condition, searching, alias)
        case Has():
            return _has(condition, searching, alias)


def _criterion(criterion: Criterion, searching: Searching, alias: str) -> Where:
    if criterion.modifier == "missing" and criterion.param.name in ("_id", "_lastUpdated"):
        return FALSE if criterion.values[0] == "true" else TRUE  # every resource has them
    if criterion.param.name == "_id":
        return _id(criterion, alias)
    if criterion.param.name == "_lastUpdated":
        return any_of(
            *(last_updated_within(dated(value, "_lastUpdated"), alias) for value in criterion.values)
        )
    if criterion.modifier == "missing" and _is_happened(criterion.param):
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


def _exists(searching: Searching, table: str, key: str, match: Where, alias: str) -> Where:
    """Whether the resource has such a row in this index."""
    both = all_of(Where("row.param = :param", {"param": key}), match)
    # OFFSET 0 keeps the planner from turning the question round (who has such a row?) for one patient's few rows.
    each = " OFFSET 0" if searching.bounded else ""
    text = f"EXISTS (SELECT 1 FROM {table} AS row WHERE row.key = {alias}.key AND {both.sql}{each})"  # noqa: S608
    return Where(text, both.values)


def _id(criterion: Criterion, alias: str) -> Where:
    ids = [unescaped(value) for value in criterion.values]
    found = Where(f"{alias}.id = ANY (:ids::text[])", {"ids": ids})
    return ~found if criterion.modifier == "not" else found


def _token(criterion: Criterion, searching: Searching, alias: str) -> Where:
    key = criterion.param.key
    if criterion.modifier == "text":
        return _exists(searching, "index_string", f"{key}:text", any_of(*map(_word, criterion.values)), alias)
    if criterion.modifier == "of-type":
        of_type = any_of(*map(_of_type, criterion.values))
        return _exists(searching, "index_token", f"{key}:of-type", of_type, alias)
    found = _exists(searching, "index_token", key, any_of(*map(_coded, criterion.values)), alias)
    return ~found if criterion.modifier == "not" else found


def _coded(value: str) -> Where:
    """`code`, `system|code`, `|code` (no system) or `system|` (any code)."""
    system, bar, code = _halves(value)
    if not bar:
        return Where("row.code = :code", {"code": cut(code)})
    if not code:
        return Where("row.system = :system", {"system": cut(system)})
    return Where("row.code = :code AND row.system = :system", {"code": cut(code), "system": cut(system)})


def _halves(value: str) -> tuple[str, str, str]:
    parts = list(split(value, "|"))
    if len(parts) == 1:
        return "", "", unescaped(parts[0])
    return unescaped(parts[0]), "|", unescaped("|".join(parts[1:]))


def _of_type(value: str) -> Where:
    system, code, identifier = (unescaped(part) for part in split(value, "|"))
    return Where(
        "row.system = :system AND row.code = :code",
        {"system": cut(system), "code": cut(f"{code}|{identifier}")},
    )


def _word(value: str) -> Where:
    """The text begins with it, or a word in it does."""
    within = _like(cut(fold(unescaped(value))))
    return _begins(value) | Where("row.folded LIKE :within", {"within": f"% {within}%"})


def _string(criterion: Criterion, searching: Searching, alias: str) -> Where:
    one = {"exact": _exact, "contains": _contains}.get(criterion.modifier, _begins)
    if criterion.param.name == "phonetic":
        one = _phonetic
    return _exists(searching, "index_string", criterion.param.key, any_of(*map(one, criterion.values)), alias)


def _begins(value: str) -> Where:
    return _beginning("row.folded", cut(fold(unescaped(value))))


def _beginning(column: str, text: str) -> Where:
    """As LIKE 'text%', in the form that uses a text_pattern_ops index also when the plan is made without values."""
    return Where(f"{column} ~>=~ :begin AND {column} ~<~ :beyond", {"begin": text, "beyond": text + _LAST})


def _contains(value: str) -> Where:
    return Where("row.folded LIKE :within", {"within": f"%{_like(cut(fold(unescaped(value))))}%"})


def _exact(value: str) -> Where:
    text = unescaped(value)
    return Where(
        "row.folded = :folded AND row.value = :exact", {"folded": cut(fold(text)), "exact": cut(text)}
    )


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _date(criterion: Criterion, searching: Searching, alias: str) -> Where:
    return dates_at_once([criterion], searching, alias)


def dates_at_once(criteria: Sequence[Criterion], searching: Searching, alias: str = "resource") -> Where:
    """Several conditions on the same date, of which a resource has one: one range of the index instead of two."""
    param = criteria[0].param
    short = _is_short(param)
    dates = [[dated(value, param.name) for value in one.values] for one in criteria]
    each = (any_of(*(date_within(date, short) for date in alternatives)) for alternatives in dates)
    asked = all_of(*each)
    if searching.bounded or not _is_happened(param):
        return _exists(searching, "index_date", param.key, asked, alias)
    # The same span stands beside the resource: the planner knows how many there are, and reads them in order.
    columns = {"low": f"{alias}.happened", "high": f"{alias}.happened_end"}
    return Where(re.sub(r"\brow\.(low|high)\b", lambda found: columns[found[1]], asked.sql), asked.values)


@cache
def _is_happened(param: Param) -> bool:
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


def _reference(criterion: Criterion, searching: Searching, alias: str) -> Where:
    param = criterion.param
    if criterion.modifier == "identifier":
        coded = any_of(*map(_coded, criterion.values))
        return _exists(searching, "index_token", f"{param.key}:identifier", coded, alias)
    if _is_owner(param) and (patients := _patients(criterion, searching)) is not None:
        return Where(f"{alias}.patient_id = ANY (:patients::text[])", {"patients": patients})
    found = any_of(*(_leads_to(value, criterion, searching) for value in criterion.values))
    return _exists(searching, "index_reference", param.key, found, alias)


def _is_owner(param: Param) -> bool:
    """Whether the parameter looks at the element that says whose the resource is: then the column knows."""
    owner = resource_type(param.type).patient
    only = param.name in ("patient", "subject") and param.type not in ("AuditEvent", "Provenance", "Group")
    return only and owner is not None and owner.elements == param.path.elements


def _patients(criterion: Criterion, searching: Searching) -> list[str] | None:
    """The patients a `patient=` names; None when a value may be something else."""
    found = []
    for value in map(unescaped, criterion.values):
        to = target(value)
        if to is None and "/" not in value and ":" not in value:
            if criterion.param.targets != ("Patient",) and criterion.modifier != "Patient":
                return None
            found.append(value)
        elif to is not None and to.type == "Patient" and to.base in ("", searching.base):
            found.append(to.id)
        else:
            return None
    return found


def _leads_to(value: str, criterion: Criterion, searching: Searching) -> Where:
    text = unescaped(value)
    to = target(text)
    if to is None:
        is_id = "/" not in text and ":" not in text
        values: dict[str, Any] = {"target": cut(text)}
        if is_id and criterion.modifier:
            return Where(
                "row.target_id = :target AND row.target_type = :type", {**values, "type": criterion.modifier}
            )
        return Where("row.target_id = :target", values)
    bases = ["", searching.base] if to.base in ("", searching.base) else [to.base]
    return Where(
        "row.target_id = :target AND row.target_type = :type AND row.base = ANY (:bases::text[])",
        {"target": to.id, "type": to.type, "bases": [cut(base) for base in bases]},
    )


def _uri(criterion: Criterion, searching: Searching, alias: str) -> Where:
    found = any_of(*(_address(unescaped(value), criterion.modifier) for value in criterion.values))
    return _exists(searching, "index_uri", criterion.param.key, found, alias)


def _address(text: str, modifier: str) -> Where:
    if modifier == "below":
        return _beginning("row.value", cut(text))
    if modifier == "above":
        parts = text.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        return Where("row.value = ANY (:above::text[])", {"above": [cut(each) for each in above]})
    return Where("row.value = :value", {"value": cut(text)})


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
            return _coded(value)
        case Kind.DATE:
            return date_within(dated(value, part.param.name), short=False)
        case Kind.QUANTITY:
            return quantity_within(measured(value, part.param.name))
        case Kind.REFERENCE:
            return _leads_to(value, part, searching)
    return _begins(value)


def _in_slot(where: Where, slot: str) -> Where:
    """The same condition over the columns of a slot."""
    return Where(re.sub(r"\brow\.", f"row.{slot}_", where.sql), where.values)


def _phonetic(value: str) -> Where:
    """Every word of it sounds like a word of the name: here, the first."""
    words = fold(unescaped(value)).split()
    return Where("row.folded = :sound", {"sound": soundex(words[0]) if words else ""})


def _quantity(criterion: Criterion, searching: Searching, alias: str) -> Where:
    found = any_of(*(quantity_within(measured(value, criterion.param.name)) for value in criterion.values))
    return _exists(searching, "index_quantity", criterion.param.key, found, alias)


def _chain(chain: Chain, searching: Searching, alias: str) -> Where:
    """The reference leads to a resource that the caller may search, and that meets the rest of the chain."""
    return any_of(*(_link(chain.param, type, inner, searching, alias) for type, inner in chain.targets))


def _link(param: Param, type: str, inner: Condition, searching: Searching, alias: str) -> Where:
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
    return Where(
        f"EXISTS (SELECT 1 FROM index_reference AS row JOIN resource AS {other}"  # noqa: S608
        f" ON {other}.type = row.target_type AND {other}.id = row.target_id AND NOT {other}.deleted"
        f" WHERE row.key = {alias}.key AND {met.sql})",
        met.values,
    )


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
        f" AND NOT {other}.deleted WHERE row.target_type = {alias}.type AND row.target_id = {alias}.id AND {met.sql})",
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


def patients_named(condition: Condition) -> list[str]:
    """The patients that `patient=` or `subject=` names: whether they are the caller's is asked before the search."""
    if not isinstance(condition, Criterion) or condition.param.kind is not Kind.REFERENCE:
        return []
    if condition.modifier in ("missing", "identifier") or condition.param.name not in ("patient", "subject"):
        return []
    return [patient for value in condition.values if (patient := _patient_of(unescaped(value), condition))]


def _patient_of(text: str, criterion: Criterion) -> str | None:
    to = target(text)
    if to is not None:
        return to.id if to.type == "Patient" else None
    only_patients = criterion.param.targets == ("Patient",) or criterion.modifier == "Patient"
    return text if only_patients and "/" not in text and ":" not in text else None
