"""Dates and quantities as conditions over a row of their index.

FHIR R4, 3.1.1.4.6 (numbers) and 3.1.1.4.7 (dates): what each prefix asks of a range.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from server.core import clock
from server.storage.where import TRUE, Where, all_of

from .index import cut
from .search_values import Dated, Measured

_YEAR = timedelta(days=366)


def last_updated_within(date: Dated, alias: str) -> Where:
    """To the millisecond, so that a moment and its range are the same (store.py)."""
    low, high, column = date.span.low, date.span.high, f"{alias}.last_updated"
    match date.prefix:
        case "gt" | "sa":
            return Where(f"{column} >= :high", {"high": high})
        case "lt" | "eb":
            return Where(f"{column} < :low", {"low": low})
        case "ge":
            return Where(f"{column} >= :low", {"low": low})
        case "le":
            return Where(f"{column} < :high", {"high": high})
        case "ap":
            near = about(date)
            return Where(f"{column} >= :low AND {column} < :high", {"low": low - near, "high": high + near})
    inside = Where(f"{column} >= :low AND {column} < :high", {"low": low, "high": high})
    return ~inside if date.prefix == "ne" else inside


def date_within(date: Dated, short: bool) -> Where:
    """R4, 3.1.1.4.7: eq contains the target, gt and lt overlap what lies beyond, sa and eb lie wholly beyond.

    `low < high` in every row, and a short one lasts a year at most: what follows from that for `low` is said too,
    so that the index on it is read from both ends.
    """
    low, high = {"low": date.span.low}, {"high": date.span.high}
    both = {**low, **high}
    inside = Where("row.low >= :low AND row.low < :high AND row.high <= :high", both)
    match date.prefix:
        case "ne":
            return Where("row.low < :low OR row.high > :high", both)
        case "gt":
            return Where("row.high > :high", high) & _not_before(date.span.high, short)
        case "lt":
            return Where("row.low < :low", low)
        case "ge":
            later = Where("row.high > :low AND (row.high > :high OR row.low >= :low)", both)
            return later & _not_before(date.span.low, short)
        case "le":
            return Where("row.low < :high AND (row.low < :low OR row.high <= :high)", both)
        case "sa":
            return Where("row.low >= :high", high)
        case "eb":
            return Where("row.high <= :low AND row.low < :low", low)
        case "po":  # of a _filter: the periods overlap
            return Where("row.low < :high AND row.high > :low", both)
        case "ap":
            near = about(date)
            values = {"low": date.span.low - near, "high": date.span.high + near}
            return Where("row.low < :high AND row.high > :low", values)
    return inside


def _not_before(moment: datetime, short: bool) -> Where:
    """A short row that ends after the moment began less than a year before it."""
    if not short or moment.year < 2:
        return TRUE
    return Where("row.low > :year_before", {"year_before": moment - _YEAR})


def about(date: Dated) -> timedelta:
    """R4: approximately is within a tenth of the time between then and now; near the ends of time, exactly."""
    tenth = abs(clock.now() - date.span.low) / 10
    near_end = date.span.low.year < 1000 or date.span.high.year > 9000
    return timedelta() if near_end else tenth


def quantity_within(measure: Measured) -> Where:
    unit = []
    if measure.system is not None:
        unit.append(Where("row.system = :system", {"system": cut(measure.system)}))
    if measure.code is not None:
        same = "row.code = :code" if measure.system is not None else "row.code = :code OR row.unit = :code"
        unit.append(Where(same, {"code": cut(measure.code)}))
    return all_of(_number(measure), *unit)


def _number(measure: Measured) -> Where:
    """R4, 3.1.1.4.6: equality is within the precision written; the other prefixes take the number exactly."""
    number = {"number": measure.number}
    inside = Where(
        "row.low >= :least AND row.high < :most",
        {"least": measure.number - measure.half, "most": measure.number + measure.half},
    )
    match measure.prefix:
        case "ne":
            return ~inside
        case "gt" | "sa":
            column = "high" if measure.prefix == "gt" else "low"
            return Where(f"row.{column} > :number", number)
        case "lt" | "eb":
            column = "low" if measure.prefix == "lt" else "high"
            return Where(f"row.{column} < :number", number)
        case "ge":
            return Where("row.high >= :number", number)
        case "le":
            return Where("row.low <= :number", number)
        case "ap":
            tenth = abs(measure.number) / 10
            values = {"least": measure.number - tenth, "most": measure.number + tenth}
            return Where("row.low <= :most AND row.high >= :least", values)
    return inside
