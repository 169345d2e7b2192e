"""search: GET and POST _search of a type, and inside a patient's compartment.

FHIR R4, 3.1.0.9 and 3.1.1. `patient=` outside of the caller's patients is 403, whether the id exists or not; every
other search is filtered by the statement itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Verb
from server.access.reach import Reach
from server.core.errors import NotFound, UnsupportedMediaType
from server.records import search as records
from server.records.registry import resource_type
from server.records.search import COUNTED, FirstPage, Found, Query
from server.records.search_references import Searching
from server.storage.where import FALSE

from . import audit_event, binary, studies, trail
from .bundle import bundle, result
from .call import Call
from .format import Answer, body_of, respond
from .include import included
from .paging import Page, links_of, open_page
from .search_params import MOST_COUNT, Asked, Pairs, pairs_of, parse, require_findable
from .writing import Prefer

MOST_FORM = 64 * 1024
ESTIMATED = 100_000  # an estimated total is counted up to here


async def search_type(request: Request) -> Response:
    """GET [base]/[type]?… and POST [base]/[type]/_search"""
    call = await Call.of(request)
    pairs = await pairs_of_request(request)
    answer = await search(call, request.path_params["type"], pairs, strict=strict_of(request))
    return await respond(request, answer)


async def search_compartment(request: Request) -> Response:
    """GET [base]/Patient/[id]/[type]?… (FHIR R4, 3.1.0.9: compartment search)"""
    call = await Call.of(request)
    names = request.path_params
    if not resource_type(names["type"]).in_compartment():
        raise NotFound("Resources of this type are not part of a patient's compartment.")
    pairs = await pairs_of_request(request)
    answer = await search(call, names["type"], pairs, strict=strict_of(request), compartment=names["id"])
    return await respond(request, answer)


async def pairs_of_request(request: Request) -> list[tuple[str, str]]:
    """The parameters of the URL, and of the form in the body of a POST."""
    pairs = pairs_of(request.scope["query_string"])
    if request.method == "POST":
        body = await body_of(request, limit=MOST_FORM)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and kind != "application/x-www-form-urlencoded":
            raise UnsupportedMediaType("The body of a search is application/x-www-form-urlencoded.")
        pairs += pairs_of(body.decode("ascii", "replace"))
    return pairs


def strict_of(request: Request) -> bool:
    return Prefer.read(request.headers.get("prefer")).strict


async def search(
    call: Call, type: str, pairs: Pairs, *, strict: bool = False, compartment: str | None = None
) -> Answer:
    """The page of a search that these parameters ask for, as a Bundle."""
    resource_type(type)
    reach = await call.reach(type, Verb.SEARCH, lazily=True)
    path = type if compartment is None else f"Patient/{compartment}/{type}"
    page = _page_of(call, pairs, path)
    asked = parse(type, page.pairs if page else pairs, strict=strict, compartment=compartment)
    require_findable(asked.query)
    if type == "AuditEvent":
        return await audit_event.search(call, asked, reach=reach, page=page)
    searching = await searching_for(call, asked.query)
    return await _answer(call, asked, searching, path, reach=reach, page=page)


def _page_of(call: Call, pairs: Pairs, path: str) -> Page | None:
    token = dict(pairs).get("_page")
    return open_page(call.services.keyring, token, path) if token else None


async def searching_for(call: Call, query: Query) -> Searching:
    """What the conditions need; a chain into a type without a scope of its own is refused, or it would tell."""
    passed = records.types_passed(query.conditions)
    reaches = {type: await call.reach(type, Verb.SEARCH) for type in sorted(passed)}
    return Searching(call.base, reaches)


async def _answer(
    call: Call, asked: Asked, searching: Searching, path: str, *, reach: Reach, page: Page | None
) -> Answer:
    found, total = await _found(call, asked, searching, reach=reach, page=page)
    more = len(found) > asked.count
    found = found[: asked.count]
    await _require(call, asked, found, reach=reach)
    along: list[Found] = []
    if asked.includes or asked.revincludes:
        along = await included(call, found, asked.includes, asked.revincludes)
    everything = [*found, *along]
    shown = (total, *((one.type, one.key, one.id, one.version) for one in everything))
    await trail.searched(call, asked.query.type.name, asked.used, _concerned(asked, everything), shown)
    links = links_of(call, path, asked.used, page, found[-1].position if more else None)
    entries = [
        *await entries_of(call, asked, found, "match"),
        *await entries_of(call, asked, along, "include"),
    ]
    return Answer(200, bundle("searchset", entries, total=total, links=links))


async def _found(
    call: Call, asked: Asked, searching: Searching, *, reach: Reach, page: Page | None
) -> tuple[list[Found], int | None]:
    """The page and one resource more where there is one, and the total.

    It is always exact, but left out where to count would be dear and nobody asked (R4 lets a server).
    """
    db, query, limit = call.services.db, asked.query, asked.count + 1
    if page is None and not asked.total and not asked.only_count:
        return await _first(call, asked, searching, reach=reach)
    if query.type.name in studies.MADE_FROM_IMAGES:
        await studies.fresh(call, reach, query.patients())
    if asked.only_count:
        return [], await records.count(db, query, searching, reach=reach, limit=None)
    after = page.position if page else None
    found = await records.page(db, query, searching, reach=reach, limit=limit, after=after)
    if page is None and len(found) < limit and asked.total != "none":
        return found, len(found)
    return found, await _total(call, asked, searching, reach=reach)


async def _first(
    call: Call, asked: Asked, searching: Searching, *, reach: Reach
) -> tuple[list[Found], int | None]:
    """The first page in one statement, which also tells whether a study is behind: then once more."""
    made = asked.query.type.name in studies.MADE_FROM_IMAGES
    patients = asked.query.patients()
    bound = COUNTED if asked.count <= COUNTED else MOST_COUNT
    aside = studies.behind(patients) if made else FALSE

    async def look() -> FirstPage:
        return await records.first_page(
            call.services.db,
            asked.query,
            searching,
            reach=reach,
            limit=asked.count + 1,
            counted=bound + 1,
            aside=aside,
        )

    first = await look()
    if made and (first.aside or not first.found) and await studies.fresh(call, reach, patients):
        first = await look()
    return first.found, first.counted if first.counted <= bound else None


async def _total(call: Call, asked: Asked, searching: Searching, *, reach: Reach) -> int | None:
    """As it was asked for. An estimate is counted too, only not beyond a bound: what a planner guesses knows of rows
    out of reach."""
    bounds = {"none": 0, "accurate": None, "estimate": ESTIMATED}
    bound = bounds.get(asked.total, COUNTED + 1)
    if bound == 0:
        return None
    total = await records.count(call.services.db, asked.query, searching, reach=reach, limit=bound)
    return None if not asked.total and total > COUNTED else total


async def _require(call: Call, asked: Asked, found: Sequence[Found], *, reach: Reach) -> None:
    """Raise Forbidden for a patient outside of the caller's; NotAuthenticated for a token that died meanwhile.

    A row that was found proves both: the statement asked for them. Only what it leaves open is asked again.
    """
    proved = {one.patient_id for one in found}
    if not found:
        await call.confirm()
    await call.require_patients(reach, [each for each in asked.query.patients() if each not in proved])


def _concerned(asked: Asked, found: Sequence[Found]) -> list[str]:
    """Whose data the answer shows, or tells that there is none."""
    return [*asked.query.patients(), *(one.patient_id for one in found)]


async def entries_of(call: Call, asked: Asked, found: Sequence[Found], mode: str) -> list[bytes]:
    """What was found, in the shape that is asked for, as entries of the answer."""
    if not found:
        return []
    jsons, base, shape = await binary.filled(call, [one.json for one in found]), call.base, asked.shape
    return [
        result(base, one.type, one.id, shape.apply(one.type, json), mode)
        for one, json in zip(found, jsons, strict=True)
    ]
