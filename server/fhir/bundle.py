"""Bundles as bytes: the stored JSON of each resource is put in as it is.

FHIR R4, Bundle; 3.1.1.2 (searchset: total, links, search.mode).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from server.core import clock
from server.core.ids import new_id
from server.records.document import Json, dump, instant


def entry(full_url: str, json: bytes, extra: Mapping[str, Json]) -> bytes:
    """One entry; `extra` holds its search, request or response."""
    parts = [b'{"fullUrl":', dump(full_url)] if full_url else [b"{"]
    comma = b"," if full_url else b""
    if json:
        parts += [comma, b'"resource":', json]
        comma = b","
    for name, value in extra.items():
        parts += [comma, dump(name), b":", dump(value)]
        comma = b","
    return b"".join([*parts, b"}"])


def result(base: str, type: str, id: str, json: bytes, mode: str) -> bytes:
    """An entry of a search: `mode` is why it is there (FHIR R4, Bundle.entry.search.mode)."""
    return b'{"fullUrl":%b%b","resource":%b%b' % (_address_of(base, type), id.encode(), json, _ENDS[mode])


_ENDS = {mode: b',"search":{"mode":"%b"}}' % mode.encode() for mode in ("match", "include", "outcome")}


@lru_cache(maxsize=512)
def _address_of(base: str, type: str) -> bytes:
    """The JSON text of an address as far as the id, of which none needs an escape (R4, datatypes: id)."""
    return dump(f"{base}/{type}/")[:-1]


def bundle(
    type: str,
    entries: Sequence[bytes],
    *,
    total: int | None = None,
    links: Iterable[tuple[str, str]] = (),
) -> bytes:
    """The whole Bundle."""
    now = instant(clock.now())
    head: Json = {"resourceType": "Bundle", "id": new_id(), "type": type, "timestamp": now}
    if total is not None:
        head["total"] = total
    if shown := [{"relation": relation, "url": url} for relation, url in links]:
        head["link"] = shown
    if not entries:
        return dump(head)
    return dump(head)[:-1] + b',"entry":[' + b",".join(entries) + b"]}"
