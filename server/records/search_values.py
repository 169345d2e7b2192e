"""The values of search parameters as a request writes them: escapes, prefixes, dates and numbers.

FHIR R4, 3.1.1.4.5 to 7 (prefixes, numbers, dates) and 3.1.1.4.19 (escaping).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from server.core.errors import InvalidInput

from .moments import Span, span

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(?=[-+.\d])(.*)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d{1,50}(\.\d{1,50})?([eE][+-]?\d{1,2})?", re.ASCII)


@dataclass(frozen=True)
class Dated:
    """A date with its prefix."""

    prefix: str
    span: Span


def dated(value: str, name: str) -> Dated:
    """Parse `ge2020-01`; raises InvalidInput."""
    found = _PREFIXED.fullmatch(value)
    try:
        if found is None:
            raise ValueError
        # A plus in a query is a space to form decoding; a timezone is where it meant one.
        return Dated(found[1] or "eq", span(found[2].strip().replace(" ", "+")))
    except ValueError as error:
        raise InvalidInput(f"{name} must be a date, as in 2020-01-31, with or without a prefix.") from error


@dataclass(frozen=True)
class Measured:
    """A number with its prefix, the precision it was written with, and its unit."""

    prefix: str
    number: Decimal
    half: Decimal  # half of the last digit: 100 means 99.5 to 100.5
    system: str | None = None
    code: str | None = None


def measured(value: str, name: str) -> Measured:
    """Parse `5.4`, `lt5.40e-3|http://unitsofmeasure.org|g` or `5.4||mg`; raises InvalidInput."""
    parts = list(split(value, "|"))
    found = _PREFIXED.fullmatch(parts[0])
    if found is None or not _NUMBER.fullmatch(found[2]) or len(parts) not in (1, 3):
        raise InvalidInput(f"{name} must be a number, or number|system|code.")
    try:
        number = Decimal(found[2])
    except InvalidOperation as error:
        raise InvalidInput(f"{name} must be a number.") from error
    exponent = number.as_tuple().exponent
    half = Decimal(5).scaleb(int(exponent) - 1)
    if len(parts) == 1:
        return Measured(found[1] or "eq", number, half)
    return Measured(found[1] or "eq", number, half, unescaped(parts[1]) or None, unescaped(parts[2]) or None)


def split(text: str, separator: str) -> Iterator[str]:
    """Split at separators that are not escaped; the parts stay escaped (FHIR R4, 3.1.1.4.19)."""
    if "\\" not in text:
        yield from text.split(separator)
        return
    part: list[str] = []
    escaped = False
    for char in text:
        if char == separator and not escaped:
            yield "".join(part)
            part = []
            continue
        escaped = char == "\\" and not escaped
        part.append(char)
    yield "".join(part)


def unescaped(text: str) -> str:
    """`a\\,b` -> `a,b`."""
    return re.sub(r"\\([\\,|$])", r"\1", text) if "\\" in text else text


def escaped(text: str) -> str:
    """`a,b` -> `a\\,b`."""
    return re.sub(r"([\\,|$])", r"\\\1", text)


def halves(value: str) -> tuple[str, str, str]:
    """`system|code` in two, and the bar where there is one."""
    parts = list(split(value, "|"))
    if len(parts) == 1:
        return "", "", unescaped(parts[0])
    return unescaped(parts[0]), "|", unescaped("|".join(parts[1:]))
