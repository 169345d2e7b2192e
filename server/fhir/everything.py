"""Patient/$everything: all of a patient's record that the caller may read.

FHIR R4, Patient-everything (operation): `start`, `end`, `_since`, `_type`, `_count`. Each type through the gate with
its own scope; types without one are left out. Practitioners and organizations that are referred to come along.
"""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_READ, Action, Verb
from server.core.errors import InsufficientScope, InvalidInput
from server.records import search
from server.records.conditions import Condition, Group
from server.records.criteria import condition
from server.records.registry import Kind, ResourceType, resource_type, types
from server.records.search import Found, Query
from server.records.search_references import Searching
from server.records.search_values import dated

from . import binary, studies, trail
from .bundle import bundle, entry
from .call import REGISTER, Call
from .export_params import from_parameters
from .format import Answer, resource_of, respond
from .include import included
from .paging import Position, links_of, open_page
from .read import read
from .search_params import MOST_COUNT, Include, Pairs, pairs_of

DEFAULT_COUNT = 100
MOST_BODY = 64 * 1024


async def everything(request: Request) -> Response:
    """GET and POST [base]/Patient/[id]/$everything"""
    call = await Call.of(request)
    pairs = pairs_of(request.url.query)
    if request.method == "POST" and request.headers.get("content-type"):
        pairs += from_parameters(await resource_of(request, limit=MOST_BODY))
    return await respond(request, await of_patient(call, request.path_params["id"], pairs))


async def of_patient(call: Call, id: str, pairs: Pairs) -> Answer:
    """The page of a patient's record that these parameters ask for. Raises NotFound, InvalidInput."""
    await read(call, "Patient", id)  # 404 for a patient the caller may not see
    path = f"Patient/{id}/$everything"
    token = dict(pairs).get("_page")
    page = open_page(call.services.keyring, token, path) if token else None
    asked = _Asked(page.pairs if page else pairs)
    with suppress(InsufficientScope):
        await studies.fresh(call, await call.services.gate.reach_for_actor(call.actor, STUDY_READ), [id])
    found: list[Found] = []
    begin, after = (page.offset, page.position) if page else (0, ())
    following: Position | None = None
    next_type = 0
    for place in range(begin, len(asked.types)):
        left = asked.count - len(found)
        one_after = after if place == begin and after else None
        found_here = await _of_type(call, asked.types[place], id, asked, left + 1, one_after)
        found += found_here[:left]
        if len(found_here) > left:
            following, next_type = _last_position(found_here, left, one_after), place
            break
    along = await included(call, found, _people_of({one.type for one in found}), ())
    versions = [(one.key, one.version) for one in found]
    await trail.searched(call, "Patient/$everything", asked.used, [id], versions)
    links = links_of(call, path, asked.used, page, following, offset=next_type)
    jsons = await binary.filled(call, [one.json for one in found])
    shown = [(one, json, "match") for one, json in zip(found, jsons, strict=True)]
    entries = [
        entry(call.address(one.type, one.id), json, {"search": {"mode": mode}})
        for one, json, mode in [*shown, *((each, each.json, "include") for each in along)]
    ]
    return Answer(200, bundle("searchset", entries, links=links))


def _people_of(names: set[str]) -> list[Include]:
    """The references by which practitioners and organizations come along."""
    params = (param for name in sorted(names) for param in resource_type(name).params.values())
    return [
        Include(param, target)
        for param in params
        if param.kind is Kind.REFERENCE
        for target in sorted(REGISTER.intersection(param.targets))
    ]


class _Asked:
    """`_count`, `_type`, `_since`, and `start` and `end` of the care."""

    def __init__(self, pairs: Pairs) -> None:
        self.used = [(name, value) for name, value in pairs if name in _PARAMETERS]
        asked = dict(self.used)
        self.count = _count(asked.get("_count", str(DEFAULT_COUNT)))
        self.types = _types(asked.get("_type"))
        self.since = asked.get("_since")
        self.care = [(name, f"{prefix}{asked[name]}") for name, prefix in _CARE.items() if name in asked]
        for name, value in [*self.care, *([("_since", f"ge{self.since}")] if self.since is not None else [])]:
            dated(value, name)

    def conditions(self, type: ResourceType) -> tuple[Condition, ...]:
        """What they ask of a type. A resource without a date of its own belongs to any time of the care."""
        found: list[Condition] = []
        if self.since is not None:
            found.append(condition(type, "_lastUpdated", f"ge{self.since}"))
        own = next((p for p in type.params.values() if p.kind is Kind.DATE and p.path == type.happened), None)
        for _, value in self.care if own is not None and type.happened is not None else ():
            assert own is not None
            undated = condition(type, f"{own.name}:missing", "true")
            found.append(Group((condition(type, own.name, value), undated), any=True))
        return tuple(found)


_CARE = {"start": "ge", "end": "le"}
_PARAMETERS = frozenset({"_count", "_type", "_since", *_CARE})


def _last_position(found: list[Found], left: int, after: tuple[object, ...] | None) -> tuple[object, ...]:
    return found[left - 1].position if left else after or ()


async def _of_type(
    call: Call,
    type: ResourceType,
    patient_id: str,
    asked: _Asked,
    limit: int,
    after: tuple[object, ...] | None,
) -> list[Found]:
    try:
        reach = await call.services.gate.reach_for_actor(call.actor, Action(type.name, Verb.READ))
    except InsufficientScope:
        return []
    query = Query(type, asked.conditions(type), (), patient_id)
    searching = Searching(call.base)
    return await search.page(call.services.db, query, searching, reach=reach, limit=limit, after=after)


def _types(text: str | None) -> list[ResourceType]:
    kept = [type for type in types().values() if type.in_compartment() or type.name == "Endpoint"]
    if text is None:
        return [type for type in kept if type.name != "AuditEvent"]
    names = {name.strip() for name in text.split(",") if name.strip()}
    if not names <= types().keys():
        raise InvalidInput("_type names a type that this server does not keep.", expression="http._type")
    return [type for type in kept if type.name in names]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text)):
        raise InvalidInput("_count must be a positive number.")
    return min(int(text), MOST_COUNT)
