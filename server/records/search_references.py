"""References as conditions over a row of their index (`row`), and the patients that a search names.

FHIR R4, 3.1.1.4.12 (reference): an id and `Type/id` mean resources of this server. A tree of `:above` and `:below` is
followed through resources that the caller may search, and through no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.storage.where import FALSE, Where

from .conditions import Condition, Criterion, Group, Negated
from .criteria import HIERARCHIES, root_of
from .index import cut
from .references import target
from .registry import Kind, Param, resource_type
from .search_values import unescaped


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


def is_owner(param: Param) -> bool:
    """Whether the parameter looks at the element that says whose the resource is: then the column knows."""
    owner = resource_type(param.type).patient
    only = param.name in ("patient", "subject") and param.type not in ("AuditEvent", "Provenance", "Group")
    return only and owner is not None and owner.elements == param.path.elements


def patients(criterion: Criterion, searching: Searching) -> list[str] | None:
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


def leads_to(value: str, criterion: Criterion, searching: Searching) -> Where:
    text = unescaped(value)
    to = target(text)
    if to is None:
        is_id = "/" not in text and ":" not in text
        found = Where(
            "row.target_id = :target AND row.base = ANY (:bases::text[])",
            {"target": cut(text), "bases": ["", searching.base]},
        )
        if is_id and criterion.modifier not in ("", "unequal"):  # else the modifier is a type
            return found & Where("row.target_type = :type", {"type": criterion.modifier})
        return found
    bases = ["", searching.base] if to.base in ("", searching.base) else [to.base]
    return Where(
        "row.target_id = :target AND row.target_type = :type AND row.base = ANY (:bases::text[])",
        {"target": to.id, "type": to.type, "bases": [cut(base) for base in bases]},
    )


def in_tree(value: str, criterion: Criterion, searching: Searching) -> Where:
    """What the value names, and what lies below (or above) it by the reference that makes the tree."""
    root = root_of(value, criterion.param)
    if root.base not in ("", searching.base):
        return leads_to(value, criterion, searching)
    step = _UP if criterion.modifier == "above" else _DOWN
    seen = searching.may_see(root.type, "member")
    tree = (
        f"WITH RECURSIVE tree (id) AS (SELECT :root::text UNION {step} AND ({seen.sql})) SELECT id FROM tree"  # noqa: S608
    )
    return Where(
        f"row.target_type = :tree AND row.base = ANY (:bases::text[]) AND row.target_id IN ({tree})",
        {
            **seen.values,
            "tree": root.type,
            "bases": ["", searching.base],
            "root": root.id,
            "up": f"{root.type}.{HIERARCHIES[root.type]}",
        },
    )


_DOWN = (
    "SELECT member.id FROM tree JOIN index_reference AS up ON up.param = :up AND up.target_id = tree.id"
    " AND up.target_type = :tree AND up.base = ANY (:bases::text[])"
    " JOIN resource AS member ON member.key = up.key AND NOT member.deleted"
)
_UP = (
    "SELECT up.target_id FROM tree JOIN resource AS member ON member.type = :tree AND member.id = tree.id"
    " AND NOT member.deleted JOIN index_reference AS up ON up.key = member.key AND up.param = :up"
    " AND up.target_type = :tree AND up.base = ANY (:bases::text[])"
)


def trees_passed(criterion: Criterion) -> Iterator[str]:
    """The types whose trees it goes through."""
    if criterion.param.kind is Kind.REFERENCE and criterion.modifier in ("above", "below"):
        for value in criterion.values:
            yield root_of(value, criterion.param).type


def patients_named(condition: Condition) -> list[str]:
    """The patients that `patient=` or `subject=` names: whether they are the caller's is asked before the search."""
    if isinstance(condition, Group):
        return [patient for each in condition.conditions for patient in patients_named(each)]
    if isinstance(condition, Negated):
        return patients_named(condition.inner)
    if not isinstance(condition, Criterion) or condition.param.kind is not Kind.REFERENCE:
        return []
    if condition.modifier in ("missing", "identifier", "above", "below") or condition.param.name not in (
        "patient",
        "subject",
    ):
        return []
    return [patient for value in condition.values if (patient := _patient_of(unescaped(value), condition))]


def _patient_of(text: str, criterion: Criterion) -> str | None:
    to = target(text)
    if to is not None:
        return to.id if to.type == "Patient" else None
    only_patients = criterion.param.targets == ("Patient",) or criterion.modifier == "Patient"
    return text if only_patients and "/" not in text and ":" not in text else None
