"""Days as a filter on dates names them: `ge2024-01-15`, `2023`, `lt2022-06`.

FHIR R4, 3.1.1.5.3 (prefixes of dates), to the day: what a scope says of time is no finer than that.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, timedelta
from functools import lru_cache

_VALUE = re.compile(r"(eq|ge|gt|le|lt)?([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_ONE = timedelta(days=1)

Span = tuple[date, date]  # first and last day, both within


@lru_cache(maxsize=1024)
def span(text: str) -> Span | None:
    """The days a value selects; None for what is no such value."""
    found = _VALUE.fullmatch(text)
    if found is None:
        return None
    prefix, *parts = found.groups()
    try:
        first, last = _days(*(int(part) if part else None for part in parts))
        match prefix:
            case "ge":
                return first, date.max
            case "gt":
                return last + _ONE, date.max
            case "le":
                return date.min, last
            case "lt":
                return date.min, first - _ONE
    except (ValueError, OverflowError):
        return None
    return first, last


def within(inner: str, outer: str) -> bool:
    """Whether every day of one value is a day of the other."""
    small, large = span(inner), span(outer)
    return bool(small and large and large[0] <= small[0] and small[1] <= large[1])


def _days(year: int | None, month: int | None, day: int | None) -> Span:
    year = year or 0
    if month is None:
        return date(year, 1, 1), date(year, 12, 31)
    if day is None:
        return date(year, month, 1), date(year, month, monthrange(year, month)[1])
    return date(year, month, day), date(year, month, day)
