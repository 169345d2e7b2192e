"""QIDO-RS: search for studies, series and instances.

DICOM PS3.18, 10.6 (Search Transaction). One statement carries the keys and the reach; the rows are answers that
were prepared when they were stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_SEARCH
from server.access.reach import Reach
from server.core.errors import Conflict, StorageUnavailable, TooLarge, Unavailable
from server.imaging import catalogue
from server.imaging.catalogue import Page, Row
from server.imaging.columns import Kind, Level, column
from server.storage.db import Database
from server.storage.where import TRUE, Where

from . import qido_sql, trail
from .qido_params import QidoQuery, parse
from .qido_response import chosen_format, needs_whole, rows_answer
from .urls import accept_of, patient_of, root_of, services_of, uids_of


async def find_studies(request: Request) -> Response:
    """`GET /studies`"""
    return await _search(request, Level.STUDY)


async def find_series(request: Request) -> Response:
    """`GET /series` and `GET /studies/{study}/series`"""
    return await _search(request, Level.SERIES)


async def find_instances(request: Request) -> Response:
    """`GET /instances`, and those of a study or of a series"""
    return await _search(request, Level.INSTANCE)


async def _search(request: Request, level: Level) -> Response:
    services = services_of(request)
    reach = await services.gate.reach_for(request, STUDY_SEARCH, patient_id=patient_of(request), lazily=True)
    query = parse(request.query_params.multi_items())
    answer_in = chosen_format(accept_of(request))
    match = _within(request) & qido_sql.where(query, level)
    with in_time(query, level):
        page = await _find(services.db, level, query, match, reach=reach, within=uids_of(request))
    if not page.rows:
        await services.gate.confirm(request)
    warnings = list(query.warnings)
    if page.beyond:  # PS3.18, 8.3.4.4
        count = page.beyond if page.beyond < catalogue.COUNTED else f"at least {page.beyond}"
        warnings.append(f"There are {count} additional results that can be requested")
    _one_patient(request, page.rows)
    await trail.searched(request, (row.patient_id for row in page.rows), page.rows)
    return await rows_answer(request, page.rows, query, level, answer_in, warnings, root_of(request))


@contextmanager
def in_time(query: QidoQuery, level: Level) -> Iterator[None]:
    """A search that reads every object in reach, for want of an index, and does not end in time, was too broad.

    Raises TooLarge (PS3.18, Table 10.6.3-1: 413, narrow the query); Unavailable where that was not the reason.
    """
    try:
        yield
    except StorageUnavailable:
        raise
    except Unavailable as error:
        slow = [match.name for match in query.matches if column(level, match.path).kind is Kind.OTHER]
        if not slow:
            raise
        raise TooLarge(
            f"A search by {', '.join(slow)} reads every object it could be in, and there are too many: name the"
            " patient, the study, a date or a modality too."
        ) from error


async def _find(
    db: Database,
    level: Level,
    query: QidoQuery,
    match: Where,
    *,
    reach: Reach,
    within: tuple[str, str | None, str | None],
) -> Page:
    """The page that was asked for; of the levels that the address does not name, their attributes too (10.6.3.3)."""
    asked: dict[str, Any] = {
        "limit": query.limit,
        "offset": query.offset,
        "whole": needs_whole(query, level),
    }
    if level is Level.STUDY:
        return await catalogue.find_studies(db, match, reach=reach, **asked)
    asked["parents"] = not within[0]
    if level is Level.SERIES:
        return await catalogue.find_series(db, match, reach=reach, **asked)
    return await catalogue.find_instances(db, match, reach=reach, **asked, of_series=within[1] is None)


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
