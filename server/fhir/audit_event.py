"""AuditEvents: the chained log of a patient's record, as FHIR resources. Rendered when read; nothing is kept twice.

FHIR R4, AuditEvent. The parts of the log that a search looks at: `audit_log.py`.
"""

from __future__ import annotations

from uuid import UUID

from server.access.action import Verb
from server.access.reach import Reach
from server.audit.reading import Happened
from server.core.errors import InvalidInput
from server.records.document import dump
from server.records.search import Found
from server.records.store import Stored
from server.storage.where import Where

from . import binary, trail
from .audit_log import Log
from .audit_render import render
from .bundle import bundle, entry
from .call import Call
from .format import Answer
from .include import included
from .paging import Page, links_of
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
        return Stored("AuditEvent", id, 1, one.at, one.patient_id, dump(render(one, call.base)))
    return None


async def search(call: Call, asked: Asked, *, reach: Reach, page: Page | None) -> Answer:
    """Events that the criteria select, by their time."""
    patients, allowed = asked.query.compartment, reach.patients()
    if patients is not None:
        allowed = allowed & Where("patient.id = :compartment", {"compartment": patients})
    oldest_first = bool(asked.query.sorts) and not asked.query.sorts[0].descending
    log = await Log.of(call, allowed, asked.query.conditions, oldest_first)
    before = page.offset if page else 0
    found, last = await _page(log.after(page.position) if page and page.position else log, asked)
    total = await _total(log, asked, before + len(found), more=last is not None)
    await trail.searched(call, "AuditEvent", asked.used, [*asked.query.patients()])
    path = f"Patient/{patients}/AuditEvent" if patients is not None else "AuditEvent"
    following = (last.at, str(last.id)) if last is not None and asked.count else None
    links = links_of(call, path, asked.used, page, following, offset=before + len(found))
    along = await included(call, found, asked.includes, asked.revincludes)
    entries = [_entry(call, asked, one, one.json, "match") for one in found]
    jsons = await binary.filled(call, [one.json for one in along])
    entries += [_entry(call, asked, one, json, "include") for one, json in zip(along, jsons, strict=True)]
    return Answer(200, bundle("searchset", entries, total=total, links=links))


def _entry(call: Call, asked: Asked, one: Found, json: bytes, mode: str) -> bytes:
    shown = asked.shape.apply(one.type, json)
    return entry(call.address(one.type, one.id), shown, {"search": {"mode": mode}})


async def _page(log: Log, asked: Asked) -> tuple[list[Found], Happened | None]:
    """The events of a page, and the one after which the next begins; None where there is none.

    A page is shorter than was asked where what it looks for is rare, or where the request has opened enough: then it
    goes on after what was opened, which is one event at least.
    """
    shown: list[Found] = []
    last: Happened | None = None
    if asked.only_count:
        return shown, None
    wanted = MOST_OPENED if log.asked else asked.count + 1
    opened, limit = 0, max(1, log.most(wanted))
    async for one in log.opened(limit):
        if len(shown) == asked.count:
            return shown, last
        opened, last = opened + 1, one
        if (event := log.shown(one)) is not None:
            shown.append(event.found())
    return shown, last if opened == limit and (log.asked or limit < wanted) else None


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
