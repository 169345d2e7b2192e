"""FHIR primitives as they look in JSON (R4, 2.24.0.1 and the table of primitive types)."""

from __future__ import annotations

import re
from typing import Any

from .moments import span

_PATTERNS = {
    "id": r"[A-Za-z0-9\-.]{1,64}",
    "code": r"[^\s]+(\s[^\s]+)*",
    "uri": r"\S+",
    "url": r"\S+",
    "canonical": r"\S+",
    "oid": r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+",
    "uuid": r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "time": r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?",
    "base64Binary": r"\s*([0-9a-zA-Z+/=]\s*)*",
    "date": r"\d{4}(-\d\d(-\d\d)?)?",
    "dateTime": r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?",
    "instant": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
}
_COMPILED = {name: re.compile(text, re.ASCII) for name, text in _PATTERNS.items()}
_DATES = frozenset({"date", "dateTime", "instant"})
_INTEGERS = {
    "integer": (-(2**31), 2**31 - 1),
    "unsignedInt": (0, 2**31 - 1),
    "positiveInt": (1, 2**31 - 1),
}
# FHIR R4, string: at most 1 MB; base64 may be as long as a request.
MAX_STRING = 1024 * 1024


def problem_of(type: str, value: Any) -> str | None:
    """What is wrong with a primitive value, as a sentence; None when nothing is."""
    if type == "boolean":
        return None if isinstance(value, bool) else "true or false, without quotes, is expected."
    if type == "decimal":
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if is_number else "A number, without quotes, is expected."
    if type in _INTEGERS:
        return _integer_problem(type, value)
    return _text_problem(type, value)


def _integer_problem(type: str, value: Any) -> str | None:
    low, high = _INTEGERS[type]
    if isinstance(value, bool) or not isinstance(value, int):
        return "A whole number, without quotes, is expected."
    return None if low <= value <= high else f"The number must lie between {low} and {high}."


def _text_problem(type: str, value: Any) -> str | None:
    if not isinstance(value, str):
        return "A text is expected."
    if not value.strip() and type != "xhtml":
        return "A text must not be empty."
    if len(value) > MAX_STRING and type not in ("base64Binary", "xhtml"):
        return "The text is longer than 1 MB."
    pattern = _COMPILED.get(type)
    if pattern is not None and not pattern.fullmatch(value):
        return f"This is not a valid {type}."
    if type in _DATES:
        try:
            span(value)
        except ValueError:
            return f"This is not a valid {type}."
    return None
