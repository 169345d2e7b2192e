"""Everything that a version of a resource is found by."""

from __future__ import annotations

from typing import Any

from server.access.filters import mark
from server.access.scopes import FILTERS

from . import document, text_index
from .document import Json
from .index import Rows, happened, happened_end, rows_of
from .registry import resource_type


def found_by(whole: Json) -> dict[str, Any]:
    """What is written beside its bytes, as the statements that store a version take it."""
    type = resource_type(whole["resourceType"])
    rows = rows_of(whole, type)
    return {
        **rows.values(),
        "narrative": text_index.narrative(whole),
        "content": text_index.content(whole),
        "scoped": _scoped(type.name, rows),
        "content_hash": document.content_hash(whole),
        "happened": happened(whole, type),
        "happened_end": happened_end(whole, type),
    }


def _scoped(type: str, rows: Rows) -> list[str]:
    """The codes that scopes narrow this type by, with and without their systems."""
    names = {f"{type}.{name}": name for name in FILTERS.get(type, ())}
    found = [(names[param], code, system) for param, code, system in rows.token if param in names]
    return sorted({mark(*one) for one in found} | {mark(name, code) for name, code, _ in found})
