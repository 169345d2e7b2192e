"""Searches at the level of the patient, and how many there are of each level: as dcm4chee's archive has them.

Not part of PS3.18; the attributes are those of the patient level of PS3.4, C.6.1.1.2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_SEARCH
from server.imaging import catalogue, patients
from server.imaging.catalogue import Row
from server.imaging.columns import Level
from server.storage.where import TRUE

from . import qido_sql, trail
from .json_answer import json_answer
from .qido import in_time
from .qido_params import parse
from .qido_response import chosen_format, rows_answer
from .urls import accept_of, patient_of, root_of, services_of, uids_of

_Count = Callable[..., Awaitable[int]]


async def find_patients(request: Request) -> Response:
    """`GET /patients`: a key of a study finds the patients with such a study; what is counted is all in reach."""
    services = services_of(request)
    reach = await services.gate.reach_for(request, STUDY_SEARCH, patient_id=patient_of(request), lazily=True)
    query = parse(request.query_params.multi_items())
    answer_in = chosen_format(accept_of(request))
    match = qido_sql.where(query, Level.PATIENT)
    with in_time(query, Level.PATIENT):
        found = await patients.find(
            services.db, match, reach=reach, limit=query.limit + 1, offset=query.offset
        )
    if not found:
        await services.gate.confirm(request)
    warnings = list(query.warnings)
    if len(found) > query.limit:
        del found[query.limit :]
        total = await patients.count(services.db, match, reach=reach)
        more = total - query.offset - query.limit
        warnings.append(f"There are {more} additional results that can be requested")
    await trail.searched(request, (each.patient_id for each in found), found)
    rows = [Row(each.patient_id, "", each.qido, document=each.document) for each in found]
    return await rows_answer(request, rows, query, Level.PATIENT, answer_in, warnings, root_of(request))


async def count_patients(request: Request) -> Response:
    """`GET /patients/count`"""
    return await _counted(request, Level.PATIENT, patients.count)


async def count_studies(request: Request) -> Response:
    """`GET /studies/count`: how many match, as dcm4chee answers it."""
    return await _counted(request, Level.STUDY, catalogue.count_studies)


async def count_series(request: Request) -> Response:
    """`GET /series/count`, and those of a study"""
    return await _counted(request, Level.SERIES, catalogue.count_series)


async def count_instances(request: Request) -> Response:
    """`GET /instances/count`, and those of a study or of a series"""
    return await _counted(request, Level.INSTANCE, catalogue.count_instances)


async def _counted(request: Request, level: Level, count: _Count) -> Response:
    services = services_of(request)
    reach = await services.gate.reach_for(request, STUDY_SEARCH, patient_id=patient_of(request))
    query = parse(request.query_params.multi_items())
    study, series, _ = uids_of(request)
    within = catalogue.these(study, series) if study else TRUE
    with in_time(query, level):
        number = await count(services.db, within & qido_sql.where(query, level), reach=reach)
    return await json_answer(request, orjson.dumps({"count": number}), media_type="application/json")
