"""Patient/$everything: all of a patient's record that the caller may read.

FHIR R4, Patient-everything (operation): `_since`, `_type`, `_count`. Each type through the gate with its own scope;
types without one are left out. Practitioners and organizations that are referred to come along.
"""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_READ, Action, Verb
from server.core.errors import InsufficientScope, InvalidInput
from server.records import search
from server.records.conditions import Condition
from server.records.criteria import condition
from server.records.registry import ResourceType, resource_type, types
from server.records.search import Found, Query
from server.records.search_references import Searching

from . import binary, studies, trail
from .bundle import bundle, entry
from .call import Call
from .format import Answer, respond
from .paging import Page, open_page, seal
from .read import read
from .search_params import MOST_COUNT, Pairs, pairs_of

DEFAULT_COUNT = 100


async def everything(request: Request) -> Response:
    """GET [base]/Patient/[id]/$everything"""
    call = await Call.of(request)
    id = request.path_params["id"]
    await read(call, "Patient", id)  # 404 for a patient the caller may not see
    return await respond(request, await _page(call, id, pairs_of(request.url.query)))


async def _page(call: Call, id: str, pairs: Pairs) -> Answer:
    path = f"Patient/{id}/$everything"
    token = dict(pairs).get("_page")
    page = open_page(call.services.keyring, token, path) if token else None
    asked = dict(page.pairs if page else pairs)
    count = _count(asked.get("_count", str(DEFAULT_COUNT)))
    wanted = _types(asked.get("_type"))
    with suppress(InsufficientScope):
        await studies.fresh(call, await call.services.gate.reach_for_actor(call.actor, STUDY_READ), [id])
    found: list[Found] = []
    begin, after = (page.offset, page.position) if page else (0, ())
    following: Page | None = None
    for place in range(begin, len(wanted)):
        left = count - len(found)
        one_after = after if place == begin and after else None
        found_here = await _of_type(call, wanted[place], id, asked.get("_since"), left + 1, one_after)
        found += found_here[:left]
        if len(found_here) > left:
            following = Page(path, tuple(asked.items()), _last_position(found_here, left, one_after), place)
            break
    trail.searched(call, "Patient/$everything", "", [id])
    links = [("self", f"{call.base}/{path}")]
    if following is not None:
        links.append(("next", f"{call.base}/{path}?_page={seal(call.services.keyring, following)}"))
    jsons = await binary.filled(call, [one.json for one in found])
    entries = [
        entry(call.address(o.type, o.id), json, {"search": {"mode": "match"}})
        for o, json in zip(found, jsons, strict=True)
    ]
    return Answer(200, bundle("searchset", entries, links=links))


def _last_position(found: list[Found], left: int, after: tuple[object, ...] | None) -> tuple[object, ...]:
    return found[left - 1].position if left else after or ()


async def _of_type(
    call: Call,
    type: ResourceType,
    patient_id: str,
    since: str | None,
    limit: int,
    after: tuple[object, ...] | None,
) -> list[Found]:
    try:
        reach = await call.services.gate.reach_for_actor(call.actor, Action(type.name, Verb.READ))
    except InsufficientScope:
        return []
    conditions: tuple[Condition, ...] = ()
    if since is not None:
        conditions = (condition(type, "_lastUpdated", f"ge{since}"),)
    query = Query(type, conditions, (), patient_id)
    searching = Searching(call.base)
    return await search.page(call.services.db, query, searching, reach=reach, limit=limit, after=after)


def _types(text: str | None) -> list[ResourceType]:
    kept = [type for type in types().values() if type.in_compartment() or type.name == "Endpoint"]
    if text is None:
        return [type for type in kept if type.name != "AuditEvent"]
    names = {resource_type(name.strip()).name for name in text.split(",") if name.strip()}
    return [type for type in kept if type.name in names]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text)):
        raise InvalidInput("_count must be a positive number.")
    return min(int(text), MOST_COUNT)
