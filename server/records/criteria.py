"""Search parameters as a request writes them, parsed once into frozen values.

FHIR R4, 3.1.1.4 (parameter types, modifiers, prefixes), 3.1.1.4.19 (escaping), 3.1.1.4.11 and 12 (chains, `_has`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from server.core.errors import InvalidInput, UnknownParameter

from .document import FORBIDDEN_TEXT
from .moments import Span, span
from .paths import Path
from .registry import Kind, Param, ResourceType, resource_type, types

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
MOST_VALUES = 100
MOST_LINKS = 4  # of a chain
_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(?=[-+.\d])(.*)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d{1,50}(\.\d{1,50})?([eE][+-]?\d{1,2})?", re.ASCII)

MODIFIERS: dict[Kind, frozenset[str]] = {
    Kind.TOKEN: frozenset({"missing", "not", "text", "of-type"}),
    Kind.STRING: frozenset({"missing", "exact", "contains"}),
    Kind.DATE: frozenset({"missing"}),
    Kind.REFERENCE: frozenset({"missing", "identifier"}),
    Kind.URI: frozenset({"missing", "below", "above"}),
    Kind.QUANTITY: frozenset({"missing"}),
    Kind.NUMBER: frozenset({"missing"}),
    Kind.COMPOSITE: frozenset({"missing"}),
}


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


Condition = Criterion | Chain | Has


def condition(type: ResourceType, name: str, value: str, *, links: int = 0) -> Condition:
    """Parse `name=value`. Raises UnknownParameter for a name this type has not, InvalidInput for a wrong value."""
    if FORBIDDEN_TEXT.search(value) or FORBIDDEN_TEXT.search(name):
        raise InvalidInput("A search parameter contains a control character.")
    if links > MOST_LINKS:
        raise InvalidInput("The chain is too long.")
    if name.startswith("_has:"):
        return _has(type, name, value, links)
    if name == "_list":
        return _list(type, value, links)
    if "." in name:
        return _chain(type, name, value, links)
    name, _, modifier = name.partition(":")
    param = _param(type, name)
    _check_modifier(param, modifier)
    values = tuple(split(value, ","))
    if not any(values):
        raise InvalidInput(f"The search parameter {name} has no value.")
    if len(values) > MOST_VALUES:
        raise InvalidInput(f"The search parameter {name} has more than {MOST_VALUES} values.")
    criterion = Criterion(param, modifier, tuple(each for each in values if each))
    _check_values(criterion)
    return criterion


def _check_values(criterion: Criterion) -> None:
    """A value that cannot be read is an error at once, not when the statement is made."""
    if criterion.modifier == "missing":
        if criterion.values not in (("true",), ("false",)):
            raise InvalidInput(f"{criterion.param.name}:missing must be true or false.")
        return
    for value in criterion.values:
        if criterion.param.kind is Kind.COMPOSITE:
            parts_of(value, criterion.param)
        elif criterion.param.kind is Kind.DATE:
            dated(value, criterion.param.name)
        elif criterion.param.kind in (Kind.NUMBER, Kind.QUANTITY):
            measured(value, criterion.param.name)
        elif criterion.modifier == "of-type" and len(list(split(value, "|"))) != 3:
            raise InvalidInput(f"{criterion.param.name}:of-type must be system|code|value.")


def parts_of(value: str, param: Param) -> list[Criterion]:
    """The parts of `8480-6$gt140`, each a criterion of its own; raises InvalidInput (FHIR R4, 3.1.1.4.17)."""
    texts = list(split(value, "$"))
    if len(texts) != len(param.parts) or not all(texts):
        raise InvalidInput(f"{param.name} must have {len(param.parts)} parts, as in a$b.")
    found = []
    for part, text in zip(param.parts, texts, strict=True):
        one = Criterion(Param(param.type, param.name, part.kind, part.path), "", (text,))
        _check_values(one)
        found.append(one)
    return found


def _param(type: ResourceType, name: str) -> Param:
    param = _COLUMNS.get(name) or type.params.get(name)
    if param is None:
        raise UnknownParameter(f"{type.name} has no search parameter of this name here.")
    return param


# Kept as columns of `resource`, of every type (search_sql knows them by name).
_NO_PATH = Path(())
_COLUMNS = {
    "_id": Param("Resource", "_id", Kind.TOKEN, _NO_PATH),
    "_lastUpdated": Param("Resource", "_lastUpdated", Kind.DATE, _NO_PATH),
}


_OF_COLUMNS = {"_id": frozenset({"missing", "not"}), "_lastUpdated": frozenset({"missing"})}


def _check_modifier(param: Param, modifier: str) -> None:
    allowed = _OF_COLUMNS.get(param.name, MODIFIERS[param.kind])
    if not modifier or modifier in allowed:
        return
    if param.kind is Kind.REFERENCE and ("*" in param.targets or modifier in param.targets):
        return
    raise InvalidInput(f"The modifier of {param.name} is not supported.")


def _chain(type: ResourceType, name: str, value: str, links: int) -> Chain:
    head, _, rest = name.partition(".")
    head, _, only = head.partition(":")
    param = _param(type, head)
    if param.kind is not Kind.REFERENCE:
        raise InvalidInput(f"{head} is no reference, so nothing can follow it.")
    targets = []
    for target in [only] if only else _kept_targets(param):
        if target not in types():
            raise InvalidInput("The chain leads to a type that this server does not keep.")
        try:
            targets.append((target, condition(resource_type(target), rest, value, links=links + 1)))
        except UnknownParameter:
            if only:
                raise
    if not targets:
        raise UnknownParameter("Nothing the reference leads to has a search parameter of this name.")
    return Chain(param, tuple(targets))


def _kept_targets(param: Param) -> Iterator[str]:
    if "*" in param.targets:
        raise InvalidInput(f"{param.name} may lead to any type: name it, as in {param.name}:Patient.")
    return (target for target in param.targets if target in types())


def _has(type: ResourceType, name: str, value: str, links: int) -> Has:
    parts = name.split(":", 3)
    if len(parts) != 4 or parts[1] not in types():
        raise InvalidInput("_has must be _has:Type:reference:parameter.")
    source = resource_type(parts[1])
    param = _param(source, parts[2])
    if param.kind is not Kind.REFERENCE or not (type.name in param.targets or "*" in param.targets):
        raise InvalidInput(f"{source.name}.{parts[2]} does not refer to {type.name}.")
    return Has(param, condition(source, parts[3], value, links=links + 1))


def _list(type: ResourceType, value: str, links: int) -> Has:
    """R4, 3.1.1.4.3 `_list`: what a List refers to; the List must be one that the caller may search."""
    if value.startswith("$"):
        raise InvalidInput("Functional lists are not supported.")
    owner = resource_type("List")
    return Has(owner.params["item"], condition(owner, "_id", value, links=links + 1))


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
    return re.sub(r"\\([\\,|$])", r"\1", text)
