"""history: of a resource, of a type, of everything; newest first, deletions included.

FHIR R4, 3.1.0.13. Instance history needs the scope to read, type and system history the scope to search (SMART 2.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Action, Verb
from server.core.errors import InsufficientScope, InvalidInput, NotAllowed, NotFound
from server.records import store
from server.records.document import instant
from server.records.moments import Span, span
from server.records.registry import resource_type, types
from server.records.search import COUNTED
from server.records.store import Stored
from server.storage.where import FALSE, Where, all_of, any_of

from . import binary, trail
from .bundle import bundle, entry
from .call import REGISTER, Call
from .format import Answer, respond
from .paging import links_of, open_page
from .search_params import MOST_COUNT, Pairs, pairs_of
from .summary import shape_of

DEFAULT_COUNT = 50


async def instance_history(request: Request) -> Response:
    """GET [base]/[type]/[id]/_history"""
    call = await Call.of(request)
    names = request.path_params
    answer = await of_instance(call, names["type"], names["id"], pairs_of(request.url.query))
    return await respond(request, answer)


async def of_instance(call: Call, type: str, id: str, pairs: Pairs) -> Answer:
    """The versions of one resource. Raises NotFound where none may be seen."""
    resource_type(type)
    reach = await call.reach(type, Verb.READ)
    match = Where("old.type = :type AND old.id = :id", {"type": type, "id": id})
    answer, shown = await _history(call, f"{type}/{id}/_history", match, reach.versions(), pairs)
    if not shown and not await store.history(call.services.db, match, reach=reach.versions(), limit=1):
        raise NotFound()
    return answer


async def type_history(request: Request) -> Response:
    """GET [base]/[type]/_history"""
    call = await Call.of(request)
    answer = await of_type(call, request.path_params["type"], pairs_of(request.url.query))
    return await respond(request, answer)


async def of_type(call: Call, type: str, pairs: Pairs) -> Answer:
    """The versions of all resources of a type. Raises NotAllowed where that would be a list of people."""
    resource_type(type)
    reach = await call.reach(type, Verb.SEARCH)
    if type in REGISTER:
        raise NotAllowed(
            f"Each {type} has a history; all of them together would be a list of people.", allow=""
        )
    if type == "AuditEvent":
        raise NotAllowed("An AuditEvent never changes: it has no history.", allow="")
    match = Where("old.type = :type", {"type": type})
    answer, _ = await _history(call, f"{type}/_history", match, reach.versions(), pairs)
    return answer


async def system_history(request: Request) -> Response:
    """GET [base]/_history"""
    call = await Call.of(request)
    await call.confirm()
    return await respond(request, await of_all(call, pairs_of(request.url.query)))


async def of_all(call: Call, pairs: Pairs) -> Answer:
    """The versions of everything that the caller may search."""
    reach = await _reach_of_all(call)
    answer, _ = await _history(call, "_history", Where("true"), reach, pairs)
    return answer


async def _reach_of_all(call: Call) -> Where:
    """Of each type what the caller may see of that type. Raises InsufficientScope when no type is open."""
    lanes = []
    for type in types():
        if type in REGISTER:
            continue
        try:
            reach = await call.services.gate.reach_for_actor(call.actor, Action(type, Verb.SEARCH))
        except InsufficientScope:
            continue
        lanes.append(all_of(Where("resource.type = :type", {"type": type}), reach.versions()))
    if not lanes:
        raise InsufficientScope("The access token has no scope for search.")
    return any_of(*lanes)


async def _history(
    call: Call, path: str, match: Where, reach: Where, pairs: Pairs
) -> tuple[Answer, Sequence[Stored]]:
    token = dict(pairs).get("_page")
    page = open_page(call.services.keyring, token, path) if token else None
    asked = _Asked(page.pairs if page else pairs)
    counted = all_of(match, asked.where)
    after = _after(page.position) if page else Where("true")
    db = call.services.db
    found = (
        await store.history(db, counted & after, reach=reach, limit=asked.count + 1)
        if asked.count and asked.shape.summary != "count"
        else []
    )
    shown = found[: asked.count]
    total = await store.count_history(db, counted, reach=reach, limit=COUNTED + 1)
    last = shown[-1] if shown and len(found) > asked.count else None
    following = (last.last_updated, last.type, last.id, last.version) if last is not None else None
    links = links_of(call, path, asked.used, page, following)
    versions = (total, *((one.type, one.id, one.version) for one in shown))
    await trail.searched(call, path, asked.used, [one.patient_id for one in shown], versions)
    jsons = await binary.filled(call, [one.json for one in shown])
    shaped = [
        asked.shape.apply(one.type, json) if json else json for one, json in zip(shown, jsons, strict=True)
    ]
    entries = [_entry(call, replace(one, json=json)) for one, json in zip(shown, shaped, strict=True)]
    body = bundle("history", entries, total=total if total <= COUNTED else None, links=links)
    return Answer(200, body), shown


class _Asked:
    """`_since`, `_at`, `_count`; and what every interaction has: `_summary`, `_elements` (FHIR R4, 3.1.0.1.2)."""

    def __init__(self, pairs: Pairs) -> None:
        self.count = DEFAULT_COUNT
        self.used: list[tuple[str, str]] = []
        self.where = Where("true")
        for name, value in pairs:
            match name:
                case "_count":
                    self.count = _count(value)
                case "_since":
                    since = {"since": _span(value, name).low}
                    self.where = self.where & Where("old.last_updated >= :since", since)
                case "_at":
                    self.where = self.where & _at(_span(value, name))
                case "_summary" | "_elements":
                    pass
                case _:
                    continue
            self.used.append((name, value))
        self.shape = shape_of(self.used)


def _count(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise InvalidInput("_count must be a number that is not negative.", expression="http._count")
    return min(int(value), MOST_COUNT)


def _span(value: str, name: str) -> Span:
    try:
        return span(value.replace(" ", "+"))
    except ValueError as error:
        raise InvalidInput(f"{name} must be a date or an instant.", expression=f"http.{name}") from error


def _at(moment: Span) -> Where:
    """Versions that were current at some time within it."""
    return Where(
        "old.last_updated < :at_high AND NOT EXISTS (SELECT 1 FROM resource_version AS newer"
        " WHERE newer.type = old.type AND newer.id = old.id AND newer.version = old.version + 1"
        " AND newer.last_updated <= :at_low)",
        {"at_low": moment.low, "at_high": moment.high},
    )


def _after(position: tuple[object, ...]) -> Where:
    if len(position) != 4 or not isinstance(position[0], datetime):
        return FALSE
    at, type, id, version = position
    return Where(
        "old.last_updated < :last_at OR (old.last_updated = :last_at AND (old.type, old.id, -old.version)"
        " > (:last_type, :last_id, -:last_version::integer))",
        {"last_at": at, "last_type": type, "last_id": id, "last_version": version},
    )


def _entry(call: Call, one: Stored) -> bytes:
    status = {"POST": "201 Created", "DELETE": "204 No Content"}.get(one.method, "200 OK")
    if one.method != "DELETE" and one.version == 1:
        status = "201 Created"
    url = one.type if one.method == "POST" else f"{one.type}/{one.id}"
    response = {"status": status, "etag": one.etag, "lastModified": instant(one.last_updated)}
    return entry(
        call.address(one.type, one.id),
        one.json,
        {"request": {"method": one.method, "url": url}, "response": response},
    )
