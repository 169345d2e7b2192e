"""DICOM JSON as the native DICOM model in XML, and back.

DICOM PS3.19, A.1 (Native DICOM Model); PS3.18, F (DICOM JSON Model).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import keyword_for_tag

Json = Mapping[str, Any]

_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">'
)


def to_xml(dataset: Json) -> bytes:
    """One data set as a document."""
    return (_HEAD + _attributes(dataset) + "</NativeDicomModel>").encode("utf-8", "replace")


def _attributes(dataset: Json) -> str:
    return "".join(_attribute(tag, element) for tag, element in dataset.items())


def _attribute(tag: str, element: Json) -> str:
    keyword = keyword_for_tag(int(tag, 16))
    named = f" keyword={quoteattr(keyword)}" if keyword else ""
    return f'<DicomAttribute tag="{tag}" vr="{element["vr"]}"{named}>{_content(element)}</DicomAttribute>'


def _content(element: Json) -> str:
    if "BulkDataURI" in element:
        return f"<BulkData uri={quoteattr(element['BulkDataURI'])}/>"
    if "InlineBinary" in element:
        return f"<InlineBinary>{element['InlineBinary']}</InlineBinary>"
    values: Sequence[Any] = element.get("Value", ())
    return "".join(_value(element["vr"], number, value) for number, value in enumerate(values, 1))


def _value(vr: str, number: int, value: Any) -> str:
    if vr == "SQ":
        return f'<Item number="{number}">{_attributes(value or {})}</Item>'
    if value is None:
        return ""
    if vr == "PN":
        groups = value if isinstance(value, Mapping) else {"Alphabetic": str(value)}
        inner = "".join(f"<{group}>{_name(text)}</{group}>" for group, text in groups.items())
        return f'<PersonName number="{number}">{inner}</PersonName>'
    return f'<Value number="{number}">{escape(_clean(str(value)))}</Value>'


def _name(text: str) -> str:
    parts = zip(_COMPONENTS, text.split("^"), strict=False)
    return "".join(f"<{name}>{escape(_clean(part))}</{name}>" for name, part in parts if part)


def _clean(text: str) -> str:
    """Without the control characters that XML 1.0 cannot hold, escaped or not."""
    return "".join(each for each in text if each >= " " or each in "\t\n\r")


class _Plain(ElementTree.TreeBuilder):
    """A tree without a document type."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """What the parser calls before it reads anything of the declaration."""
        raise ValueError("a document type declaration is not accepted")


def from_xml(document: bytes) -> list[dict[str, Any]]:
    """The data sets of a document; raises ValueError when it is none.

    Entities are not expanded: a document type declaration is refused as the parser meets it, in any encoding.
    """
    parser = ElementTree.XMLParser(target=_Plain())  # noqa: S314 - without entities it cannot explode
    try:
        parser.feed(document)
        root = parser.close()
    except (ElementTree.ParseError, LookupError) as exc:  # LookupError: an encoding that nobody knows
        raise ValueError("not well-formed") from exc
    models = [root] if _local(root) == "NativeDicomModel" else list(root)
    return [_dataset(model) for model in models]


def _dataset(parent: ElementTree.Element) -> dict[str, Any]:
    return {
        each.get("tag", "").upper(): _element(each) for each in parent if _local(each) == "DicomAttribute"
    }


def _element(node: ElementTree.Element) -> dict[str, Any]:
    vr = node.get("vr", "UN")
    for child in node:
        if _local(child) == "BulkData":
            return {"vr": vr, "BulkDataURI": child.get("uri") or child.get("uuid", "")}
        if _local(child) == "InlineBinary":
            return {"vr": vr, "InlineBinary": (child.text or "").strip()}
    values = [_read_value(vr, child) for child in node]
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def _read_value(vr: str, node: ElementTree.Element) -> Any:
    if vr == "SQ":
        return _dataset(node)
    if vr == "PN":
        return {_local(group): _read_name(group) for group in node}
    text = node.text or ""
    if vr in ("US", "SS", "UL", "SL", "UV", "SV", "IS"):
        return int(text)
    return float(text) if vr in ("FL", "FD", "DS") else text


def _read_name(group: ElementTree.Element) -> str:
    parts = {_local(part): part.text or "" for part in group}
    return "^".join(parts.get(name, "") for name in _COMPONENTS).rstrip("^")


def _local(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]
