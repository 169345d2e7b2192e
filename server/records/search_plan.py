"""How a search is best gone through: what few resources can meet, and which rows of an index it begins with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from .conditions import Chain, Condition, Criterion, Group, Has, Negated
from .criteria import WORDS
from .registry import Kind
from .search_references import is_owner
from .search_sql import date_elements, is_happened
from .search_values import dated

_MONTH = timedelta(days=31)
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


def leading(conditions: Sequence[Condition]) -> list[Chain | Criterion]:
    """What a search of all patients begins with: a name, a reference, a chain, or from when to when; where whatever
    else is asked are codes (of a day of birth names too), which are asked of each resource that this leads to."""
    sharp = [each for each in conditions if isinstance(each, Chain | Criterion) and is_sharp(each)]
    others = [each for each in conditions if each not in sharp]
    if day := _day(sharp, others):
        return [day]
    codes = all(_is_of(Kind.TOKEN, each) for each in others)
    return sharp if codes and _leads(sharp) else []


def _day(sharp: Sequence[Condition], others: Sequence[Condition]) -> Criterion | None:
    """The one day (of birth) that is asked beside names and codes: fewer were born on it than have a name."""
    days = [each for each in others if isinstance(each, Criterion) and _is_day(each)]
    codes = [each for each in others if _is_of(Kind.TOKEN, each)]
    names = all(_is_of(Kind.STRING, each) for each in sharp)
    # Two days may be met by different values of one element.
    return days[0] if names and len(days) == 1 and len(days) + len(codes) == len(others) else None


def _is_of(kind: Kind, condition: Condition) -> bool:
    return isinstance(condition, Criterion) and condition.param.kind is kind


def _is_day(condition: Criterion) -> bool:
    """Whether it asks an element for a day or a month: an element that `resource.happened` does not hold."""
    if condition.param.kind is not Kind.DATE or condition.modifier or not date_elements(condition.param):
        return False
    if is_happened(condition.param):
        return False
    asked = [dated(value, condition.param.name) for value in condition.values]
    return all(each.prefix == "eq" and each.span.high - each.span.low <= _MONTH for each in asked)


def _leads(sharp: Sequence[Chain | Criterion]) -> bool:
    dates = [each for each in sharp if isinstance(each, Criterion) and is_happened(each.param)]
    if dates:
        return len(dates) == len(sharp) and _is_range(dates)
    if len(sharp) != 1:
        return False
    [one] = sharp
    if isinstance(one, Chain):
        return len(one.targets) == 1 and not _ends_in_a_date(one)
    if one.param.kind is Kind.REFERENCE:
        return one.modifier != "identifier" and not is_owner(one.param)
    return one.param.kind is Kind.STRING


def _ends_in_a_date(condition: Condition) -> bool:
    """Whether a chain asks for when: that may be nearly all there is."""
    match condition:
        case Chain():
            return any(_ends_in_a_date(inner) for _, inner in condition.targets)
        case Has() | Negated():
            return _ends_in_a_date(condition.inner)
        case Group():
            return any(map(_ends_in_a_date, condition.conditions))
    return condition.param.kind is Kind.DATE


_FROM = frozenset({"eq", "ap", "ge", "gt", "sa"})
_UNTIL = frozenset({"eq", "ap", "le", "lt", "eb"})


def _is_range(dates: Sequence[Criterion]) -> bool:
    """Whether they end on both sides: what is open on one may be nearly all, which the newest are soon found of."""
    prefixes = [{dated(value, each.param.name).prefix for value in each.values} for each in dates]
    return any(each <= _FROM for each in prefixes) and any(each <= _UNTIL for each in prefixes)
