"""FHIRPath Patch: a Parameters resource with operations on elements that simple FHIRPath expressions name.

FHIR R4, "FHIRPath Patch" (fhirpatch.html). Expressions are the ones such patches are made of: element names, `[n]`,
`.where(name = 'text')`, `.first()`, `.last()`; an expression must lead to one element (delete: one or none).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from server.core.errors import InvalidInput, Unprocessable
from server.records.document import Json
from server.records.structure import Element, structure

MOST_OPERATIONS = 200

_TOKEN = re.compile(
    r"\.?(?:(?P<where>where\(\s*(?P<key>[A-Za-z]+)\s*=\s*(?:'(?P<text>(?:[^'\\]|\\.)*)'|(?P<word>true|false|\d+))\s*\))"
    r"|(?P<end>first|last)\(\)|(?P<name>[A-Za-z]+)|\[(?P<index>\d{1,6})\])"
)


@dataclass(frozen=True)
class Place:
    """Where an element lies: the object that has it, its key, and its number in a list."""

    parent: Json
    key: str
    index: int | None
    type: str  # of the element
    owner: str  # type of what has it

    @property
    def value(self) -> Any:
        found = self.parent[self.key]
        return found if self.index is None else found[self.index]


def apply(resource: Json, parameters: Json) -> Json:
    """The resource after all operations. Raises InvalidInput for what is no patch, Unprocessable for an expression
    that does not lead to one element."""
    operations = [each for each in _list(parameters.get("parameter")) if each.get("name") == "operation"]
    if not operations or len(operations) > MOST_OPERATIONS:
        raise InvalidInput(f"A FHIRPath Patch has 1 to {MOST_OPERATIONS} parameters named operation.")
    result: Json = copy.deepcopy(resource)
    for operation in operations:
        _one(result, _parts(operation))
    return result


def _one(resource: Json, parts: Json) -> None:
    kind, path = parts.get("type"), parts.get("path")
    if not isinstance(path, str):
        raise InvalidInput("An operation of the patch has no path.")
    match kind:
        case "add":
            _add(resource, path, parts)
        case "insert":
            _insert(resource, path, parts)
        case "replace":
            _replace(_only(resource, path), _given(parts))
        case "delete":
            _delete(resource, path)
        case "move":
            _move(resource, path, parts)
        case _:
            raise InvalidInput("The type of an operation is add, insert, delete, replace or move.")


def _add(resource: Json, path: str, parts: Json) -> None:
    parent, type = _parent(resource, path)
    element = _element(type, str(parts.get("name")), _given(parts))
    value = _content(_given(parts), element.type)
    if element.many:
        _put_in(parent, element.name, None, value)
    elif element.name in parent:
        raise Unprocessable("The element that the patch adds is there already; replace it.")
    else:
        parent[element.name] = value


def _element(type: str, name: str, part: Json) -> Element:
    """The element of this name; for a choice, the one that the type of the value says."""
    elements, name = structure(type).elements if type[:1].isupper() else {}, name.removesuffix("[x]")
    if name in elements:
        return elements[name]
    choices = {each.name: each for each in elements.values() if each.choice == name}
    if (exact := choices.get(name + _kind(part))) is not None:
        return exact
    value = _content(part, "")
    fitting = [each for each in choices.values() if each.primitive and _fits(each, value)]
    if not fitting:
        raise Unprocessable("The patch has an element that R4 has not here.")
    return fitting[0]


def _kind(part: Json) -> str:
    """The type of the value as a choice is named by it: `Quantity`, `DateTime`."""
    return next((key.removeprefix("value") for key in part if key.startswith("value")), "")


def _fits(element: Element, value: Any) -> bool:
    if isinstance(value, bool):
        return element.type == "boolean"
    return isinstance(value, str) and element.type not in ("boolean", "decimal", "integer")


def _parent(resource: Json, path: str) -> tuple[Json, str]:
    found = list(_find(resource, path))
    if len(found) != 1 or not isinstance(found[0][1], dict):
        raise Unprocessable("A path of the patch does not lead to one element.")
    place, value = found[0]
    return value, place.type if place else resource["resourceType"]


def _only(resource: Json, path: str) -> Place:
    found = [place for place, _ in _find(resource, path)]
    if len(found) != 1 or found[0] is None:
        raise Unprocessable("A path of the patch does not lead to one element.")
    return found[0]


def _replace(place: Place, part: Json) -> None:
    value = _content(part, place.type)
    stem = structure(place.owner).elements[place.key].choice
    if place.index is not None:
        place.parent[place.key][place.index] = value
    elif stem and stem + _kind(part) != place.key and stem + _kind(part) in structure(place.owner).elements:
        # A choice becomes one of another type, which is another property of the JSON.
        element = _element(place.owner, stem, part)
        _drop(place.parent, place.key)
        place.parent[element.name] = _content(part, element.type)
    else:
        place.parent[place.key] = value


def _delete(resource: Json, path: str) -> None:
    found = [place for place, _ in _find(resource, path)]
    if len(found) > 1 or found == [None]:
        raise Unprocessable("A path of the patch leads to several elements; delete them one by one.")
    for place in found:
        assert place is not None
        if place.index is not None:
            for members in (place.parent[place.key], place.parent.get(f"_{place.key}", [])):
                del members[place.index : place.index + 1]
        if place.index is None or not place.parent[place.key]:
            _drop(place.parent, place.key)


def _drop(parent: Json, key: str) -> None:
    """An element, with the id and extensions that a primitive has beside its value."""
    del parent[key]
    parent.pop(f"_{key}", None)


def _insert(resource: Json, path: str, parts: Json) -> None:
    head, _, name = path.rpartition(".")
    parent, type = _parent(resource, head)
    element = _element(type, name, _given(parts))
    if not element.many:
        raise Unprocessable("The element that the patch inserts into does not repeat; add or replace it.")
    members: list[Any] = parent.get(name) or parent.get(f"_{name}") or []
    _put_in(parent, name, _index(parts, "index", len(members)), _content(_given(parts), element.type))


def _put_in(parent: Json, name: str, index: int | None, value: Any) -> None:
    """A new member of a list, the last without an index; what others have beside their values stays theirs."""
    beside = _beside(parent, name)
    members = parent.setdefault(name, [None] * len(beside))
    at = len(members) if index is None else index
    members.insert(at, value)
    if beside:
        beside.insert(at, None)


def _beside(parent: Json, name: str) -> list[Any]:
    """The ids and extensions of the primitives of a list (R4, 2.6.2.3), one for each value; empty without any."""
    found = parent.get(f"_{name}")
    if not isinstance(found, list) or not found:
        return []
    if name in parent:
        found += [None] * (len(parent[name]) - len(found))
    return found


def _move(resource: Json, path: str, parts: Json) -> None:
    parent, name = _holder(resource, path)
    members = _members(parent, name)
    source = _index(parts, "source", len(members) - 1)
    destination = _index(parts, "destination", len(members) - 1)
    for each in filter(None, (members, _beside(parent, name))):
        each.insert(destination, each.pop(source))


def _holder(resource: Json, path: str) -> tuple[Json, str]:
    """What has the list that the expression names as a whole, and its name there."""
    head, _, name = path.rpartition(".")
    parent, _ = _parent(resource, head)
    return parent, name


def _members(parent: Json, name: str) -> list[Any]:
    found = parent.get(name)
    if not isinstance(found, list):
        raise Unprocessable("A path of the patch does not lead to a list.")
    return found


def _index(parts: Json, name: str, most: int) -> int:
    index = parts.get(name)
    if isinstance(index, bool) or not isinstance(index, int):
        raise InvalidInput(f"An operation of the patch has no {name}.")
    if not 0 <= index <= most:
        raise Unprocessable("A position of the patch lies outside of the list.")
    return index


def _find(resource: Json, path: str) -> Iterator[tuple[Place | None, Any]]:
    """What an expression leads to; the resource itself has no place."""
    steps = list(_steps(path))
    if not steps or steps[0]["name"] != resource["resourceType"]:
        raise InvalidInput("A path of the patch begins with the type of the resource.")
    found: list[tuple[Place | None, Any]] = [(None, resource)]
    for step in steps[1:]:
        found = list(_stepped(found, step, resource["resourceType"]))
    yield from found


def _steps(path: str) -> Iterator[re.Match[str]]:
    at = 0
    while at < len(path):
        step = _TOKEN.match(path, at)
        if step is None:
            raise InvalidInput("A path of the patch is not one that is understood here.")
        yield step
        at = step.end()


def _stepped(
    found: list[tuple[Place | None, Any]], step: re.Match[str], root: str
) -> Iterator[tuple[Place | None, Any]]:
    if step["index"] is not None:
        yield from found[int(step["index"]) : int(step["index"]) + 1]
    elif step["end"]:
        yield from found[:1] if step["end"] == "first" else found[-1:]
    elif step["where"]:
        yield from (each for each in found if _meets(each[1], step))
    else:
        for place, value in found:
            yield from _below(value, step["name"], place.type if place else root)


def _below(value: Any, name: str, type: str) -> Iterator[tuple[Place | None, Any]]:
    if not isinstance(value, dict) or not type[:1].isupper():
        return
    for element in structure(type).elements.values():
        if name not in (element.name, element.choice) or element.name not in value:
            continue
        member = value[element.name]
        if not isinstance(member, list):
            yield Place(value, element.name, None, element.type, type), member
            continue
        for index, each in enumerate(member):
            yield Place(value, element.name, index, element.type, type), each


def _meets(value: Any, step: re.Match[str]) -> bool:
    member = value.get(step["key"]) if isinstance(value, dict) else None
    if step["text"] is not None:
        return bool(member == re.sub(r"\\(.)", r"\1", step["text"]))
    return str(member).lower() == step["word"]


def _parts(operation: Json) -> Json:
    """The parts of an operation by name; `value` as the part it is, for what it says depends on where it goes."""
    found: Json = {}
    for part in _list(operation.get("part")):
        name = str(part.get("name"))
        found[name] = part if name == "value" else _content(part, "")
    return found


def _content(part: Json, type: str) -> Any:
    """The JSON that a part stands for in an element of this type."""
    if "part" in part:  # an element without a data type of its own: its children are parts
        made: Json = {}
        for each in _list(part["part"]):
            element = _element(type, str(each.get("name")), each)
            value = _content(each, element.type)
            if element.many:
                made.setdefault(element.name, []).append(value)
            else:
                made[element.name] = value
        return made
    if "resource" in part:
        return part["resource"]
    return next((value for key, value in part.items() if key.startswith("value")), None)


def _given(parts: Json) -> Json:
    part: Json | None = parts.get("value")
    if part is None or not ("part" in part or "resource" in part or _kind(part)):
        raise InvalidInput("An operation of the patch has no value.")
    return part


def _list(value: Any) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise InvalidInput("The Parameters of the patch cannot be read.")
    return value
