"""The database is gone for a while, or takes too long: requests are told so soon, and afterwards all is as before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest

from server.audit import chain
from server.core.errors import Unavailable
from server.imaging.verify import verify
from server.storage.db import Database, unhurried
from server.storage.sql import Statement
from tests.conformance.dicomweb.samples import Sample, instance, store
from tests.conftest import RunningServer, serving
from tests.factories import People, bearer

RAW = {"Accept": 'application/dicom; transfer-syntax="*"'}
SLEEP = Statement("sleep", "SELECT pg_sleep(0.5)")


class Wire:
    """What lies between server and database, and can be cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self._name = parts.path
        self._listener: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"postgresql://postgres:@127.0.0.1:{self._port}{self._name}"

    async def join(self) -> None:
        self._listener = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for each in list(self._ends):
            each.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._socket)
        self._ends |= {writer, back}

        async def along(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError, RuntimeError):
                while data := await source.read(65536):
                    target.write(data)
                    await target.drain()
            target.transport.abort()

        await asyncio.gather(along(reader, back), along(there, writer))
        self._ends -= {writer, back}


@asynccontextmanager
async def behind_a_wire(url: str, data: Path) -> AsyncIterator[tuple[RunningServer, Wire]]:
    wire = Wire(url)
    await wire.join()
    try:
        async with serving(wire.url, data) as server:
            yield server, wire
            if wire._listener is None:
                await wire.join()
    finally:
        await wire.cut()


async def _story(url: str, data: Path, seconds: float) -> None:
    async with behind_a_wire(url, data) as (server, wire):
        token = await People(server.services).token(await People(server.services).patient())
        async with httpx.AsyncClient(base_url=server.url, headers=bearer(token), timeout=60) as web:
            kept: list[Sample] = [instance()]
            assert (await store(web, kept[0])).status_code == 200
            await wire.cut()
            until, refused = time.monotonic() + seconds, 0
            while time.monotonic() < until:
                sample = instance()
                answers = [
                    await store(web, sample),
                    await web.get("/fhir/Patient"),
                    await web.get("/health/ready"),
                ]
                assert [each.status_code for each in answers if each.status_code < 400] == []
                assert all(each.status_code in (409, 503) for each in answers), [
                    each.text for each in answers
                ]
                assert (await web.get("/health/live")).status_code == 200
                refused += 1
                await asyncio.sleep(0.2)
            assert refused
            await wire.join()
            for _ in range(50):  # what lies dead in the pool is noticed when it is used
                if (await web.get("/fhir/Patient")).status_code == 200:
                    break
            kept.append(instance())
            assert (await store(web, kept[1])).status_code == 200
            for sample in kept:
                assert (await web.get(f"/dicomweb{sample.path}", headers=RAW)).content == sample.data
        services = server.services
        report = await verify(services.db, services.objects, services.keyring)
        assert (report.clean, report.objects, report.strays) == (True, 2, [])
        assert (await chain.verify(services.db))[1] == []


async def test_a_database_that_is_gone_for_a_while(database_url: str, tmp_path: Path) -> None:
    """503 and a sentence while it is gone, the process lives on; nothing half stored; all is well when it is back."""
    await _story(database_url, tmp_path / "server", 1)


@pytest.mark.long
async def test_a_database_that_is_gone_for_a_minute(database_url: str, tmp_path: Path) -> None:
    await _story(database_url, tmp_path / "server", 60)


async def test_a_statement_that_takes_too_long(database_url: str) -> None:
    """Requests are bound (LIGHTBOX_STATEMENT_SECONDS); jobs, exports and commands are not, nor is what comes after."""
    db = Database(database_url, max_size=1, statement_seconds=0.1)
    await db.connect()
    try:
        with pytest.raises(Unavailable):
            await db.fetch_val(SLEEP)
        with unhurried():
            await db.fetch_val(SLEEP)
            async with db.transaction():
                await db.fetch_val(SLEEP)
        for _ in range(2):
            with pytest.raises(Unavailable):
                async with db.transaction():
                    await db.fetch_val(SLEEP)
    finally:
        await db.disconnect()


async def test_a_request_that_waits_too_long_is_told_so(database_url: str, tmp_path: Path) -> None:
    """Each surface in its own language: an OperationOutcome, JSON, a page; 503, and the next one is served."""
    async with serving(database_url, tmp_path / "server", statement_seconds=1) as server:
        people = People(server.services)
        ada = await people.patient()
        async with httpx.AsyncClient(base_url=server.url) as web:
            headers = bearer(await people.token(ada))
            with psycopg.connect(database_url) as other:
                # Beside the loop: the server's own background work, which runs on it, may have to end first.
                lock = "LOCK TABLE patient, study IN ACCESS EXCLUSIVE MODE"
                await asyncio.to_thread(other.execute, lock)
                fhir = await web.get("/fhir/ImagingStudy", headers=headers)
                dicom = await web.get("/dicomweb/studies", headers=headers)
            assert (fhir.status_code, dicom.status_code) == (503, 503)
            assert fhir.json()["resourceType"] == "OperationOutcome"
            assert "took too long" in fhir.text
            assert "took too long" in dicom.text
            assert (await web.get("/fhir/ImagingStudy", headers=headers)).status_code == 200
