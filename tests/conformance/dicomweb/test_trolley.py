"""dicomtrolley, unchanged: it searches, and downloads what it found (PyPI, Apache-2.0)."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
from pathlib import Path

import httpx
import pytest
import requests
from dicomtrolley.core import Query, QueryLevels
from dicomtrolley.exceptions import DICOMTrolleyError
from dicomtrolley.qido_rs import HierarchicalQuery, QidoRS, RelationalQuery
from dicomtrolley.trolley import Trolley
from dicomtrolley.wado_rs import WadoRS

from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import Sample, instance, store
from tests.conftest import RunningServer
from tests.factories import bearer


@pytest.fixture
async def study(web: httpx.AsyncClient) -> list[Sample]:
    one = instance()
    two = instance(study=one.study, SeriesNumber=2)
    await store(web, one, two, instance(StudyDate="19990101", PatientName="Moor^Eve"))
    return [one, two]


def session(owner: Owner) -> requests.Session:
    made = requests.Session()
    made.headers.update(bearer(owner.token))
    return made


async def test_search_and_download(server: RunningServer, owner: Owner, study: list[Sample], tmp_path: Path):
    with session(owner) as open_session:
        searcher = QidoRS(open_session, f"{server.url}/dicomweb")
        trolley = Trolley(WadoRS(open_session, f"{server.url}/dicomweb"), searcher)

        def run() -> None:
            query = Query(
                PatientName="Moor*",
                min_study_date=datetime.datetime(2024, 1, 1),  # noqa: DTZ001 - as its documentation has it
                max_study_date=datetime.datetime(2024, 12, 31),  # noqa: DTZ001
                include_fields=["NumberOfStudyRelatedInstances"],
            )
            (found,) = trolley.find_studies(query)
            assert found.uid == study[0].study
            trolley.download(found, tmp_path)  # asks for the series itself first
            by_instance = WadoRS(open_session, f"{server.url}/dicomweb", request_per_series=False)
            everything = Query(StudyInstanceUID=study[0].study, query_level=QueryLevels.INSTANCE)
            (whole,) = searcher.find_studies(RelationalQuery.init_from_query(everything))
            assert len(list(by_instance.datasets(whole.all_instances()))) == 2

        await asyncio.to_thread(run)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in files}) == 2


async def test_levels(server: RunningServer, owner: Owner, study: list[Sample]):
    with session(owner) as open_session:
        searcher = QidoRS(open_session, f"{server.url}/dicomweb")

        def series() -> int:
            query = HierarchicalQuery(StudyInstanceUID=study[0].study, query_level=QueryLevels.SERIES)
            (found,) = searcher.find_studies(query)
            return len(found.series)

        assert await asyncio.to_thread(series) == 2


async def test_nothing_found_and_nothing_allowed(server: RunningServer, owner: Owner, study: list[Sample]):
    with session(owner) as open_session, requests.Session() as nobody:

        def run() -> None:
            assert QidoRS(open_session, f"{server.url}/dicomweb").find_studies(Query(PatientID="none")) == []
            with pytest.raises(DICOMTrolleyError, match="401"):
                QidoRS(nobody, f"{server.url}/dicomweb").find_studies(Query(PatientID="P-1"))

        await asyncio.to_thread(run)
