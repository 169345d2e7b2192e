"""What an object without pixels says, as text that people read: plans and structures of radiotherapy, and all others.

DICOM PS3.18, 10.4.1.1.3 (rendered); PS3.3, A.19 (RT Structure Set), A.20 (RT Plan). First what matters of its kind,
then its attributes by name. Pure. Every value is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

from pydicom.datadict import dictionary_description
from pydicom.uid import UID_dictionary

from .description import model_of
from .dicom_json import Json
from .sr_text import FIT, STYLE, facts

Table = tuple[str, Sequence[str], list[list[str]]]  # caption, heads, rows

_MOST = 5000  # lines
_DEEPEST = 12
_LONGEST = 400  # characters of a value
_STYLE = (
    STYLE
    + "table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid;padding:.2rem .6rem;text-align:left}"
)


def html(metadata: bytes) -> str:
    """The object as a page."""
    model = model_of(metadata)
    title = escape(title_of(model))
    said = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts(model))
    tables = "".join(_as_html(table) for table in _tables(model))
    lines = "".join(
        f'<dt style="margin-left:{depth * 1.25}rem">{escape(name)}</dt>'
        + (f'<dd style="margin-left:{(depth + 1) * 1.25}rem">{escape(value)}</dd>' if value else "")
        for depth, name, value in _lines(model)
    )
    return (
        f'<!doctype html><html><head><meta charset="utf-8">{FIT}<title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><header><h1>{title}</h1><dl>{said}</dl></header><main>{tables}"
        f"<details><summary>Attributes</summary><dl>{lines}</dl></details></main></body></html>"
    )


def plain(metadata: bytes) -> str:
    """The object line by line."""
    model = model_of(metadata)
    lines = [title_of(model), "", *(f"{name}: {value}" for name, value in facts(model)), ""]
    for caption, heads, rows in _tables(model):
        lines += [caption, "\t".join(heads), *("\t".join(row) for row in rows), ""]
    lines += ["  " * depth + (f"{name}: {value}" if value else name) for depth, name, value in _lines(model)]
    return "\n".join(lines) + "\n"


def title_of(model: Json) -> str:
    """What kind of object it is."""
    uid = _text(model, "00080016")
    return (UID_dictionary.get(uid) or (uid or "Object",))[0].removesuffix(" Storage")


def _as_html(table: Table) -> str:
    caption, heads, rows = table
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _tables(model: Json) -> list[Table]:
    found = (make(model) for make in (_structures, _prescriptions, _fractions, _beams))
    return [table for table in found if table[2]]


def _structures(model: Json) -> Table:
    """PS3.3, C.8.8.5, C.8.8.6, C.8.8.8: each region with its kind and how many contours it has."""
    contours = {_text(item, "30060084"): len(_items(item, "30060040")) for item in _items(model, "30060039")}
    kinds = {_text(item, "30060084"): _text(item, "300600A4") for item in _items(model, "30060080")}
    rows = [
        [number, _text(item, "30060026"), kinds.get(number, ""), str(contours.get(number, 0))]
        for item in _items(model, "30060020")
        if (number := _text(item, "30060022"))
    ]
    return "Regions of interest", ("Number", "Name", "Kind", "Contours"), rows


def _prescriptions(model: Json) -> Table:
    tags = ("300A0012", "300A0014", "300A0016", "300A0020", "300A0026")
    heads = ("Number", "Structure", "Description", "Type", "Prescription dose (Gy)")
    return "Dose references", heads, _rows(model, "300A0010", tags)


def _fractions(model: Json) -> Table:
    tags = ("300A0071", "300A0078", "300A0080", "300A00A0")
    return "Fraction groups", ("Number", "Fractions", "Beams", "Applications"), _rows(model, "300A0070", tags)


def _beams(model: Json) -> Table:
    tags = ("300A00C0", "300A00C2", "300A00C4", "300A00C6", "300A00CE", "300A00B2", "300A0110")
    heads = ("Number", "Name", "Type", "Radiation", "Delivery", "Machine", "Control points")
    return "Beams", heads, _rows(model, "300A00B0", tags) or _rows(model, "300A03A2", tags)


def _rows(model: Json, sequence: str, tags: Sequence[str]) -> list[list[str]]:
    return [[_text(item, tag) for tag in tags] for item in _items(model, sequence)]


def _lines(model: Json) -> Iterator[tuple[int, str, str]]:
    """Depth, name and value of each attribute, sequences followed by their items."""
    left = _MOST
    waiting: list[tuple[int, Iterator[tuple[str, Json]]]] = [(0, iter(model.items()))]
    while waiting and left:
        depth, elements = waiting[-1]
        found = next(elements, None)
        if found is None:
            waiting.pop()
            continue
        left -= 1
        tag, element = found
        if tag.startswith("#"):  # an item of a sequence
            yield depth, f"{tag[1:]}.", ""
            waiting.append((depth + 1, iter(element.items())))
            continue
        yield depth, _named(tag), _shown(element)
        if element.get("vr") == "SQ" and len(waiting) < _DEEPEST:
            items = [value for value in element.get("Value") or [] if isinstance(value, dict)]
            waiting.append((depth + 1, iter([(f"#{at}", item) for at, item in enumerate(items, 1)])))


def _named(tag: str) -> str:
    try:
        return str(dictionary_description(int(tag, 16)))
    except (KeyError, ValueError):
        return f"({tag[:4]},{tag[4:]})"


def _shown(element: Json) -> str:
    values = element.get("Value") or []
    if element.get("vr") == "SQ":
        return ""
    if "BulkDataURI" in element or "InlineBinary" in element:
        return "(binary)"
    texts = [
        " = ".join(map(str, each.values())) if isinstance(each, dict) else _plain(each)
        for each in values[:200]
    ]
    text = " \\ ".join(texts)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def _plain(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _text(model: Json, tag: str) -> str:
    value = next(iter((model.get(tag) or {}).get("Value") or []), None)
    return "" if isinstance(value, dict) else _plain(value)


def _items(model: Json, tag: str) -> list[Json]:
    return [value for value in (model.get(tag) or {}).get("Value") or [] if isinstance(value, dict)]


TYPES: dict[str, Callable[[bytes], str]] = {"text/html": html, "text/plain": plain}
