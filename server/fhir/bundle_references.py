"""References between the entries of a transaction, and conditional references.

FHIR R4, 3.1.0.11.2: what entries will be called is decided before any is written; references, uri, url, oid and
uuid elements and links in narratives follow, canonicals do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from server.core.errors import InvalidInput, PreconditionFailed
from server.core.ids import new_id
from server.records.document import Json

from . import conditional
from .bundle_entries import Entry
from .call import Call
from .format import Answer
from .writing import Prefer, written

_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?(.+)")
_CANONICAL = frozenset({"profile", "instantiatesCanonical", "instantiates", "valueCanonical", "fullUrl"})
MOST_CONDITIONAL = 100


@dataclass
class Known:
    """What the entries are called: ids by place, addresses by fullUrl, and what conditional creates found."""

    ids: dict[int, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    existing: dict[int, Answer] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)

    def changes(self, target: str, place: int) -> None:
        """Note that an entry changes a resource; raises InvalidInput where another one does too."""
        if self.changed.setdefault(target, place) != place:
            raise InvalidInput(
                "Two entries of the transaction change the same resource.",
                expression=f"Bundle.entry[{place}]",
            )


async def identities(call: Call, entries: Sequence[Entry]) -> Known:
    """Decide what each entry is called; conditional creates and updates look first."""
    known = Known()
    for one in entries:
        if one.method == "POST" and one.resource is not None and len(one.path) == 1:
            await _of_create(call, one, known)
        elif one.method == "PUT":
            await _of_update(call, one, known)
        elif one.method in ("PATCH", "DELETE"):
            for target in await _ended(call, one):
                known.changes(target, one.place)
    return known


async def _ended(call: Call, one: Entry) -> list[str]:
    """What a patch or delete is about, by its id or by its criteria."""
    if one.id or not one.query:
        return [one.target] if one.id else []
    return [f"{one.type}/{found.id}" for found in await conditional.matches(call, one.type, one.query)]


async def _of_create(call: Call, one: Entry, known: Known) -> None:
    id = new_id()
    if one.if_none_exist is not None:
        matches = await conditional.matches(call, one.type, one.if_none_exist)
        if len(matches) > 1:
            raise PreconditionFailed("If-None-Exist matches more than one resource.")
        if matches:
            id = matches[0].id
            stored = conditional.as_stored(matches[0])
            known.existing[one.place] = written(Prefer(), stored, 200, call.base, found=True)
    known.ids[one.place] = id
    if one.full_url:
        known.addresses[one.full_url] = f"{one.type}/{id}"


async def _of_update(call: Call, one: Entry, known: Known) -> None:
    id = one.id
    if not id and one.query:
        matches = await conditional.matches(call, one.type, one.query)
        id = matches[0].id if len(matches) == 1 else str((one.resource or {}).get("id") or "")
        if not matches and not id:
            id = known.ids[one.place] = new_id()
    if id:
        known.changes(f"{one.type}/{id}", one.place)
    if one.full_url and id:
        known.addresses[one.full_url] = f"{one.type}/{id}"


async def linked(call: Call, one: Entry, known: Known) -> Entry:
    """The entry with its references led to where they will lie."""
    if one.resource is None:
        return one
    addresses = dict(known.addresses)
    wanted = {
        text for text in _references(one.resource) if text not in addresses and _CONDITIONAL.fullmatch(text)
    }
    if len(wanted) > MOST_CONDITIONAL:
        raise InvalidInput(f"An entry has more than {MOST_CONDITIONAL} conditional references.")
    for text in sorted(wanted):
        addresses[text] = await _found(call, text, one.place)
    if not addresses:
        return one
    resource: Json = _rewritten(one.resource, addresses)
    return replace(one, resource=resource)


async def _found(call: Call, text: str, place: int) -> str:
    """What a conditional reference leads to: exactly one resource, or the transaction fails."""
    found = _CONDITIONAL.fullmatch(text)
    assert found is not None
    matches = await conditional.matches(call, found[1], found[2])
    if len(matches) != 1:
        raise PreconditionFailed(
            "A conditional reference does not lead to exactly one resource.",
            expression=f"Bundle.entry[{place}]",
        )
    return f"{found[1]}/{matches[0].id}"


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [text for member in value.values() for text in _references(member)]
    if isinstance(value, list):
        return [text for member in value for text in _references(member)]
    return []


def _rewritten(value: Any, addresses: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: member if key in _CANONICAL else _text(key, member, addresses)
            for key, member in value.items()
        }
    if isinstance(value, list):
        return [_rewritten(member, addresses) for member in value]
    return addresses.get(value, value) if isinstance(value, str) else value


def _text(key: str, member: Any, addresses: Mapping[str, str]) -> Any:
    if key == "div" and isinstance(member, str):
        for old, new in addresses.items():
            member = re.sub(rf"""((?:href|src)=["']){re.escape(old)}(["'])""", rf"\g<1>{new}\g<2>", member)
        return member
    if key == "value" and isinstance(member, str):
        return member  # an Identifier's value is a name of its own
    return _rewritten(member, addresses)
