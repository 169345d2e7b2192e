"""A full disk, a mail server that is down, a clock that jumps, strays: what was asked for happens, or is refused."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from server.audit import chain
from server.core import clock
from server.core.errors import Conflict, OutOfSpace
from server.imaging.verify import verify
from server.rights import erasure, erasure_steps
from server.storage import backup_file, strays
from server.storage.backup import back_up, keys_file
from server.storage.local import LocalFiles
from tests.conformance.dicomweb.samples import instance, store
from tests.conftest import RunningServer, serving
from tests.factories import People, Person, bearer
from tests.sharing_steps import actor_of
from tests.waiting import tries


async def asked(server: RunningServer, person: Person) -> object:
    services = server.services
    reach = await services.gate.reach_for_actor(actor_of(person), erasure.PATIENT_DELETE)
    [erasure_id] = await erasure.ask(services, actor=actor_of(person), reach=reach)
    async for _ in tries():
        if await erasure_steps.advance(services, erasure_id):
            return (await erasure.state_of(services, erasure_id))["step"]
    raise AssertionError("it does not end")


async def is_clean(server: RunningServer) -> bool:
    services = server.services
    report = await verify(services.db, services.objects, services.keyring)
    return report.clean and not (await chain.verify(services.db))[1]


async def test_a_backup_onto_a_full_disk(
    fresh_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it stays, and the one before is still there."""
    services, file = fresh_server.services, tmp_path / "night"
    await People(services).patient()
    await back_up(services.db, services.objects, services.keyring, file)
    before = file.read_bytes(), keys_file(file).read_bytes()
    real = backup_file.Writer._put

    def full(writer: backup_file.Writer, data: bytes) -> None:
        if writer.size > 2000:
            raise OSError(errno.ENOSPC, "full")
        real(writer, data)

    with monkeypatch.context() as broken:
        broken.setattr(backup_file.Writer, "_put", full)
        with pytest.raises(OutOfSpace):
            await back_up(services.db, services.objects, services.keyring, file)
    assert sorted(each.name for each in tmp_path.glob("*night*")) == ["night", "night.keys"]
    assert (file.read_bytes(), keys_file(file).read_bytes()) == before
    await back_up(services.db, services.objects, services.keyring, file)


async def test_mails_wait_and_everything_else_goes_on(database_url: str, tmp_path: Path) -> None:
    """Nobody answers at the mail server: an erasure is done all the same, and its mails are tried again."""
    async with serving(database_url, tmp_path / "data", smtp_url="smtp://127.0.0.1:9") as server:
        people = People(server.services)
        ada = await people.patient("Ada Moor")
        assert await asked(server, ada) == "done"
        assert await is_clean(server)


async def test_a_clock_that_jumps(fresh_server: RunningServer) -> None:
    """Forward by a day and back while things are stored and erased: nothing is lost, the log stays whole."""
    people = People(fresh_server.services)
    ada, other = await people.patient("Ada Moor"), await people.patient("Still Here")
    headers = bearer(await people.token(other, ttl=7 * 86400))
    async with httpx.AsyncClient(base_url=fresh_server.url, headers=headers, timeout=60) as web:
        samples = []
        for jump in (timedelta(days=1), timedelta(hours=-3), timedelta(), timedelta(minutes=40)):
            clock.travel(jump)
            samples.append(instance())
            assert (await store(web, samples[-1])).status_code in (200, 401)
        clock.travel(timedelta(hours=2))
        assert await asked(fresh_server, ada) == "done"
        clock.travel(timedelta())
        assert (await store(web, instance())).status_code == 200
    assert await is_clean(fresh_server)


async def test_strays_are_set_aside_by_a_rule(fresh_server: RunningServer) -> None:
    """`verify --repair`: old files without a row are moved, young ones and too many of them are not."""
    services, ada = fresh_server.services, await People(fresh_server.services).patient()
    headers = bearer(await People(services).token(ada))
    async with httpx.AsyncClient(base_url=fresh_server.url, headers=headers, timeout=60) as web:
        assert (await store(web, instance())).status_code == 200
    files = services.objects.files
    assert isinstance(files, LocalFiles)
    lost = files._path(uuid4())
    lost.write_bytes(b"lightbox pack 1\n")
    assert await strays.set_aside(services.db, services.objects) == []
    os.utime(lost, (0, 0))
    assert [str(each) for each in await strays.set_aside(services.db, services.objects)] == [lost.name]
    assert (files.root / "strays" / lost.name).exists()
    report = await verify(services.db, services.objects, services.keyring)
    assert report.clean
    assert report.strays == []
    for _ in range(11):
        os.utime(_written(files._path(uuid4())), (0, 0))
    with pytest.raises(Conflict):
        await strays.set_aside(services.db, services.objects)


def _written(path: Path) -> Path:
    path.write_bytes(b"lightbox pack 1\n")
    return path
