"""Resources as XML, and back: the same values, in the order of the definitions.

FHIR R4, 2.6.1 (XML): primitives are `value` attributes, `id` and an extension's `url` are attributes, narrative is
XHTML as it stands, a contained resource has an element of its type. Values are kept as text on the way, so that a
decimal or a date comes out as it went in. The parser takes no document type, and so no entities.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from fhir.resources.R4B import get_fhir_model_class

from server.core.errors import InvalidInput
from server.records.document import FORBIDDEN_TEXT, MAX_DEPTH, Json, Number
from server.records.structure import Element, Structure, is_r4_resource, structure

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
_ESCAPED = re.compile(r'[&<>"\n\r\t]')
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,60})(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_NUMBERS = frozenset({"integer", "unsignedInt", "positiveInt"})


def dump(resource: Json) -> bytes:
    """The resource as an XML document."""
    parts = ['<?xml version="1.0" encoding="UTF-8"?>']
    parts += _resource(resource, f' xmlns="{FHIR}"')
    return "".join(parts).encode()


def _resource(resource: Json, attributes: str = "") -> Iterator[str]:
    name = resource["resourceType"]
    yield f"<{name}{attributes}>"
    yield from _members({k: v for k, v in resource.items() if k != "resourceType"}, structure(name))
    yield f"</{name}>"


def _members(value: Json, type: Structure) -> Iterator[str]:
    """The elements of an object, in order; a primitive and its extensions are one element."""
    names = dict.fromkeys(key.removeprefix("_") for key in value)
    order = _order(type.name)
    for name in sorted(names, key=lambda each: order.get(each, len(order))):
        element = type.elements.get(name)
        if element is None or _is_attribute(type, name):
            continue
        yield from _element(name, value.get(name), value.get(f"_{name}"), element)


def _element(name: str, value: Any, beside: Any, element: Element) -> Iterator[str]:
    if not element.many:
        yield from _one(name, value, beside, element)
        return
    values, extras = value or [], beside or []
    for place in range(max(len(values), len(extras))):
        one = values[place] if place < len(values) else None
        extra = extras[place] if place < len(extras) else None
        yield from _one(name, one, extra, element)


def _one(name: str, value: Any, beside: Any, element: Element) -> Iterator[str]:
    if element.type == "xhtml":
        yield str(value)
    elif element.primitive:
        extra = beside if isinstance(beside, dict) else {}
        shown = "" if value is None else f' value="{_text(value)}"'
        type = structure("FHIRPrimitiveExtension")
        inner = "".join(_members(extra, type))
        opened = f"<{name}{_attributes(extra, type)}{shown}"
        yield f"{opened}>{inner}</{name}>" if inner else f"{opened}/>"
    elif element.type == "Resource":
        yield f"<{name}>"
        yield from _resource(value)
        yield f"</{name}>"
    else:
        type = structure(element.type)
        yield f"<{name}{_attributes(value, type)}>"
        yield from _members(value, type)
        yield f"</{name}>"


def _attributes(value: Json, type: Structure) -> str:
    names = (name for name in ("id", "url") if name in value and _is_attribute(type, name))
    return "".join(f' {name}="{_text(value[name])}"' for name in names)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value.text if isinstance(value, Number) else str(value)
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], text)


@cache
def _order(name: str) -> dict[str, int]:
    sequence = get_fhir_model_class(name).elements_sequence()
    return {each: place for place, each in enumerate(sequence)}


def _is_attribute(type: Structure, name: str) -> bool:
    if name == "id":
        return not type.resource
    return name == "url" and type.name == "Extension"


def parse(body: bytes) -> Json:
    """The resource in an XML document, as JSON has it. Raises InvalidInput."""
    root = _tree(body)
    return _resource_in(root)


def _tree(body: bytes) -> ElementTree.Element:
    """The elements; no document type, no processing instructions, not too deep."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise InvalidInput("The XML is nested too deeply.")
        builder.start(_qualified(name), {_qualified(n): v for n, v in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_qualified(name))

    def refuse(*_: object) -> None:
        raise InvalidInput("The XML may have no document type and no processing instructions.")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ProcessingInstructionHandler = refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise InvalidInput("The body is not well-formed XML.") from error
    return builder.close()


def _qualified(name: str) -> str:
    return f"{{{name}" if "}" in name else name


def _resource_in(node: ElementTree.Element) -> Json:
    name = _local(node, FHIR)
    if not is_r4_resource(name):
        raise InvalidInput("The XML is not a FHIR resource.")
    return {"resourceType": name, **_object_in(node, structure(name), name)}


def _object_in(node: ElementTree.Element, type: Structure, at: str) -> Json:
    found: Json = {}
    for name, text in node.attrib.items():
        if name.startswith(f"{{{_INSTANCE}}}"):
            continue
        if not _is_attribute(type, name) or type.resource:
            raise InvalidInput("An XML attribute is not one that FHIR has here.", expression=at)
        found[name] = _clean(text, at)
    _require_no_text(node, at)
    for child in node:
        _take(found, child, type, at)
    return found


def _take(found: Json, child: ElementTree.Element, type: Structure, at: str) -> None:
    name = "div" if child.tag == f"{{{XHTML}}}div" else _local(child, FHIR)
    element, where = type.elements.get(name), f"{at}.{name}"
    if element is None or _is_attribute(type, name):
        raise InvalidInput("R4 has no element of this name here.", expression=where)
    value, beside = _value_in(child, element, where)
    if element.many:
        _append(found, name, value, beside, primitive=element.primitive)
        return
    if name in found or f"_{name}" in found:
        raise InvalidInput("The element may come once only.", expression=where)
    if value is not None:
        found[name] = value
    if beside:
        found[f"_{name}"] = beside


def _append(found: Json, name: str, value: Any, beside: Json | None, *, primitive: bool) -> None:
    """FHIR R4, 2.6.2.3: a list of values and one of their extensions, in step."""
    if not primitive:
        found.setdefault(name, []).append(value)
        return
    count = max(len(found.get(name, [])), len(found.get(f"_{name}", [])))
    if value is not None or name in found:
        found.setdefault(name, [None] * count).append(value)
    if beside or f"_{name}" in found:
        found.setdefault(f"_{name}", [None] * count).append(beside or None)


def _value_in(node: ElementTree.Element, element: Element, at: str) -> tuple[Any, Json | None]:
    if element.type == "xhtml":
        return _narrative(node), None
    if element.type == "Resource":
        _require_no_text(node, at)
        if len(node) != 1 or node.attrib:
            raise InvalidInput("One resource is expected here.", expression=at)
        return _resource_in(node[0]), None
    if not element.primitive:
        return _object_in(node, structure(element.type), at), None
    text = node.attrib.pop("value", None)
    beside = _object_in(node, structure("FHIRPrimitiveExtension"), at)
    return (None if text is None else _primitive(text, element.type, at)), beside


def _primitive(text: str, type: str, at: str) -> Any:
    text = _clean(text, at)
    if type == "boolean":
        return {"true": True, "false": False}.get(text.strip(), text)
    if type in _NUMBERS:
        return int(text) if _INTEGER.fullmatch(text.strip().lstrip("+")) else text
    if type == "decimal":
        return Number(text.strip()) if _DECIMAL.fullmatch(text.strip()) else text
    return text


def _clean(text: str, at: str) -> str:
    if FORBIDDEN_TEXT.search(text):
        raise InvalidInput("A text contains a control character.", expression=at)
    return text


def _require_no_text(node: ElementTree.Element, at: str) -> None:
    if (node.text or "").strip() or any((child.tail or "").strip() for child in node):
        raise InvalidInput("The XML has text where only elements may be.", expression=at)


def _narrative(node: ElementTree.Element) -> str:
    """The div as text, its namespace said once."""
    for each in node.iter():
        if not str(each.tag).startswith(f"{{{XHTML}}}"):
            raise InvalidInput("The narrative must be XHTML.")
        each.tag = str(each.tag).removeprefix(f"{{{XHTML}}}")
    node.tail = None
    node.attrib = {"xmlns": XHTML, **node.attrib}
    return ElementTree.tostring(node, encoding="unicode", short_empty_elements=True)


def _local(node: ElementTree.Element, namespace: str) -> str:
    head, _, name = str(node.tag).rpartition("}")
    if head != f"{{{namespace}":
        raise InvalidInput("The XML has an element of another namespace.")
    return name
