"""ImagingStudy and Endpoint made from the catalogue, under a lock on the study.

A store only marks its studies as stale, in its transaction. They are rebuilt a moment later in the background, before
a FHIR read that could see them, and by the worker when both were missed; `lightbox resync` rebuilds everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from operator import itemgetter

import orjson
import structlog

from server.access.reach import Reach
from server.access.services import Services
from server.core import clock
from server.jobs.queue import Kit, Periodic
from server.records import store
from server.storage.db import Record
from server.storage.sql import load

from . import derived
from .as_stored import instance_of, series_of, study_of
from .rebuild_fresh import make_fresh
from .to_fhir.endpoint import endpoint
from .to_fhir.imaging_study import Series, imaging_study
from .to_fhir.overlay import overlaid

QUERIES = load(__package__)
log = structlog.get_logger(__name__)

QUIET = 1.5  # seconds without a change before a study is rebuilt
LONGEST = 10.0  # seconds after which it is rebuilt all the same
TOGETHER = 50  # new studies in one transaction
AT_ONCE = 200  # studies that a read waits for
MISSED = timedelta(minutes=1)

StudyKey = tuple[str, str]  # patient, Study Instance UID


class _Waiting:
    """The studies of one server process that are to be rebuilt soon."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._first: dict[StudyKey, float] = {}
        self._last: dict[StudyKey, float] = {}
        self.task: asyncio.Task[None] | None = None

    def add(self, studies: Iterable[StudyKey]) -> None:
        moment = asyncio.get_running_loop().time()
        for key in studies:
            self._first.setdefault(key, moment)
            self._last[key] = moment
        if self._last and (self.task is None or self.task.done()):
            self.task = asyncio.create_task(self._run(), name="rebuild")

    async def _run(self) -> None:
        try:
            while self._last:
                await asyncio.sleep(QUIET / 3)
                await _attempt_all(self._services, self._due(asyncio.get_running_loop().time()))
        except AssertionError:
            return  # the pool is closed: the server has stopped, and they stay stale
        finally:
            _waiting.pop(id(self._services), None)

    def _due(self, moment: float) -> list[StudyKey]:
        """Those that were left alone for a while, or waited long enough; they wait no more."""
        due = [
            key
            for key, last in self._last.items()
            if moment - last >= QUIET or moment - self._first[key] >= LONGEST
        ]
        for key in due:
            del self._last[key], self._first[key]
        return due


_waiting: dict[int, _Waiting] = {}


def soon(services: Services, studies: Iterable[StudyKey]) -> None:
    """Rebuild these studies in a moment, when no more comes in."""
    keys = set(studies)
    if not keys:
        return
    found = _waiting.get(id(services))
    if found is None or found._services is not services:
        found = _waiting[id(services)] = _Waiting(services)
    found.add(keys)


async def refresh(services: Services, *, reach: Reach, patients: Sequence[str] = ()) -> int:
    """Bring what this reach can see up to date, before it is read; of these patients, or of all of them. How many."""
    values = {"patients": list(patients) or None, "limit": AT_ONCE}
    rows = await services.db.fetch_all(QUERIES["stale_studies"], values, reach=reach.studies())
    await _attempt_all(services, [(row["patient_id"], row["study_uid"]) for row in rows])
    return len(rows)


async def catch_up(services: Services) -> int:
    """Rebuild what was missed, for the worker; how many."""
    values = {"before": clock.now() - MISSED, "limit": AT_ONCE}
    rows = await services.db.fetch_all(QUERIES["long_stale"], values)
    await _attempt_all(services, [(row["patient_id"], row["study_uid"]) for row in rows])
    return len(rows)


async def _missed(services: Services) -> None:
    await catch_up(services)


KIT = Kit(periodic=(Periodic("imaging: studies to rebuild", MISSED, _missed),))


async def everything(services: Services) -> int:
    """Rebuild every study, stale or not; how many (`lightbox resync`)."""
    count = 0
    last = {"patient_id": "", "study_uid": ""}
    while rows := await services.db.fetch_all(QUERIES["all_studies"], {**last, "limit": 500}):
        for row in rows:
            await rebuild(services, row["patient_id"], row["study_uid"], anyway=True)
        last = {"patient_id": rows[-1]["patient_id"], "study_uid": rows[-1]["study_uid"]}
        count += len(rows)
    return count


async def readdress(services: Services) -> int:
    """Make the Endpoints anew that carry another public address than ours; how many (at every start)."""
    rows = await services.db.fetch_all(QUERIES["addressed_elsewhere"], {"base": services.settings.base_url})
    for row in rows:
        address = services.settings.patient_dicomweb(row["patient_id"])
        made = endpoint(row["patient_id"], address)
        await store.put(services.db, made, patient_id=row["patient_id"], author="server")
    return len(rows)


async def _attempt_all(services: Services, studies: Sequence[StudyKey]) -> None:
    """Rebuild them: new ones together, then, one by one, what that left."""
    for start in range(0, len(studies), TOGETHER):
        some = studies[start : start + TOGETHER]
        done = await _attempt_fresh(services, some) if len(some) > 1 else set()
        for key in some:
            if key not in done:
                await _attempt(services, *key)


async def _attempt_fresh(services: Services, studies: Sequence[StudyKey]) -> set[StudyKey]:
    """Those that were made together."""
    try:
        return await make_fresh(services, studies)
    except AssertionError:
        raise  # the pool is closed
    except Exception as error:
        log.info("new studies are rebuilt one by one", error=type(error).__name__)
        return set()


async def _attempt(services: Services, patient_id: str, study_uid: str) -> None:
    """Rebuild one; a study that cannot be stays stale, and stands in nobody else's way."""
    try:
        await rebuild(services, patient_id, study_uid)
    except AssertionError:
        raise  # the pool is closed
    except Exception as error:
        log.warning("a study is rebuilt later", error=type(error).__name__)


async def rebuild(services: Services, patient_id: str, study_uid: str, *, anyway: bool = False) -> None:
    """Make the ImagingStudy anew, and what else the study gives; a new version only where the content changed."""
    key = {"patient_id": patient_id, "study_uid": study_uid}
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["study_to_rebuild"], {**key, "anyway": anyway})
        if row is None:
            return
        if not row["hidden"]:  # a hidden one is out of every reach with the study, and comes back as it was
            await _make(services, row)
        await services.db.execute(QUERIES["rebuilt"], key)


async def _make(services: Services, row: Record) -> None:
    key = {"patient_id": row["patient_id"], "study_uid": row["study_uid"]}
    series, devices = derived.equipped(row["patient_id"], row["study_uid"], await _series(services, key))
    as_stored = study_of(row, series, await derived.orders_of(services, row))
    study = overlaid(as_stored, orjson.loads(row["corrected"]))
    place = endpoint(study.patient_id, services.settings.patient_dicomweb(study.patient_id))
    await store.put(services.db, place, patient_id=study.patient_id, author="server")
    made = imaging_study(study)
    await store.put(services.db, made, **key, author="server")
    await derived.make(services, derived.Source(study, made, row, [each.author for each in series]), devices)


async def _series(services: Services, key: dict[str, str]) -> list[Series]:
    rows = await services.db.fetch_all(QUERIES["instances_to_rebuild"], key)
    by_series = {
        uid: [instance_of(row) for row in group] for uid, group in groupby(rows, key=itemgetter("series_uid"))
    }
    return [
        series_of(row, held)
        for row in await services.db.fetch_all(QUERIES["series_to_rebuild"], key)
        if (held := by_series.get(row["series_uid"]))
    ]
