"""The FHIR resources of new studies, many studies in one transaction.

What `rebuild` makes of one study, for studies that nothing was made of yet and that have nothing special: no reports,
no corrections. Whatever is not so is left to `rebuild`, one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from server.access.services import Services
from server.records.batch import Put, put_all
from server.records.provenance import agents_of
from server.storage.db import Record
from server.storage.sql import load

from . import derived
from .as_stored import instance_of, series_of, study_of
from .to_fhir import diagnostic_report
from .to_fhir.endpoint import endpoint
from .to_fhir.imaging_study import Instance, Series, imaging_study

QUERIES = load(__package__, "rebuild_fresh.sql")

StudyKey = tuple[str, str]  # patient, Study Instance UID
MOST_INSTANCES = 2_000  # of one study: a larger one is made alone
_MOST_ORDERS = 20


async def make_fresh(services: Services, studies: Sequence[StudyKey]) -> set[StudyKey]:
    """Make the resources of those of these studies that are new; which these were, the others stay stale.

    Raises Conflict and AlreadyStored when another writer was quicker with one of them: nothing is made then.
    """
    async with services.db.transaction():
        rows = await services.db.fetch_all(QUERIES["fresh_studies"], _keys(studies))
        rows = [row for row in rows if not any(map(diagnostic_report.is_report, row["sop_classes"]))]
        if not rows:
            return set()
        found = await _Facts(services).read(rows)
        made = [(row, put) for row in rows for put in found.of(row)]
        await put_all(services.db, (put for _, put in made))
        done = {_key(row) for row, _ in made}
        await services.db.execute(QUERIES["rebuilt_all"], _keys(sorted(done)))
    return done


class _Facts:
    """What is asked once for all of the studies."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._series: dict[StudyKey, list[Series]] = {}
        self._orders: dict[tuple[str, str], list[str]] = {}
        self._agents: dict[StudyKey, list[dict[str, Any]]] = {}

    async def read(self, rows: Sequence[Record]) -> _Facts:
        keys = _keys([_key(row) for row in rows])
        instances: dict[tuple[str, str, str], list[Instance]] = defaultdict(list)
        for row in await self._services.db.fetch_all(QUERIES["instances_of_fresh"], keys):
            instances[(*_key(row), row["series_uid"])].append(instance_of(row))
        for row in await self._services.db.fetch_all(QUERIES["series_of_fresh"], keys):
            if held := instances.get((*_key(row), row["series_uid"])):
                self._series.setdefault(_key(row), []).append(series_of(row, held))
        await self._read_orders(rows)
        await self._read_agents(rows)
        return self

    async def _read_orders(self, rows: Sequence[Record]) -> None:
        asked = [(row["patient_id"], row["accession_number"]) for row in rows if row["accession_number"]]
        if not asked:
            return
        values = {"patients": [one for one, _ in asked], "accessions": [other for _, other in asked]}
        for row in await self._services.db.fetch_all(QUERIES["ordered_by"], values):
            self._orders.setdefault((row["patient_id"], row["accession"]), []).append(row["id"])

    async def _read_agents(self, rows: Sequence[Record]) -> None:
        """Systems and organizations are the same for every patient: each combination of them is asked for once."""
        known: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in rows:
            key = _key(row)
            authors = tuple(derived.authors_of(row, [each.author for each in self._series.get(key, ())]))
            if any(each.startswith("account:") for each in authors):
                self._agents[key] = await agents_of(self._services.db, key[0], authors)
                continue
            if authors not in known:
                known[authors] = await agents_of(self._services.db, key[0], authors)
            self._agents[key] = known[authors]

    def of(self, row: Record) -> list[Put]:
        """The resources of one study; none where it is too large to be made beside others."""
        key = patient_id, study_uid = _key(row)
        series, devices = derived.equipped(patient_id, study_uid, self._series.get(key, ()))
        if sum(len(each.instances) for each in series) > MOST_INSTANCES:
            return []
        orders = self._orders.get((patient_id, row["accession_number"]), [])
        study = study_of(row, series, orders[:_MOST_ORDERS])
        resource = imaging_study(study)
        source = derived.Source(study, resource, row, [each.author for each in series])
        about = [resource, *devices, *derived.origins(source, self._agents[key])]
        place = endpoint(patient_id, self._services.settings.patient_dicomweb(patient_id))
        return [Put(place, patient_id), *(Put(each, patient_id, study_uid) for each in about)]


def _key(row: Record) -> StudyKey:
    return row["patient_id"], row["study_uid"]


def _keys(studies: Sequence[StudyKey]) -> dict[str, list[str]]:
    return {"patients": [one for one, _ in studies], "studies": [other for _, other in studies]}
