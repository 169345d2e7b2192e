"""AuditEvents in `_include` and `_revinclude`: what an event refers to, and the events about what a search found.

FHIR R4, 3.1.1.5.2. An event lies in no index: its references are read from how it looks. Only who may read the log
of a patient is brought events of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

from server.access.reach import Reach
from server.records import search
from server.records.conditions import Criterion
from server.records.criteria import condition
from server.records.document import Json, load
from server.records.references import here
from server.records.registry import Param, resource_type
from server.records.search import Found, Query
from server.records.search_references import Searching
from server.records.search_values import escaped
from server.storage.where import TRUE, Where

from .audit_log import Log
from .call import Call

MOST_OPENED = 5000  # of the latest events, for a `_revinclude`
MOST_ALONG = 500


async def led_to(
    events: Iterable[Found], params: Mapping[str, Sequence[Param]], base: str
) -> dict[str, set[str]]:
    """The ids that the events refer to, by the type of what is there."""
    found: dict[str, set[str]] = {}
    for event in events:
        json = load(event.json)
        await asyncio.sleep(0)
        for type, which in params.items():
            for kind, id in _targets(json, which, base):
                if kind == type:
                    found.setdefault(type, set()).add(id)
    return found


async def those(call: Call, type: str, ids: set[str], *, reach: Reach) -> list[Found]:
    """The resources with these ids, as far as the caller may see them."""
    named = condition(resource_type(type), "_id", "x")
    assert isinstance(named, Criterion)
    asked = Criterion(named.param, "", tuple(map(escaped, sorted(ids))))
    query = Query(resource_type(type), (asked,))
    return await search.page(call.services.db, query, Searching(call.base), reach=reach, limit=MOST_ALONG)


async def about(
    call: Call, page: Sequence[Found], params: Sequence[Param], *, reach: Reach
) -> AsyncIterator[Found]:
    """The latest events that refer to these resources by one of these parameters."""
    wanted = {(one.type, one.id) for one in page}
    whose = {one.patient_id for one in page}
    match = TRUE
    if "" not in whose:
        match = Where("patient.id = ANY (:whose::text[])", {"whose": sorted(whose)})
    log, left = Log(call, reach.patients(), match), MOST_ALONG
    async for one in log.opened(log.most(MOST_OPENED)):
        if not left:
            return
        event = log.shown(one)
        if event is not None and not wanted.isdisjoint(_targets(load(event.json), params, call.base)):
            left -= 1
            yield event.found()


def _targets(event: Json, params: Iterable[Param], base: str) -> Iterator[tuple[str, str]]:
    """What an event refers to by these parameters: types and ids."""
    for element in (element for param in params for element in param.path.find(event)):
        if (to := here(str(element.get("reference", "")), base)) is not None:
            yield to.type, to.id
