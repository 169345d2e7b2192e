"""JSON Patch: a list of operations on a document, all or none.

RFC 6902, with JSON Pointer (RFC 6901).
"""

from __future__ import annotations

import copy
from typing import Any

from server.core.errors import InvalidInput, Unprocessable

MOST_OPERATIONS = 500
_MISSING = object()


def apply(document: Any, operations: Any) -> Any:
    """The document after all operations. Raises InvalidInput for what is no patch, Unprocessable for a path that
    leads nowhere or a `test` that fails."""
    if not isinstance(operations, list) or len(operations) > MOST_OPERATIONS:
        raise InvalidInput(f"A JSON Patch is a list of at most {MOST_OPERATIONS} operations.")
    result = copy.deepcopy(document)
    for operation in operations:
        if not isinstance(operation, dict):
            raise InvalidInput("Each operation of a JSON Patch is an object.")
        result = _one(result, operation)
    return result


def _one(document: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _add(document, path, copy.deepcopy(_value(operation)))
        case "remove":
            return _remove(document, path)
        case "replace":
            _get(document, path)
            return _replace(document, path, copy.deepcopy(_value(operation)))
        case "move":
            source = _pointer(operation.get("from"))
            if path[: len(source)] == source and path != source:
                raise Unprocessable("An element cannot move into itself.")
            value = _get(document, source)
            return _add(_remove(document, source), path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_get(document, _pointer(operation.get("from")))))
        case "test":
            if not _same(_get(document, path), _value(operation)):
                raise Unprocessable("A test of the patch does not hold.")
            return document
    raise InvalidInput("The op of a JSON Patch is add, remove, replace, move, copy or test.")


def _value(operation: dict[str, Any]) -> Any:
    value = operation.get("value", _MISSING)
    if value is _MISSING:
        raise InvalidInput("The operation of a JSON Patch has no value.")
    return value


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise InvalidInput("A path of a JSON Patch is a JSON Pointer, as in /name/0/family.")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _get(document: Any, path: list[str]) -> Any:
    value = document
    for part in path:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list):
            value = value[_place(part, len(value) - 1)]
        else:
            raise _nowhere()
    return value


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    if isinstance(parent, dict):
        parent[path[-1]] = value
    elif isinstance(parent, list):
        place = len(parent) if path[-1] == "-" else _place(path[-1], len(parent))
        parent.insert(place, value)
    else:
        raise _nowhere()
    return document


def _replace(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    parent[path[-1] if isinstance(parent, dict) else int(path[-1])] = value
    return document


def _remove(document: Any, path: list[str]) -> Any:
    if not path:
        raise Unprocessable("The whole resource cannot be removed by a patch.")
    _get(document, path)
    parent = _get(document, path[:-1])
    if isinstance(parent, dict):
        del parent[path[-1]]
    else:
        del parent[int(path[-1])]
    return document


def _place(part: str, last: int) -> int:
    is_index = part.isascii() and part.isdigit() and (part == "0" or part[0] != "0") and len(part) < 9
    if not is_index or int(part) > last:
        raise _nowhere()
    return int(part)


def _same(one: Any, other: Any) -> bool:
    """JSON equality: true is not 1 (RFC 6902, 4.6)."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _nowhere() -> Unprocessable:
    return Unprocessable("A path of the patch leads nowhere.")
