"""The registry: resource types, whose they are, and their search parameters.

Read once from `parameters.txt`. Validation, the search index, the search statements and the CapabilityStatement
all read from here, so that none of them can say something that the others do not know.
FHIR R4, 3.1.1 (search), 5.3 (compartment of a patient).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources

from server.core.errors import NotFound

from .paths import Path, path


class Kind(StrEnum):
    """The kinds of search parameters (FHIR R4, 3.1.1.4)."""

    TOKEN = "token"  # noqa: S105 - a kind of parameter
    STRING = "string"
    DATE = "date"
    REFERENCE = "reference"
    URI = "uri"
    QUANTITY = "quantity"
    NUMBER = "number"
    COMPOSITE = "composite"


@dataclass(frozen=True)
class Part:
    """One part of a composite: `8480-6$gt140` has a token and a quantity, of the same element."""

    kind: Kind
    path: Path  # from the composite's element


@dataclass(frozen=True)
class Param:
    """One search parameter of one type."""

    type: str
    name: str
    kind: Kind
    path: Path
    targets: tuple[str, ...] = ()  # types a reference may lead to; ('*',) = any
    system: str = ""  # code system of a plain code
    parts: tuple[Part, ...] = ()  # of a composite

    @property
    def key(self) -> str:
        """What its rows in the index are called."""
        return f"{self.type}.{self.name}"


@dataclass(frozen=True)
class ResourceType:
    """A type of resource that this server keeps."""

    name: str
    patient: Path | None  # the element that says whose it is
    happened: Path | None  # its own date, to sort by
    study: Path | None  # references that may name the study it is about
    params: Mapping[str, Param] = field(default_factory=dict)

    def in_compartment(self) -> bool:
        """Whether each of these belongs to a patient."""
        return self.patient is not None


# Kept for every resource as columns or from `meta` (FHIR R4, 3.1.1.4.1).
COMMON = """
_tag       token meta.tag
_security  token meta.security
_profile   uri   meta.profile
_source    uri   meta.source
"""
_HEAD = re.compile(r"^\[(\w+)\] ?(.*)$")


@cache
def types() -> Mapping[str, ResourceType]:
    """Every type, by name."""
    text = resources.files(__package__).joinpath("parameters.txt").read_text(encoding="utf-8")
    found: dict[str, ResourceType] = {}
    head, rows = "", list[str]()
    for line in [*text.splitlines(), "[End]"]:
        if line.startswith("["):
            if head:
                one = _type(head, rows)
                found[one.name] = one
            head, rows = line, []
        elif line and not line.startswith("#"):
            rows.append(line)
    return found


def resource_type(name: str) -> ResourceType:
    """The type of this name; raises NotFound (FHIR R4, 3.1.0.1.5: an unknown type is 404)."""
    found = types().get(name)
    if found is None:
        raise NotFound("This server keeps no resources of this type.")
    return found


def _type(head: str, rows: list[str]) -> ResourceType:
    found = _HEAD.match(head)
    if found is None:
        raise ValueError(f"{head!r} does not begin a type")
    name = found[1]
    facts = dict(part.split("=", 1) for part in found[2].split())
    params = [_param(name, row) for row in [*rows, *COMMON.strip().splitlines()]]
    return ResourceType(
        name=name,
        patient=_path_of(facts.get("patient")),
        happened=_path_of(facts.get("happened")),
        study=_path_of(facts.get("study")),
        params={param.name: param for param in params},
    )


def _path_of(text: str | None) -> Path | None:
    return path(text.replace(",", "|")) if text else None


def _param(type: str, row: str) -> Param:
    definition, _, extra = row.partition(" ; ")
    name, kind, where = definition.split(maxsplit=2)
    reference = kind == Kind.REFERENCE
    composite = kind == Kind.COMPOSITE
    return Param(
        type=type,
        name=name,
        kind=Kind(kind),
        path=path(where),
        targets=tuple(extra.split(",")) if reference and extra else (),
        system="" if reference or composite else extra,
        parts=tuple(_part(each) for each in extra.split("&")) if composite else (),
    )


def _part(text: str) -> Part:
    where, kind = text.split()
    return Part(Kind(kind), path(where.replace(",", "|")))
