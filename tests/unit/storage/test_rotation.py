"""The master key turned over while others use it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.access.services import Services
from server.audit import chain
from server.core.errors import Conflict
from server.storage import rotation
from server.storage.db import Database
from server.storage.keyring import KeyRing, KeyUnusable, read_key_file
from server.storage.sql import Statement
from tests.factories import People
from tests.waiting import tries

WRAPPED = Statement("wrapped", "SELECT patient_id, wrapped FROM keys.patient_key")


async def test_every_process_picks_the_new_key_up(services: Services) -> None:
    """A second process, opened before, wraps with the new key at its next use; nothing is lost on the way."""
    path = services.settings.key_file
    other, before = KeyRing.load(path, create=False), path.read_bytes()
    people = People(services)
    first = await people.patient()
    sealed = other.seal(None, b"a mail", b"mail")
    count = await rotation.rotate_master(services.db, path, grace=0)
    assert count == 1
    old = KeyRing(_masters(before))
    second = await people.patient("Late Comer")
    held = {row["patient_id"]: row["wrapped"] for row in await services.db.fetch_all(WRAPPED)}
    for wrapped in (held[first.fhir_id], held[second.fhir_id], other.new_patient_key()):
        assert other.is_newest(wrapped)
        with pytest.raises(KeyUnusable):
            old.wrap(wrapped, b"k" * 32)
    fresh = KeyRing.load(path, create=False)
    assert fresh.open(None, sealed, b"mail") == b"a mail"
    fresh.rewrap(held[first.fhir_id])
    assert len(read_key_file(path).masters) == 1
    [retired] = path.parent.glob("*.retired")
    assert read_key_file(retired).masters == _masters(before)
    assert (await chain.verify(services.db))[1] == []


def _masters(content: bytes) -> tuple[bytes, ...]:
    from server.storage.keyring import parse

    return parse(content.decode()).masters


async def test_it_waits_for_who_wrapped_with_the_old_key(services: Services, database_url: str) -> None:
    """A registration that began before the change and commits during it: its key is wrapped anew too."""
    path, slow = services.settings.key_file, Database(database_url, max_size=2)
    await slow.connect()
    wrapped, begun, go_on = services.keyring.new_patient_key(), asyncio.Event(), asyncio.Event()

    async def register() -> None:
        async with slow.transaction():
            add = "INSERT INTO keys.patient_key (patient_id, wrapped, created_at) VALUES ('slow', :wrapped, now())"
            await slow.execute(Statement("add", add), {"wrapped": wrapped})
            begun.set()
            await go_on.wait()

    registering = asyncio.create_task(register())
    await begun.wait()
    rotating = asyncio.create_task(rotation.rotate_master(services.db, path, grace=0))
    async for _ in tries():
        if len(read_key_file(path).masters) == 2:
            break
    await asyncio.sleep(0.1)
    assert not rotating.done()
    assert len(read_key_file(path).masters) == 2
    go_on.set()
    await registering
    assert await rotating == 1
    [row] = await services.db.fetch_all(WRAPPED)
    KeyRing(read_key_file(path).masters).rewrap(row["wrapped"])
    await slow.disconnect()


async def test_cut_short_it_goes_on(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the file got its new key, and after half of the work: everything opens, and it can be finished."""
    path, people = services.settings.key_file, People(services)
    for _ in range(3):
        await people.patient()

    async def killed(*_: object) -> int:
        raise KeyboardInterrupt

    for name in ("_rewrap_all", "_older_transactions_ended"):
        with monkeypatch.context() as broken:
            broken.setattr(rotation, name, killed)
            with pytest.raises(KeyboardInterrupt):
                await rotation.rotate_master(services.db, path, grace=0)
        fresh = KeyRing.load(path, create=False)
        for row in await services.db.fetch_all(WRAPPED):
            fresh.rewrap(row["wrapped"])
    await rotation.rotate_master(services.db, path, grace=0)
    newest = KeyRing(read_key_file(path).masters)
    assert all(newest.is_newest(row["wrapped"]) for row in await services.db.fetch_all(WRAPPED))
    assert len(read_key_file(path).masters) == 1


async def test_one_at_a_time(services: Services) -> None:
    path = services.settings.key_file
    with rotation._alone(path), pytest.raises(Conflict):
        await rotation.rotate_master(services.db, path, grace=0)


def test_a_broken_file_does_not_stop_who_runs(tmp_path: Path) -> None:
    """What a process knows goes on; a start refuses."""
    path = tmp_path / "master.key"
    keyring = KeyRing.load(path, create=True)
    wrapped = keyring.new_patient_key()
    path.write_text("nonsense")
    assert keyring.wrap(wrapped, b"k" * 32)
