"""What a Bulk Data kick-off asks for, parsed once.

Bulk Data Access 2.0, 2.4.4 (query parameters) and 2.4.2 (a POST carries them as Parameters).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from server.core.errors import InvalidInput, NotFound
from server.records.document import Json
from server.records.moments import span
from server.records.references import here
from server.records.registry import resource_type

from .search_params import Pairs, pairs_of, parse

FORMATS = ("application/fhir+ndjson", "application/ndjson", "ndjson")
MOST_PATIENTS = 10_000
_NEXT_FILTER = re.compile(r",(?=[A-Z][A-Za-z]+\?)")
_VALUES = (
    "valueString",
    "valueInstant",
    "valueDateTime",
    "valueUri",
    "valueCode",
    "valueBoolean",
    "valueDate",
    "valueInteger",
    "valuePositiveInt",
    "valueUnsignedInt",
)


@dataclass(frozen=True)
class Wanted:
    """One kick-off."""

    types: tuple[str, ...] | None = None  # None: all that are open
    filters: tuple[str, ...] = ()  # 'Observation?code=…'
    since: datetime | None = None
    until: datetime | None = None
    elements: str = ""
    patients: tuple[str, ...] | None = None
    ignored: tuple[str, ...] = field(default=())


def from_parameters(body: Json) -> list[tuple[str, str]]:
    """The parameters of a POST as pairs; a reference is its text."""
    if body.get("resourceType") != "Parameters" or not isinstance(body.get("parameter", []), list):
        raise InvalidInput("A kick-off by POST carries a Parameters resource.")
    found = []
    for one in body.get("parameter", []):
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(name, str):
            raise InvalidInput("A parameter has no name.", expression="Parameters.parameter.name")
        found.append((name, _text_of(one)))
    return found


def _text_of(parameter: Json) -> str:
    reference = parameter.get("valueReference")
    if isinstance(reference, dict) and isinstance(reference.get("reference"), str):
        return str(reference["reference"])
    for name in _VALUES:
        if name in parameter:
            value = parameter[name]
            return str(value).lower() if isinstance(value, bool) else str(value)
    raise InvalidInput("A parameter has no value.", expression="Parameters.parameter.value")


def wanted(pairs: Pairs, *, base: str, lenient: bool, by_post: bool, of_patients: bool) -> Wanted:
    """Read a kick-off. Raises InvalidInput for what cannot be read, and for what is not supported unless lenient."""
    reading = _Reading(base, by_post and of_patients)
    for name, value in pairs:
        if not reading.take(name, value):
            if not lenient:
                raise InvalidInput(f"The export parameter {name[:60]} is not supported here.")
            reading.ignored.append(name)
    return reading.wanted()


class _Reading:
    def __init__(self, base: str, patients: bool) -> None:
        self.base = base
        self.may_name_patients = patients
        self.types: list[str] = []
        self.filters: list[str] = []
        self.elements: list[str] = []
        self.patients: list[str] = []
        self.moments: dict[str, datetime] = {}
        self.ignored: list[str] = []

    def take(self, name: str, value: str) -> bool:
        """Whether the parameter is one that is supported."""
        match name:
            case "_type":
                self.types += [_type(each) for each in _parts(value)]
            case "_typeFilter":
                self.filters += _filters(value)
            case "_since" | "_until":
                self.moments[name] = _moment(name, value)
            case "_elements":
                self.elements += _parts(value)
            case "_outputFormat":
                if value.replace(" ", "+") not in FORMATS:
                    raise InvalidInput(f"_outputFormat must be one of {', '.join(FORMATS)}.")
            case "patient" if self.may_name_patients:
                self.patients += [self._patient(each) for each in _parts(value)]
            case "_format" | "_pretty":
                return True
            case _:
                return False
        return True

    def _patient(self, text: str) -> str:
        found = here(text, self.base)
        if found is None or found.type != "Patient":
            raise InvalidInput("The parameter patient must be a reference to a Patient on this server.")
        if len(self.patients) >= MOST_PATIENTS:
            raise InvalidInput(f"An export names at most {MOST_PATIENTS} patients.")
        return found.id

    def wanted(self) -> Wanted:
        return Wanted(
            types=tuple(dict.fromkeys(self.types)) or None,
            filters=tuple(self.filters),
            since=self.moments.get("_since"),
            until=self.moments.get("_until"),
            elements=",".join(self.elements),
            patients=tuple(dict.fromkeys(self.patients)) or None,
            ignored=tuple(self.ignored),
        )


def filter_queries(filters: Sequence[str], type: str) -> list[Pairs]:
    """The queries that narrow one type; several are alternatives."""
    heads = (each.partition("?") for each in filters)
    return [pairs_of(query) for head, _, query in heads if head == type]


def _filters(value: str) -> Iterator[str]:
    for one in _NEXT_FILTER.split(value):
        type, _, query = one.partition("?")
        parse(_type(type), pairs_of(query), strict=True)  # what is wrong is said at once
        yield one


def _type(name: str) -> str:
    try:
        return resource_type(name).name
    except NotFound as error:
        raise InvalidInput("_type names a type that this server does not keep.") from error


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _moment(name: str, value: str) -> datetime:
    try:
        return span(value.replace(" ", "+")).low
    except ValueError as error:
        raise InvalidInput(f"{name} must be an instant, as in 2020-01-31T12:00:00Z.") from error
