"""search over several types: [base]?_type=Patient,ImagingStudy&…

FHIR R4, 3.1.0.9 and 3.1.1.1 (`_type`). Each type goes through the gate with its own scope, one after the other; a
parameter must be one that all of them have. Types that were not named come as far as the caller has scopes for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Action, Verb
from server.access.reach import Reach
from server.core.errors import InsufficientScope, InvalidInput, UnknownParameter
from server.records import search as records
from server.records.registry import resource_type, types
from server.records.search import Found

from . import studies, trail
from .bundle import bundle
from .call import REGISTER, Call
from .format import Answer, respond
from .paging import Page, Position, links_of, open_page
from .search import entries_of, pairs_of_request, search, searching_for, strict_of
from .search_params import Asked, Pairs, parse, require_findable, says_more

PATH = ""  # links of this search lead to [base] itself
_ONE_TYPE_ONLY = ("_include", "_revinclude", "_sort")
# Of no use here: the log is searched by itself, people are found by identifier only.
_NOT_UNNAMED = frozenset({*REGISTER, "AuditEvent", "Subscription", "Binary"})


async def search_system(request: Request) -> Response:
    """GET [base]?… and POST [base]/_search"""
    return await _search(request, PATH, None)


async def search_whole_compartment(request: Request) -> Response:
    """GET [base]/Patient/[id]/*?… (FHIR R4, 3.1.0.9: all types of a compartment)"""
    id = request.path_params["id"]
    return await _search(request, f"Patient/{id}/*", id)


async def _search(request: Request, path: str, compartment: str | None) -> Response:
    call = await Call.of(request)
    await call.confirm()
    pairs, strict = await pairs_of_request(request), strict_of(request)
    return await respond(request, await several(call, path, compartment, pairs, strict=strict))


async def several(
    call: Call, path: str, compartment: str | None, pairs: Pairs, *, strict: bool = False
) -> Answer:
    """The page of a search over several types that these parameters ask for."""
    token = dict(pairs).get("_page")
    page = open_page(call.services.keyring, token, path) if token else None
    wanted = _Wanted(path, compartment, page.pairs if page else pairs, strict, page)
    names = _names(wanted.pairs)
    if names is not None and len(names) == 1 and compartment is None:
        others = [(name, value) for name, value in pairs if name != "_type"]
        return await search(call, names[0], others, strict=strict)
    return await _answer(call, names, wanted)


@dataclass(frozen=True)
class _Wanted:
    """What is searched, and where it goes on."""

    path: str
    compartment: str | None
    pairs: Pairs
    strict: bool
    page: Page | None


def _names(pairs: Pairs) -> list[str] | None:
    named = [each.strip() for name, value in pairs if name == "_type" for each in value.split(",")]
    return list(dict.fromkeys(resource_type(each).name for each in named if each)) or None


async def _answer(call: Call, names: list[str] | None, wanted: _Wanted) -> Answer:
    open_types = await _open_types(call, names, of_patient=wanted.compartment is not None)
    used = _used(list(open_types), [pair for pair in wanted.pairs if pair[0] != "_type"], wanted.strict)
    found: list[Found] = []
    following: Position | None = None
    next_type = 0
    total = 0
    begin, after = (wanted.page.offset, wanted.page.position) if wanted.page else (0, ())
    said = [*(pair for pair in wanted.pairs if pair[0] == "_type"), *used]
    asked = parse(next(iter(open_types)), used, strict=True)
    counted = asked.only_count or asked.total == "accurate"
    for place, (name, reach) in enumerate(open_types.items()):
        asked = parse(name, used, strict=True, compartment=wanted.compartment)
        require_findable(asked.query)
        if counted:
            total += await _count(call, asked, reach=reach)
        if place < begin or following is not None or asked.only_count:
            continue
        left = asked.count - len(found)
        one_after = after if place == begin and after else None
        here = await _page(call, asked, reach=reach, limit=left + 1, after=one_after)
        found += here[:left]
        if len(here) > left:
            following, next_type = here[left - 1].position if left else one_after or (), place
    if not counted and asked.total != "none" and following is None and wanted.page is None:
        counted, total = True, len(found)
    concerned = [one.patient_id for one in found] + ([wanted.compartment] if wanted.compartment else [])
    shown = (total, *((one.key, one.version) for one in found))
    await trail.searched(call, ",".join(open_types), used, concerned, shown)
    links = links_of(call, wanted.path, said, wanted.page, following, offset=next_type)
    entries = await entries_of(call, asked, found, "match")
    return Answer(200, bundle("searchset", entries, total=total if counted else None, links=links))


async def _open_types(call: Call, names: list[str] | None, *, of_patient: bool = False) -> dict[str, Reach]:
    """The types to search. Raises InsufficientScope for one that was named without a scope for it."""
    if names is not None and "AuditEvent" in names:
        raise InvalidInput("AuditEvents are searched by themselves.")
    found = {}
    unnamed = [each for each in types() if each not in _NOT_UNNAMED]
    for name in names or unnamed:
        if of_patient and not resource_type(name).in_compartment():
            continue
        try:
            found[name] = await call.services.gate.reach_for_actor(call.actor, Action(name, Verb.SEARCH))
        except InsufficientScope:
            if names is not None:
                raise
    if not found:
        raise InsufficientScope("The access token has no scope for search.")
    return found


def _used(names: list[str], pairs: Pairs, strict: bool) -> list[tuple[str, str]]:
    """The parameters that every type has; what one of them has not is an error, or left out for all."""
    kept = []
    for pair in pairs:
        if pair[0].partition(":")[0] in _ONE_TYPE_ONLY:
            raise InvalidInput(f"{pair[0].partition(':')[0]} needs one type to be searched.")
        try:
            for name in names:
                parse(name, [pair], strict=True)
        except UnknownParameter:
            if strict or says_more(pair[0]):
                raise
            continue
        kept.append(pair)
    return kept


async def _page(
    call: Call, asked: Asked, *, reach: Reach, limit: int, after: tuple[object, ...] | None
) -> list[Found]:
    await call.require_patients(reach, asked.query.patients())
    if asked.query.type.name in studies.MADE_FROM_IMAGES:
        await studies.fresh(call, reach, asked.query.patients())
    searching = await searching_for(call, asked.query)
    return await records.page(call.services.db, asked.query, searching, reach=reach, limit=limit, after=after)


async def _count(call: Call, asked: Asked, *, reach: Reach) -> int:
    await call.require_patients(reach, asked.query.patients())
    searching = await searching_for(call, asked.query)
    return await records.count(call.services.db, asked.query, searching, reach=reach, limit=None)
