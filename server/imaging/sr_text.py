"""Structured reports as text that people read: HTML, or plain.

DICOM PS3.3, C.17.3 (SR Document Content: the tree), C.17.2 (SR Document General); PS3.18, Table 8.7.4-1 (text/html and
text/plain of SR). Pure. Every value is escaped, nothing of the object is taken for markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Any

import orjson

from .dicom_json import ROOT, Json

_STORAGE = "1.2.840.10008.5.1.4.1.1.88."
_UID = re.compile(r"[0-9.]{1,64}")
# Value types whose value is one attribute.
_TEXTS = {
    "TEXT": "0040A160",
    "DATE": "0040A121",
    "TIME": "0040A122",
    "DATETIME": "0040A120",
    "UIDREF": "0040A124",
    "TCOORD": "0040A130",
}
_DEEPEST = 60
_MOST = 20_000  # items
STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:1.5rem auto;padding:0 1rem;"
    "color-scheme:light dark}dt{font-weight:600}dd{margin:0 0 .25rem 1.25rem;white-space:pre-wrap;"
    "overflow-wrap:anywhere}dl{margin:.25rem 0}header{border-bottom:1px solid;margin-bottom:1rem}"
)
FIT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
# What a browser may do with it: show it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-top-navigation-by-user-activation"


def is_report(sop_class: str) -> bool:
    """Whether it is a structured report, key object selections too."""
    return sop_class.startswith(_STORAGE)


def html(metadata: bytes) -> str:
    """The report as a page."""
    model = _model(metadata)
    title = escape(_meaning(model, "0040A043") or "Report")
    said = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts(model))
    places = _places(model)
    body = "".join(_as_html(depth, each, places) for depth, each in _walk(model))
    return (
        f'<!doctype html><html><head><meta charset="utf-8">{FIT}<title>{title}</title><style>{STYLE}</style></head>'
        f"<body><header><h1>{title}</h1><dl>{said}</dl></header><main>{body}</main></body></html>"
    )


def plain(metadata: bytes) -> str:
    """The report line by line."""
    model = _model(metadata)
    lines = [_meaning(model, "0040A043") or "Report", ""]
    lines += [f"{name}: {value}" for name, value in facts(model)]
    lines.append("")
    for depth, item in _walk(model):
        name, value = _meaning(item, "0040A043"), _value(item)
        lines.append("  " * depth + (f"{name}: {value}" if name and value else name or value))
    return "\n".join(lines) + "\n"


def _model(metadata: bytes) -> Json:
    model: Json = orjson.loads(metadata.replace(ROOT, b""))
    return model


def facts(model: Json) -> Iterator[tuple[str, str]]:
    """Whose report it is, when and by whom."""
    verified = [
        " ".join(filter(None, (_name(item, "0040A075"), _text(item, "0040A027"), _text(item, "0040A030"))))
        for item in _items(model, "0040A073")
    ]
    found = (
        ("Patient", _name(model, "00100010")),
        ("Patient ID", _text(model, "00100020")),
        ("Birth date", _text(model, "00100030")),
        ("Study", _text(model, "00081030")),
        ("Study date", _text(model, "00080020")),
        ("Report date", _text(model, "00080023")),
        ("State", " ".join(filter(None, (_text(model, "0040A491"), _text(model, "0040A493"))))),
        ("Verified by", "; ".join(verified)),
    )
    yield from ((name, value) for name, value in found if value)


def _walk(model: Json) -> Iterator[tuple[int, Json]]:
    """The items of the tree in the order of reading, with their depth."""
    waiting = [(0, item) for item in reversed(_items(model, "0040A730"))]
    seen = 0
    while waiting and seen < _MOST:
        depth, item = waiting.pop()
        seen += 1
        yield depth, item
        if depth < _DEEPEST:
            waiting += [(depth + 1, below) for below in reversed(_items(item, "0040A730"))]


def _as_html(depth: int, item: Json, places: dict[str, str]) -> str:
    name, value = escape(_meaning(item, "0040A043")), escape(_value(item))
    link = next((places[uid] for uid in _referenced(item) if uid in places), None)
    if link:
        value = f'<a href="{link}">{value}</a>'
    indent = f' style="margin-left:{min(depth, 12) * 1.25}rem"' if depth else ""
    if _text(item, "0040A040") == "CONTAINER":
        level = min(depth + 2, 6)
        return f"<h{level}{indent}>{name or value}</h{level}>"
    return f"<dl{indent}><dt>{name}</dt><dd>{value}</dd></dl>"


def _value(item: Json) -> str:
    """What an item says, by its value type (PS3.3, C.17.3.2)."""
    kind = _text(item, "0040A040")
    if kind in _TEXTS:
        return _text(item, _TEXTS[kind])
    match kind:
        case "CODE":
            return _meaning(item, "0040A168")
        case "NUM":
            return _number(item)
        case "PNAME":
            return _name(item, "0040A123")
        case "IMAGE" | "COMPOSITE" | "WAVEFORM":
            return " ".join([kind.capitalize(), *_referenced(item)])
        case "SCOORD" | "SCOORD3D":
            points = (n for n in _values(item, "00700022") if isinstance(n, int | float))
            return f"{_text(item, '00700023')} {' '.join(f'{n:g}' for n in points)}"
        case _:
            return ""


def _number(item: Json) -> str:
    found = []
    for measured in _items(item, "0040A300"):
        unit = next(iter(_items(measured, "004008EA")), {})
        found.append(f"{_text(measured, '0040A30A')} {_text(unit, '00080100')}".strip())
    return ", ".join(found) or _meaning(item, "0040A301")


def _referenced(item: Json) -> list[str]:
    uids = (_text(each, "00081155") for each in _items(item, "00081199"))
    return [uid for uid in uids if uid]


def _places(model: Json) -> dict[str, str]:
    """Where the pictures of the evidence are, relative to this report's own."""
    found = {}
    for tag in ("0040A375", "0040A385"):
        for study in _items(model, tag):
            if _text(study, "0020000D") != _text(model, "0020000D"):
                continue
            for series in _items(study, "00081115"):
                for image in _items(series, "00081199"):
                    uids = _text(series, "0020000E"), _text(image, "00081155")
                    if all(_UID.fullmatch(uid) for uid in uids):
                        found[uids[1]] = f"../../../{uids[0]}/instances/{uids[1]}/rendered"
    return found


def _meaning(model: Json, tag: str) -> str:
    """A code in words, or what it has in their place."""
    code = next(iter(_items(model, tag)), {})
    return _text(code, "00080104") or _text(code, "00080100")


def _name(model: Json, tag: str) -> str:
    value = next(iter(_values(model, tag)), None)
    groups = value if isinstance(value, dict) else {}
    return " / ".join(str(group).replace("^", " ").strip() for group in groups.values() if group)


def _text(model: Json, tag: str) -> str:
    values = [value for value in _values(model, tag) if not isinstance(value, dict)]
    return " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _items(model: Json, tag: str) -> list[Json]:
    return [value for value in _values(model, tag) if isinstance(value, dict)]


def _values(model: Json, tag: str) -> list[Any]:
    return [value for value in (model.get(tag) or {}).get("Value") or [] if value is not None]
