"""QIDO-RS: search for studies, series and instances.

DICOM PS3.18, 10.6 (Search Transaction). One statement carries the keys and the reach; the rows are answers that
were prepared when they were stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_SEARCH
from server.access.reach import Reach
from server.core.errors import Conflict
from server.imaging import catalogue
from server.imaging.catalogue import Row
from server.imaging.columns import Level
from server.storage.db import Database
from server.storage.sql import load
from server.storage.where import TRUE, Where

from . import qido_sql, trail
from .qido_params import QidoQuery, parse
from .qido_response import chosen_format, needs_whole, rows_answer
from .urls import accept_of, patient_of, root_of, services_of, uids_of

QUERIES = load(__package__)

COUNTED = (
    1000  # results beyond the page are counted so far: an archive of a million is not counted for a page
)

_BEYOND = {Level.STUDY: "beyond_studies", Level.SERIES: "beyond_series", Level.INSTANCE: "beyond_instances"}
_Count = Callable[..., Awaitable[int]]


async def find_studies(request: Request) -> Response:
    """`GET /studies`"""
    return await _search(request, Level.STUDY)


async def find_series(request: Request) -> Response:
    """`GET /series` and `GET /studies/{study}/series`"""
    return await _search(request, Level.SERIES)


async def find_instances(request: Request) -> Response:
    """`GET /instances`, and those of a study or of a series"""
    return await _search(request, Level.INSTANCE)


async def count_studies(request: Request) -> Response:
    """`GET /studies/count`: how many match, as dcm4chee answers it."""
    services = services_of(request)
    reach = await services.gate.reach_for(request, STUDY_SEARCH, patient_id=patient_of(request))
    query = parse(request.query_params.multi_items())
    count = await catalogue.count_studies(services.db, qido_sql.where(query, Level.STUDY), reach=reach)
    return Response(orjson.dumps({"count": count}), media_type="application/json")


async def _search(request: Request, level: Level) -> Response:
    services = services_of(request)
    reach = await services.gate.reach_for(request, STUDY_SEARCH, patient_id=patient_of(request), lazily=True)
    query = parse(request.query_params.multi_items())
    answer_in = chosen_format(accept_of(request))
    match = _within(request) & qido_sql.where(query, level)
    rows = await _find(
        services.db, level, query, match, reach=reach, parents="study" not in request.path_params
    )
    if not rows:
        await services.gate.confirm(request)
    warnings = list(query.warnings)
    if len(rows) > query.limit:
        del rows[query.limit :]
        warnings.append(await _more(services.db, level, query, match, reach=reach))
    _one_patient(request, rows)
    await trail.searched(request, (row.patient_id for row in rows))
    return await rows_answer(request, rows, query, level, answer_in, warnings, root_of(request))


async def _find(
    db: Database, level: Level, query: QidoQuery, match: Where, *, reach: Reach, parents: bool
) -> list[Row]:
    """One row more than wanted, to see whether there are more. `parents`: the study is not in the address."""
    limit, offset, whole = query.limit + 1, query.offset, needs_whole(query, level)
    if level is Level.STUDY:
        return await catalogue.find_studies(db, match, reach=reach, limit=limit, offset=offset, whole=whole)
    find = catalogue.find_series if level is Level.SERIES else catalogue.find_instances
    return await find(db, match, reach=reach, limit=limit, offset=offset, whole=whole, parents=parents)


async def _more(db: Database, level: Level, query: QidoQuery, match: Where, *, reach: Reach) -> str:
    """PS3.18, 8.3.4.4: how many results there are beyond this page."""
    values = {"after": query.offset + query.limit, "most": COUNTED}
    count = await db.fetch_val(QUERIES[_BEYOND[level]], values, reach=reach.studies(), match=match)
    return f"There are {count} additional results that can be requested"


def _within(request: Request) -> Where:
    """The study and series that the address names."""
    study, series, _ = uids_of(request)
    return catalogue.these(study, series) if study else TRUE


def _one_patient(request: Request, rows: list[Row]) -> None:
    """Raise Conflict for a study in the address that the caller sees under two patients (decision 8)."""
    if "study" in request.path_params and len({row.patient_id for row in rows}) > 1:
        raise Conflict(
            "This study lies under two patients that you reach: use the root of the one that is meant."
        )
