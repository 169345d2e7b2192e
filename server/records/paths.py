"""Paths into a resource, as the registry writes them, and the small walker behind them.

`series.bodySite`, `telecom[system=phone]`, `effective*` (any type of a choice), `subject<Patient>` (references to
that type only), alternatives with `|`. A path compiles once into steps; walking flattens lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# What a path may choose by and cannot write, for it has dots in it.
_NAMED = {
    "MADO_MODALITY": "https://profiles.ihe.net/RAD/MADO/StructureDefinition/ext-R5-DocumentReference.modality",
    "MADO_BODY_SITE": "https://profiles.ihe.net/RAD/MADO/StructureDefinition/ext-R5-DocumentReference.bodySite",
    "DICOM_UID": "urn:dicom:uid",
}
_STEP = re.compile(r"(?P<name>[A-Za-z]+)(?P<choice>\*)?(\[(?P<key>\w+)=(?P<value>\w+)\])?(<(?P<type>\w+)>)?$")


@dataclass(frozen=True)
class Step:
    """One element name, and what is chosen of it."""

    name: str
    choice: bool = False
    key: str | None = None
    value: str | None = None
    type: str | None = None

    def take(self, element: Any) -> Iterator[Any]:
        """What lies under this name in the element."""
        if not isinstance(element, dict):
            return
        for found in self._members(element):
            for each in found if isinstance(found, list) else (found,):
                if each is not None and self._chosen(each):
                    yield each

    def _members(self, element: dict[str, Any]) -> Iterator[Any]:
        if not self.choice:
            if self.name in element:
                yield element[self.name]
            return
        for key, member in element.items():
            if key.startswith(self.name) and key[len(self.name) :][:1].isupper():
                yield member

    def _chosen(self, element: Any) -> bool:
        if self.key is not None:
            return isinstance(element, dict) and element.get(self.key) == self.value
        if self.type is not None:
            return isinstance(element, dict) and leads_to(element, self.type)
        return True


@dataclass(frozen=True)
class Path:
    """Alternatives of steps; an empty path is the resource itself."""

    alternatives: tuple[tuple[Step, ...], ...]

    def find(self, element: Any) -> Iterator[Any]:
        """Every value the path leads to."""
        for steps in self.alternatives:
            yield from _walk(element, steps)

    @property
    def elements(self) -> frozenset[str]:
        """The top-level elements it begins with."""
        return frozenset(steps[0].name for steps in self.alternatives if steps)


def path(text: str) -> Path:
    """Compile a path; raises ValueError where it cannot be read."""
    return Path(tuple(_steps(one.strip()) for one in text.split("|")))


def _steps(text: str) -> tuple[Step, ...]:
    """`.` is the element itself."""
    return () if text == "." else tuple(_step(step) for step in text.split("."))


def leads_to(reference: dict[str, Any], type: str) -> bool:
    """Whether the Reference says that its target has this type."""
    target = reference.get("reference")
    if isinstance(target, str) and type in target.split("/"):
        return True
    return reference.get("type") == type


def _step(text: str) -> Step:
    found = _STEP.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no step of a path")
    return Step(
        found["name"],
        bool(found["choice"]),
        found["key"],
        _NAMED.get(found["value"], found["value"]),
        found["type"],
    )


def _walk(element: Any, steps: tuple[Step, ...]) -> Iterator[Any]:
    if not steps:
        yield element
        return
    for found in steps[0].take(element):
        yield from _walk(found, steps[1:])
