"""The search inside conditional interactions: at most two matches are fetched, every parameter must be known.

FHIR R4, 3.1.0.8.1, 3.1.0.4.3, 3.1.0.7.1.
"""

from __future__ import annotations

from server.access.action import Verb
from server.core.errors import PreconditionFailed
from server.records import search
from server.records.search import Found
from server.records.search_references import Searching
from server.records.store import Stored

from .call import Call
from .search import searching_for
from .search_params import pairs_of, parse, require_findable


async def matches(call: Call, type: str, criteria: str) -> list[Found]:
    """What the criteria find within the caller's reach, two at most. The scope for search is needed besides."""
    asked = parse(type, pairs_of(criteria.removeprefix("?").removeprefix(f"{type}?")), strict=True)
    if not asked.query.conditions:
        raise PreconditionFailed("A conditional interaction needs search parameters.")
    require_findable(asked.query)
    reach = await call.reach(type, Verb.SEARCH)
    searching: Searching = await searching_for(call, asked.query)
    return await search.page(call.services.db, asked.query, searching, reach=reach, limit=2)


def as_stored(found: Found) -> Stored:
    """A match as the store gives a resource."""
    return Stored(
        found.type,
        found.id,
        found.version,
        found.last_updated,
        found.patient_id,
        found.json,
        found.study_uid,
    )
