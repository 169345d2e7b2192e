"""`_summary` and `_elements`: parts of a resource, tagged SUBSETTED.

FHIR R4, 3.1.1.5.7 and 3.1.1.5.9. Mandatory elements stay, so that what is shown is still valid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from server.core.errors import InvalidInput
from server.records.document import Json, dump, load_exact
from server.records.structure import structure

SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}
_ALWAYS = frozenset({"resourceType", "id", "meta"})
_DATA_TYPES = frozenset({"Dosage", "Timing", "ElementDefinition"})  # which have modifiers too
MODES = ("true", "false", "text", "data", "count")


@dataclass(frozen=True)
class Shape:
    """Which parts are asked for."""

    summary: str = "false"
    elements: tuple[str, ...] = ()  # 'status', or 'Patient.name' for one type only

    def apply(self, type: str, json: bytes) -> bytes:
        """The parts of the resource; the very bytes where all of it is asked for."""
        if self.summary == "false" and not self.elements:
            return json
        if self.summary == "data":
            return _tagged({k: v for k, v in load_exact(json).items() if k != "text"})
        keep = self._kept(type)
        resource = {k: v for k, v in load_exact(json).items() if k.removeprefix("_") in keep}
        if self.summary == "true":
            resource = {k: v if k in _ALWAYS else _summarized(v, type, k) for k, v in resource.items()}
        return _tagged(resource)

    def _kept(self, type: str) -> frozenset[str]:
        if self.summary == "true":
            return _ALWAYS | _summary_of(type)
        if self.summary == "text":
            return _ALWAYS | _mandatory_of(type) | {"text"}
        chosen = {name.removeprefix(f"{type}.") for name in self.elements}
        return _ALWAYS | _mandatory_of(type) | chosen


def shape_of(pairs: Iterable[tuple[str, str]]) -> Shape:
    """Read `_summary` and `_elements`; raises InvalidInput."""
    summary, elements = "false", list[str]()
    for name, value in pairs:
        if name == "_summary":
            summary = value
        elif name == "_elements":
            elements += [part.strip() for part in value.split(",") if part.strip()]
    if summary not in MODES:
        raise InvalidInput(f"_summary must be one of {', '.join(MODES)}.")
    return Shape(summary, tuple(elements))


def _summarized(value: Any, owner: str, name: str) -> Any:
    """Of an element the parts that belong to a summary, as deep as it goes: of a study the series, not each image."""
    if isinstance(value, list):
        return [_summarized(each, owner, name) for each in value]
    element = structure(owner).elements.get(name)
    if not isinstance(value, dict) or element is None or not _is_backbone(element.type):
        return value
    keep = _summary_of(element.type)
    return {
        k: _summarized(v, element.type, k) for k, v in value.items() if k.removeprefix("_") in keep
    } or value


@lru_cache
def _is_backbone(type: str) -> bool:
    """An element without a data type of its own: data types stay whole."""
    return type[:1].isupper() and "modifierExtension" in structure(type).elements and type not in _DATA_TYPES


@lru_cache
def _summary_of(type: str) -> frozenset[str]:
    return frozenset(name for name, element in structure(type).elements.items() if element.in_summary)


@lru_cache
def _mandatory_of(type: str) -> frozenset[str]:
    return frozenset(name for name, element in structure(type).elements.items() if element.required)


def _tagged(resource: Json) -> bytes:
    meta = resource.get("meta", {})
    return dump({**resource, "meta": {**meta, "tag": [*meta.get("tag", []), SUBSETTED]}})
