"""Values out of DICOM JSON that nobody has checked: what is of another kind than it should be is not there.

DICOM PS3.18, F.2. Pure.
"""

from __future__ import annotations

from typing import Any

from .dicom_json import Json


def items(model: Json, tag: str) -> list[Json]:
    """The items of a sequence."""
    return [value for value in values(model, tag) if isinstance(value, dict)]


def values(model: Json, tag: str) -> list[Any]:
    """The values that are not empty."""
    return [value for value in (model.get(tag) or {}).get("Value") or [] if value is not None]


def first(model: Json, tag: str) -> Any:
    """The first value; None where there is none."""
    return next(iter(values(model, tag)), None)


def numbers_in(model: Json, tag: str) -> list[float]:
    """The values that are numbers."""
    return [float(value) for value in values(model, tag) if isinstance(value, int | float)]


def number_in(model: Json, tag: str) -> float | None:
    """The first number; None where there is none."""
    return next(iter(numbers_in(model, tag)), None)
