"""AuditEvents in `_include` and `_revinclude`: what an event refers to, and the events about what a search found.

FHIR R4, 3.1.1.5.2. An event lies in no index: its references are read from how it looks. Only who may read the log
of a patient is brought events of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from server.access.reach import Reach
from server.records import search
from server.records.conditions import Criterion, Group
from server.records.criteria import condition
from server.records.document import load
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


def led_to(events: Iterable[Found], params: Mapping[str, Sequence[Param]], base: str) -> dict[str, set[str]]:
    """The ids that the events refer to, by the type of what is there."""
    found: dict[str, set[str]] = {}
    for event in events:
        json = load(event.json)
        for type, which in params.items():
            for one in (element for param in which for element in param.path.find(json)):
                to = here(str(one.get("reference", "")), base)
                if to is not None and to.type == type:
                    found.setdefault(type, set()).add(to.id)
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
    names = tuple(escaped(f"{one.type}/{one.id}") for one in page)
    asked = Group(tuple(Criterion(param, "", names) for param in params), any=True)
    whose = {one.patient_id for one in page}
    match = TRUE
    if "" not in whose:
        match = Where("patient.id = ANY (:whose::text[])", {"whose": sorted(whose)})
    log = Log(call, reach.patients(), match, (asked,))
    left = MOST_ALONG
    async for one in log.opened(MOST_OPENED):
        if left and (event := log.shown(one)) is not None:
            left -= 1
            yield event.found()
