"""What a server does when its disk, its database or its clients fail it, over HTTP.

After each: nothing half stored, everything promised still there, and the same request again succeeds.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from server.imaging.verify import Report, Trouble, verify
from server.storage.local import LocalFiles
from server.storage.sql import Statement
from tests.conformance.dicomweb.samples import MULTIPART, Sample, body, instance, store
from tests.conftest import RunningServer
from tests.factories import People, bearer
from tests.waiting import tries

PACKS = Statement("packs", "SELECT state FROM pack")
OUT_OF_RESOURCES = 0xA700  # DICOM PS3.18, table I.2-2
RAW = {"Accept": 'application/dicom; transfer-syntax="*"'}


@pytest.fixture
async def web(fresh_server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    """A patient's client on a server of its own."""
    people = People(fresh_server.services)
    token = await people.token(await people.patient())
    async with httpx.AsyncClient(base_url=fresh_server.url, headers=bearer(token), timeout=60) as client:
        yield client


def large(megabytes: int = 3) -> Sample:
    """An image that does not wait in memory."""
    return instance(
        Rows=1024, Columns=512 * megabytes, PixelData=os.urandom(megabytes << 20), BitsAllocated=16
    )


def refusing(number: int) -> object:
    def refuse(*_: object) -> int:
        raise OSError(number, "refused")

    return refuse


async def states(server: RunningServer) -> list[str]:
    return [row["state"] for row in await server.services.db.fetch_all(PACKS)]


def files_of(server: RunningServer) -> list[Path]:
    return [path for path in (server.data / "objects").rglob("*") if path.is_file()]


async def verified(server: RunningServer) -> Report:
    services = server.services
    return await verify(services.db, services.objects, services.keyring)


async def retrieve(web: httpx.AsyncClient, sample: Sample) -> httpx.Response:
    return await web.get(f"/dicomweb{sample.path}", headers=RAW)


async def is_whole(web: httpx.AsyncClient, sample: Sample) -> bool:
    answer = await retrieve(web, sample)
    return hashlib.sha256(answer.content).digest() == hashlib.sha256(sample.data).digest()


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk(
    fresh_server: RunningServer,
    web: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    size: str,
    number: int,
) -> None:
    """Decision 27: a sentence, nothing half written, reading goes on."""
    held, refused = instance(), large() if size == "large" else instance()
    assert (await store(web, held)).status_code == 200
    with monkeypatch.context() as broken:
        broken.setattr(os, call, refusing(number))
        answer = await store(web, refused)
        assert answer.status_code in (409, 507)
        if answer.status_code == 409:
            [failure] = answer.json()["00081198"]["Value"]
            assert failure["00081197"]["Value"] == [OUT_OF_RESOURCES]
        assert await is_whole(web, held)
        assert (await retrieve(web, refused)).status_code == 404
    assert await states(fresh_server) == ["ready"]
    assert len(files_of(fresh_server)) == 1
    assert (await store(web, refused)).status_code == 200
    assert await is_whole(web, refused)
    assert (await verified(fresh_server)).clean


async def test_a_broken_disk_is_told_as_ours_and_as_passing(
    fresh_server: RunningServer, web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = instance()
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refusing(errno.EIO))
        assert (await store(web, sample)).status_code in (409, 503)
    assert (await states(fresh_server), files_of(fresh_server)) == ([], [])
    assert (await store(web, sample)).status_code == 200


@pytest.mark.parametrize("how", ["altered", "cut", "gone"])
async def test_a_damaged_object_is_never_given_out(
    fresh_server: RunningServer, web: httpx.AsyncClient, how: str
) -> None:
    bad, good = instance(), instance()
    for sample in (bad, good):
        assert (await store(web, sample)).status_code == 200
    path = await _file_of(fresh_server, bad)
    match how:
        case "altered":
            lying = bytearray(path.read_bytes())
            lying[-100] ^= 1
            path.write_bytes(lying)
        case "cut":
            os.truncate(path, path.stat().st_size - 5)
        case "gone":
            path.unlink()
    with suppress(httpx.RemoteProtocolError):  # cut off on the way: nobody takes a part for the whole
        answer = await retrieve(web, bad)
        assert answer.status_code >= 500
        assert "Traceback" not in answer.text
    assert await is_whole(web, good)
    report = await verified(fresh_server)
    assert {each.id for each in report.findings if each.what == "instance"} == {bad.sop}
    assert {each.trouble for each in report.findings} == {
        Trouble.MISSING if how == "gone" else Trouble.ALTERED
    }


async def test_clients_that_hang_up_leave_nothing(
    fresh_server: RunningServer, web: httpx.AsyncClient
) -> None:
    """More of them than the server has database connections."""
    content = body([large(5).data])

    async def half() -> AsyncIterator[bytes]:
        for start in range(0, len(content) // 2, 200_000):
            yield content[start : start + 200_000]
        raise ConnectionAbortedError

    async def hang_up() -> None:
        with suppress(ConnectionAbortedError, httpx.TransportError):
            await web.post("/dicomweb/studies", content=half(), headers={"Content-Type": MULTIPART})

    for _ in range(3):
        await asyncio.gather(*(hang_up() for _ in range(8)))
    async for _ in tries():
        if not await states(fresh_server) and not files_of(fresh_server):
            break
    assert (await states(fresh_server), files_of(fresh_server)) == ([], [])
    sample = instance()
    assert (await store(web, sample)).status_code == 200
    assert await is_whole(web, sample)


async def test_a_database_that_drops_every_connection(
    fresh_server: RunningServer, web: httpx.AsyncClient, database_url: str
) -> None:
    """Some requests are told to come again; none gets half an answer, and soon all is as before."""
    promised: list[Sample] = []

    async def upload() -> None:
        for _ in range(12):
            sample = instance()
            answer = await store(web, sample)
            assert answer.status_code in (200, 409, 503), answer.text
            if answer.status_code == 200:
                promised.append(sample)

    async def cut() -> None:
        for _ in range(5):
            await asyncio.sleep(0.1)
            await asyncio.to_thread(_drop_connections, database_url)

    await asyncio.gather(upload(), upload(), upload(), cut())
    for _ in range(40):  # what lies dead in the pool is noticed when it is used
        if (await store(web, instance())).status_code == 200:
            break
    assert promised
    for sample in promised:
        assert await is_whole(web, sample)
    assert (await verified(fresh_server)).clean


def _drop_connections(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def _file_of(server: RunningServer, sample: Sample) -> Path:
    where = Statement("where", "SELECT pack_id FROM instance WHERE sop_uid = :uid")
    pack_id = await server.services.db.fetch_val(where, {"uid": sample.sop})
    files = server.services.objects.files
    assert isinstance(files, LocalFiles)
    return files._path(pack_id)
