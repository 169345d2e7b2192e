"""What a search asks, parsed: frozen values that nobody has to read the request for again.

FHIR R4, 3.1.1.4 (parameters, modifiers), 3.1.1.4.13 and 14 (chains, `_has`), 3.1.3 (`_filter`).
"""

from __future__ import annotations

from dataclasses import dataclass

from .registry import Param


@dataclass(frozen=True)
class Criterion:
    """One parameter with its alternatives: any of the values."""

    param: Param
    modifier: str
    values: tuple[str, ...]  # still escaped; what splits them further depends on the kind


@dataclass(frozen=True)
class Chain:
    """`subject:Patient.name=…`: a reference to something that meets a criterion, for each type it may lead to."""

    param: Param
    targets: tuple[tuple[str, Condition], ...]


@dataclass(frozen=True)
class Has:
    """`_has:Observation:patient:code=…`: something refers to it that meets a criterion."""

    param: Param
    inner: Condition


@dataclass(frozen=True)
class Group:
    """Several conditions of one `_filter`: all of them, or any."""

    conditions: tuple[Condition, ...]
    any: bool = False


@dataclass(frozen=True)
class Negated:
    """`not (…)` of a `_filter`."""

    inner: Condition


Condition = Criterion | Chain | Has | Group | Negated
