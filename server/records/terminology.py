"""The code systems and value sets this server knows, for `:in`, `:not-in`, `:above` and `:below` on tokens.

FHIR R4, 3.1.1.4.5. Known are the hierarchies and value sets that R4 itself defines for our types (terminology.txt),
media types and language tags by their form. What needs SNOMED CT or another terminology is an error, not a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from server.core.errors import InvalidInput

from .index import LONGEST

MEDIA_TYPES = "urn:ietf:bcp:13"
LANGUAGES = "urn:ietf:bcp:47"
# Codes that are hierarchical by themselves, and what parts them: image/png is below image, de-AT below de.
_BY_FORM: Mapping[str, tuple[str, ...]] = {MEDIA_TYPES: ("/", ";"), LANGUAGES: ("-",)}

Coded = tuple[str, str]  # system, code


@dataclass
class CodeSystem:
    """The codes of a system and what stands directly below each."""

    children: dict[str, set[str]] = field(default_factory=dict)

    def below(self, code: str) -> set[str]:
        """The code and everything below it; the code alone where the system does not have it."""
        found, fresh = {code}, {code}
        while fresh:
            fresh = set[str]().union(*(self.children.get(each, set()) for each in fresh)) - found
            found |= fresh
        return found

    def above(self, code: str) -> set[str]:
        """The code and everything above it."""
        return {each for each in self.children if code in self.below(each)} | {code}


@dataclass
class _Known:
    systems: dict[str, CodeSystem] = field(default_factory=dict)
    sets: dict[str, set[Coded]] = field(default_factory=dict)


def members(address: str) -> AbstractSet[Coded]:
    """What a value set contains, to be read only; raises InvalidInput for one that is not known here."""
    found = _known().sets.get(address.partition("|")[0])
    if found is None:
        raise InvalidInput(
            "This server does not know the value set. It knows those of FHIR R4 whose codes it can list."
        )
    return found


def value_sets() -> list[str]:
    """The addresses of the value sets that are known."""
    return sorted(_known().sets)


def subsumed(system: str, code: str, *, above: bool = False) -> frozenset[str]:
    """The codes below (or above) one, itself included; raises InvalidInput where the hierarchy is not known."""
    found = _known().systems.get(system)
    if found is None:
        raise InvalidInput(
            ":above and :below need system|code, of a code system whose hierarchy this server knows: those of FHIR R4."
        )
    # What the system does not have stands alone; so only its own codes are ever kept.
    return _levels(system, code, above) if code in found.children else frozenset({code})


@cache
def _levels(system: str, code: str, above: bool) -> frozenset[str]:
    known = _known().systems[system]
    return frozenset(known.above(code) if above else known.below(code))


def parted(system: str) -> tuple[str, ...]:
    """What parts the levels of a code, where its form is the hierarchy."""
    return _BY_FORM.get(system, ())


def prefixes(system: str, code: str) -> list[str]:
    """The code and those above it by its form: image/png -> image/png, image."""
    signs, code = parted(system), code[:LONGEST]  # as long as the index holds
    return [code, *(code[:place] for place, char in enumerate(code) if char in signs)]


@cache
def _known() -> _Known:
    known = _Known()
    name, text = "", resources.files(__package__).joinpath("terminology.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith(("[", "{")) and " " not in line:
            name = line[1:-1]
        elif line.startswith("= "):
            known.sets.setdefault(name, set()).update(_part(known, line.split()[1:]))
        elif not line.startswith("#"):
            _codes(known.systems.setdefault(name, CodeSystem()), line.split())
    return known


def _codes(system: CodeSystem, row: list[str]) -> None:
    if row[1:2] == ["::"]:
        system.children.setdefault(row[0], set()).update(row[2:])
        row = row[2:]
    for code in row:
        system.children.setdefault(code, set())


def _part(known: _Known, row: list[str]) -> Iterable[Coded]:
    system, sign, codes = row[0], row[1:2], row[2:]
    if not sign:
        return [(system, code) for code in known.systems[system].children]
    if sign == ["::"]:
        return [(system, code) for code in known.systems[system].below(codes[0])]
    return [(system, code) for code in codes]
