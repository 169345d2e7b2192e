"""How a search is best gone through: what few resources can meet, and which rows of an index it begins with."""

from __future__ import annotations

from collections.abc import Sequence

from .conditions import Chain, Condition, Criterion, Group, Has, Negated
from .criteria import WORDS
from .registry import Kind
from .search_references import is_owner
from .search_sql import is_happened

_BLUNT = frozenset(
    {"not", "missing", "text", "contains", "in", "not-in", "above", "below", "unequal", "ends"}
)
_NAMES_OF_ONE = frozenset({"_id", "identifier", "instance", "series", "email", "phone", "telecom"})


def is_sharp(condition: Condition) -> bool:
    """Whether few rows can meet it, whatever the value (names, identifiers, references), or the order that is walked
    anyway finds them (when it was written, when it happened)."""
    if isinstance(condition, Chain):
        return all(is_sharp(inner) for _, inner in condition.targets)
    if isinstance(condition, Has):
        return is_sharp(condition.inner)
    if isinstance(condition, Group | Negated) or condition.param.name in WORDS:
        return False
    if condition.modifier in _BLUNT:
        return False
    kinds = (Kind.REFERENCE, Kind.STRING, Kind.URI)
    named = condition.param.kind in kinds or condition.param.name in _NAMES_OF_ONE
    return named or condition.param.name == "_lastUpdated" or is_happened(condition.param)


def leading(conditions: Sequence[Condition]) -> Criterion | None:
    """The name or the reference that a search of all patients begins with: the one condition that is sharp, where the
    others are codes, which are asked of each resource it leads to."""
    sharp = [each for each in conditions if is_sharp(each)]
    codes = [each for each in conditions if isinstance(each, Criterion) and each.param.kind is Kind.TOKEN]
    if len(sharp) != 1 or len(codes) != len(conditions) - 1 or sharp[0] in codes:
        return None
    return sharp[0] if isinstance(sharp[0], Criterion) and _leads(sharp[0]) else None


def _leads(criterion: Criterion) -> bool:
    if criterion.param.kind is Kind.REFERENCE:
        return criterion.modifier != "identifier" and not is_owner(criterion.param)
    return criterion.param.kind is Kind.STRING
