"""Partial dates as the span of time they stand for.

FHIR R4, 3.1.1.4.7: a date is compared as the range from its first moment to the first one after it; without a
timezone it is read as UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)

_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)


@dataclass(frozen=True)
class Span:
    """From `low` until just before `high`."""

    low: datetime
    high: datetime


def span(text: str) -> Span:
    """The time that a FHIR date, dateTime or instant covers; raises ValueError for anything else."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError("not a FHIR date")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    # A leap second is a second like its neighbour here (R4 allows 60, Python does not).
    clock = (int(hour or 0), int(minute or 0), min(int(second or 0), 59))
    micro = int((fraction or "").ljust(6, "0")[:6] or 0)
    low = datetime(int(year), int(month or 1), int(day or 1), *clock, micro, tzinfo=_zone(zone))
    try:
        low = low.astimezone(UTC)
        return Span(low, _end(low, found))
    except OverflowError:
        return Span(min(max(low, EARLIEST), LATEST), LATEST)


def _end(low: datetime, found: re.Match[str]) -> datetime:
    year, month, day, hour, _, second, fraction, _ = found.groups()
    if month is None:
        return datetime(int(year) + 1, 1, 1, tzinfo=UTC) if int(year) < 9999 else LATEST
    if day is None:
        return _month_after(int(year), int(month))
    if hour is None:
        return low + timedelta(days=1)
    if second is None:
        return low + timedelta(minutes=1)
    if fraction is None:
        return low + timedelta(seconds=1)
    return low + timedelta(microseconds=10 ** max(6 - len(fraction), 0))


def _month_after(year: int, month: int) -> datetime:
    if (year, month) == (9999, 12):
        return LATEST
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[4:6])))
