"""Whether a resource obeys FHIR R4: structure, JSON types, required codes, reference targets, narrative, invariants.

R4, 2.1 (resource formats) and the invariants of the pages named beside them. Every finding names its element
(`expression`, a FHIRPath). It runs in a worker thread: a large study has a hundred thousand values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from server.core.errors import Unprocessable

from . import narrative, primitives
from .document import Json
from .invariants import of_element, of_resource
from .references import target
from .structure import Element, Structure, is_r4_resource, structure

MAX_ISSUES = 50
LARGE = 2_000  # members; a smaller resource is checked faster than a thread is woken


@dataclass(frozen=True)
class Issue:
    """One finding."""

    code: str  # FHIR IssueType: structure, required, value, invariant, code-invalid
    sentence: str
    expression: str
    severity: str = "error"


class Invalid(Unprocessable):
    """The resource does not obey FHIR R4."""

    def __init__(self, issues: list[Issue]) -> None:
        super().__init__(issues[0].sentence, expression=issues[0].expression)
        self.issues = issues


async def check(resource: Json) -> None:
    """Raise Invalid with every finding, the first fifty of them."""
    issues = await find_issues(resource)
    if issues:
        raise Invalid(issues)


async def find_issues(resource: Json) -> list[Issue]:
    """Everything that is wrong with the resource, up to fifty findings."""
    if _is_small(resource):
        return _issues(resource)
    return await asyncio.to_thread(_issues, resource)


def _is_small(value: Any) -> bool:
    waiting, seen = [value], 0
    while waiting and seen < LARGE:
        one = waiting.pop()
        seen += 1
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return not waiting


def _issues(resource: Json) -> list[Issue]:
    found: list[Issue] = []
    for issue in _resource(resource, str(resource.get("resourceType", "Resource")), contained=False):
        found.append(issue)
        if len(found) >= MAX_ISSUES:
            break
    return found


def _resource(value: Any, at: str, *, contained: bool) -> Iterator[Issue]:
    if not isinstance(value, dict):
        yield Issue("structure", "A resource is expected here.", at)
        return
    name = value.get("resourceType")
    if not isinstance(name, str) or not is_r4_resource(name):
        yield Issue("structure", "This is not a type of resource that R4 knows.", f"{at}.resourceType")
        return
    yield from _object({k: v for k, v in value.items() if k != "resourceType"}, structure(name), at)
    for sentence, where in of_resource(value, name, contained=contained):
        yield Issue("invariant", sentence, f"{at}.{where}" if where else at)


def _object(value: Json, type: Structure, at: str) -> Iterator[Issue]:
    """An object against the elements of its type."""
    if not value and not type.resource:
        yield Issue("structure", "An object must not be empty.", at)
        return
    choices: dict[str, str] = {}
    for key, member in value.items():
        element = type.elements.get(key.removeprefix("_"))
        where = f"{at}.{key}"
        if element is None or (key.startswith("_") and not element.primitive):
            yield Issue("structure", "R4 has no element of this name here.", where)
            continue
        if element.choice and choices.setdefault(element.choice, element.name) != element.name:
            yield Issue("structure", f"Only one {element.choice}[x] may be given.", where)
        yield from _member(member, element, where, beside=value, extension=key.startswith("_"))
    yield from _missing(value, type, at, choices)
    for sentence, element_name in of_element(value, type.name):
        yield Issue("invariant", sentence, f"{at}.{element_name}" if element_name else at)


def _missing(value: Json, type: Structure, at: str, choices: dict[str, str]) -> Iterator[Issue]:
    for element in type.elements.values():
        if element.required and element.name not in value and f"_{element.name}" not in value:
            yield Issue("required", f"{element.name} is required.", f"{at}.{element.name}")
    for choice in {e.choice for e in type.elements.values() if e.choice_required} - set(choices):
        yield Issue("required", f"{choice}[x] is required.", f"{at}.{choice}")


def _member(member: Any, element: Element, at: str, *, beside: Json, extension: bool) -> Iterator[Issue]:
    """The value under one key: a list where the element repeats, else one value."""
    if isinstance(member, list) != element.many:
        expected = "A list is expected." if element.many else "One value is expected, not a list."
        yield Issue("structure", expected, at)
        return
    if not element.many:
        yield from _value(member, element, at, extension)
        return
    if not member:
        yield Issue("structure", "A list must not be empty.", at)
    other = beside.get(element.name if extension else f"_{element.name}") if element.primitive else None
    for place, each in enumerate(member):
        # FHIR R4, 2.6.2.3: null keeps primitives and extensions in step.
        if each is None and _has(other, place):
            continue
        yield from _value(each, element, f"{at}[{place}]", extension)


def _has(other: Any, place: int) -> bool:
    return isinstance(other, list) and len(other) > place and other[place] is not None


def _value(value: Any, element: Element, at: str, extension: bool) -> Iterator[Issue]:
    if value is None:
        yield Issue("structure", "null is not allowed here.", at)
    elif extension:
        yield from _complex(value, "FHIRPrimitiveExtension", at)
    elif element.primitive:
        yield from _primitive(value, element, at)
    elif element.type == "Resource":
        yield from _resource(value, at, contained=element.name == "contained")
    else:
        yield from _complex(value, element.type, at)
        if element.targets and isinstance(value, dict):
            yield from _reference(value, element, at)


def _complex(value: Any, type: str, at: str) -> Iterator[Issue]:
    if isinstance(value, dict):
        yield from _object(value, structure(type), at)
    else:
        yield Issue("structure", "A JSON object is expected.", at)


def _primitive(value: Any, element: Element, at: str) -> Iterator[Issue]:
    problem = primitives.problem_of(element.type, value)
    if problem is None and element.type == "xhtml":
        problem = narrative.problem_of(value)
    if problem is not None:
        yield Issue("value", problem, at)
    elif element.codes and value not in element.codes:
        yield Issue("code-invalid", f"One of these is expected: {', '.join(sorted(element.codes))}.", at)


def _reference(value: Json, element: Element, at: str) -> Iterator[Issue]:
    """The type a reference says it leads to must be one that the element allows."""
    text = value.get("reference")
    to = target(text) if isinstance(text, str) else None
    said = {to.type} if to is not None and is_r4_resource(to.type) else set()
    if isinstance(value.get("type"), str) and is_r4_resource(value["type"]):
        said.add(value["type"])
    if said - set(element.targets):
        yield Issue("value", f"The reference must lead to one of: {', '.join(element.targets)}.", at)
