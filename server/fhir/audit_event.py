"""AuditEvents: the chained log of a patient's record, as FHIR resources. Rendered when read; nothing is kept twice.

FHIR R4, AuditEvent. The parts of the log that a search looks at: `audit_log.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

from server.access.action import Verb
from server.access.reach import Reach
from server.audit.events import Event as AuditKind
from server.audit.reading import Happened
from server.core.errors import InvalidInput, ServerError
from server.records.search import Found
from server.records.store import Stored
from server.storage.where import Where

from . import binary, trail
from .audit_log import Event, Log
from .audit_render import Renderer
from .bundle import bundle, result
from .call import Call
from .format import Answer
from .include import included
from .paging import Page, Position, links_of
from .search_params import Asked

MOST_OPENED = 5000  # events that one page opens to ask what no column knows; the next link goes on


async def read(call: Call, id: str) -> Stored | None:
    """One event of a patient whose log the caller may read; None for any other id."""
    reach = await call.reach("AuditEvent", Verb.READ)
    try:
        match = Where("happened.id = :event_id", {"event_id": UUID(id)})
    except ValueError:
        return None
    async for one in Log(call, reach.patients(), match).opened(1):
        return Stored("AuditEvent", id, 1, one.at, one.patient_id, Renderer(call.base)(one))
    return None


class _Part(NamedTuple):
    """A page of the log."""

    events: list[Event]
    last: Happened | None  # the one after which the next page begins; None on the last one
    proved: frozenset[str] = frozenset()  # patients of whom events were read: they are in reach


async def search(call: Call, asked: Asked, *, reach: Reach, page: Page | None) -> Answer:
    """Events that the criteria select, by their time.

    Raises Forbidden for a patient outside of the caller's, NotAuthenticated for a token that died meanwhile.
    """
    named = asked.query.patients()
    log = await _log(call, asked, reach=reach)
    part = await _part(log.after(page.position) if page and page.position else log, asked)
    await _require(call, named, part, reach=reach)
    shown = (page.offset if page else 0) + len(part.events)
    total = await _total(log, asked, shown, more=part.last is not None)
    along = await _along(call, asked, part)
    events = [one.happened.patient_id for one in part.events if not _is_look(one)]
    people = [*named, *events, *(one.patient_id for one in along)]
    await trail.searched(call, "AuditEvent", asked.used, people, _seen(part, along))
    links = links_of(call, _path(asked), asked.used, page, _position(part, asked), offset=shown)
    return Answer(
        200, bundle("searchset", await _entries(call, asked, part, along), total=total, links=links)
    )


async def _log(call: Call, asked: Asked, *, reach: Reach) -> Log:
    """The part of the log that is asked for; a dead token, and a patient out of reach, are told of before the rest."""
    try:
        return await Log.of(call, asked.query, reach=reach)
    except ServerError:
        await call.confirm()
        await call.require_patients(reach, asked.query.patients())
        raise


async def _require(call: Call, named: Iterable[str], part: _Part, *, reach: Reach) -> None:
    """Ask what the events that were read leave open: without any, whether the token lives; who else is in reach."""
    if not part.proved:
        await call.confirm()
    await call.require_patients(reach, [each for each in named if each not in part.proved])


def _path(asked: Asked) -> str:
    patient = asked.query.compartment
    return f"Patient/{patient}/AuditEvent" if patient is not None else "AuditEvent"


def _position(part: _Part, asked: Asked) -> Position | None:
    return (part.last.at, str(part.last.id)) if part.last is not None and asked.count else None


async def _along(call: Call, asked: Asked, part: _Part) -> list[Found]:
    """What comes along with the events."""
    if not asked.includes and not asked.revincludes:
        return []
    return await included(call, [one.found() for one in part.events], asked.includes, asked.revincludes)


def _is_look(one: Event) -> bool:
    """Whether somebody looked at the log: to be told of each such look would be told of again."""
    happened = one.happened
    return happened.event == AuditKind.RECORD_SEARCHED and happened.detail.get("type") == "AuditEvent"


def _seen(part: _Part, along: Iterable[Found]) -> Iterator[Hashable]:
    """What makes a page another one: not that the log was looked at, or each look would be told for the one before."""
    for one in part.events:
        if not _is_look(one):
            yield one.happened.id
    for other in along:
        yield other.type, other.id, other.version


async def _entries(call: Call, asked: Asked, part: _Part, along: list[Found]) -> list[bytes]:
    """The events, and what comes along with them."""
    base, shape = call.base, asked.shape
    entries = [
        result(base, "AuditEvent", str(one.happened.id), shape.apply("AuditEvent", one.json), "match")
        for one in part.events
    ]
    jsons = await binary.filled(call, [one.json for one in along])
    return entries + [
        result(base, one.type, one.id, shape.apply(one.type, json), "include")
        for one, json in zip(along, jsons, strict=True)
    ]


async def _part(log: Log, asked: Asked) -> _Part:
    """The events of a page.

    A page is shorter than was asked where what it looks for is rare, or where the request has opened enough: then it
    goes on after what was opened, which is one event at least.
    """
    shown: list[Event] = []
    last: Happened | None = None
    if asked.only_count:
        return _Part(shown, None)
    wanted = MOST_OPENED if log.asked else asked.count + 1
    opened, limit, proved = 0, max(1, log.most(wanted)), set[str]()
    async for one in log.opened(limit):
        if len(shown) == asked.count:
            return _Part(shown, last, frozenset(proved))
        opened, last = opened + 1, one
        proved.add(one.patient_id)
        if (event := log.shown(one)) is not None:
            shown.append(event)
    more = opened == limit and (log.asked or limit < wanted)
    return _Part(shown, last if more else None, frozenset(proved))


async def _total(log: Log, asked: Asked, shown: int, *, more: bool) -> int | None:
    """How many there are: known on the last page, and counted when that is asked for. A log is long."""
    if asked.total == "none" and not asked.only_count:
        return None
    if not asked.only_count and not (more and asked.total == "accurate"):
        return None if more else shown
    total = await log.count()
    if total is None and asked.only_count:
        raise InvalidInput(
            "More events would have to be opened than one request may: narrow the search by date."
        )
    return total
