"""ImagingStudy and Endpoint from the catalogue: made whole, under a lock on the study, when it was stored to.

A store marks its studies stale in its own transaction. They are rebuilt soon after, when the study has been quiet
for a moment (an upload is many stores and should be one version), and in any case before FHIR shows them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

import orjson
import structlog

from server.access.services import Services
from server.core import clock
from server.core.errors import ServerError
from server.records import store
from server.storage.db import Record
from server.storage.sql import load

from .to_fhir.endpoint import endpoint
from .to_fhir.imaging_study import Instance, Series, Study, imaging_study

QUERIES = load(__package__, "rebuild.sql")
QUIET = timedelta(seconds=2)
PAGE = 200

log = structlog.get_logger(__name__)
_tasks: set[asyncio.Task[None]] = set()  # a task that nobody holds may vanish


def soon(services: Services, studies: set[tuple[str, str]]) -> None:
    """Rebuild these studies (patient, study) when they have been quiet for a moment. Reads do not wait for it."""
    if studies:
        task = asyncio.create_task(_later(services, sorted({each[0] for each in studies})))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


async def refresh(services: Services, patients: Sequence[str] | None = None) -> int:
    """Rebuild every stale study, of these patients or of all; how many there were."""
    return await _rebuild_stale(services, patients, quiet=False)


async def everything(services: Services) -> int:
    """Rebuild all studies, stale or not (`lightbox resync`); how many there are."""
    await services.db.execute(QUERIES["all_stale"])
    return await refresh(services)


async def readdress(services: Services) -> int:
    """Make the Endpoints anew that carry another public address than ours; how many there were."""
    rows = await services.db.fetch_all(QUERIES["addressed_elsewhere"], {"base": services.settings.base_url})
    for row in rows:
        await _put_endpoint(services, row["patient_id"])
    return len(rows)


async def _later(services: Services, patients: list[str]) -> None:
    await asyncio.sleep(QUIET.total_seconds() * 1.05)
    try:
        await _rebuild_stale(services, patients, quiet=True)
    except ServerError as error:  # they stay stale, and are rebuilt before they are shown
        log.warning("studies not rebuilt yet", error=type(error).__name__)


async def _rebuild_stale(services: Services, patients: Sequence[str] | None, *, quiet: bool) -> int:
    values = {
        "patients": None if patients is None else list(patients),
        "before": clock.now() - QUIET if quiet else None,
        "limit": PAGE,
    }
    count = 0
    while rows := await services.db.fetch_all(QUERIES["stale"], values):
        for row in rows:
            await _rebuild(services, row["patient_id"], row["study_uid"])
        count += len(rows)
    return count


async def _rebuild(services: Services, patient_id: str, study_uid: str) -> None:
    values = {"patient": patient_id, "study": study_uid}
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["take"], values)
        if row is None:
            return
        series = await services.db.fetch_all(QUERIES["series"], values)
        instances = await services.db.fetch_all(QUERIES["instances"], values)
        resource = imaging_study(_study(row, series, instances))
        await _put_endpoint(services, patient_id)
        await store.put(services.db, resource, patient_id=patient_id, study_uid=study_uid, author="server")
        await services.db.execute(QUERIES["fresh"], values)


async def _put_endpoint(services: Services, patient_id: str) -> None:
    resource = endpoint(patient_id, services.settings.patient_dicomweb(patient_id))
    await store.put(services.db, resource, patient_id=patient_id, author="server")


def _study(row: Record, series: Sequence[Record], instances: Sequence[Record]) -> Study:
    of_series: dict[str, list[Instance]] = defaultdict(list)
    for each in instances:
        of_series[each["series_uid"]].append(
            Instance(each["sop_uid"], each["sop_class"], each["instance_number"])
        )
    return Study(
        fhir_id=row["fhir_id"],
        patient_id=row["patient_id"],
        uid=row["study_uid"],
        modalities=row["modalities"],
        attributes=_attributes(row),
        series=[
            Series(
                each["series_uid"],
                each["series_number"],
                each["modality"],
                _attributes(each),
                of_series[each["series_uid"]],
            )
            for each in series
        ],
    )


def _attributes(row: Record) -> dict[str, object]:
    found: dict[str, object] = orjson.loads(row["attributes"])
    return found
