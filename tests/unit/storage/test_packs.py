"""The two steps of a store, and whoever dies between them."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from asyncpg import PostgresError

from server.core import clock
from server.core.errors import StorageUnavailable
from server.storage import packs
from server.storage.crypto import CHUNK
from server.storage.db import Database
from server.storage.local import LocalFiles
from server.storage.objects import Address, Missing, ObjectStore, Pack
from server.storage.sql import Statement

ROWS = Statement("rows", "SELECT id, state, size FROM pack")


@pytest.fixture
async def objects(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    made = ObjectStore(LocalFiles(tmp_path / "objects"))
    yield made
    await made.close()


async def write(pack: Pack, size: int = 10) -> Address:
    writer = await pack.begin()
    await writer.write(os.urandom(size))
    return (await writer.finish()).address


async def states(db: Database) -> list[str]:
    return [row["state"] for row in await db.fetch_all(ROWS)]


async def lying(objects: ObjectStore) -> int:
    """How many files there are, drafts too."""
    published = [each async for each in objects.list_packs()]
    return len(published) + len([each async for each in objects.list_drafts()])


async def test_a_store_becomes_visible_with_its_rows(db: Database, objects: ObjectStore) -> None:
    async with packs.opened(db, objects) as pack:
        address = await write(pack)
        size = await pack.publish()
        assert await states(db) == ["pending"]
        async with db.transaction():
            await packs.ready(db, pack)
    [row] = await db.fetch_all(ROWS)
    assert (row["id"], row["state"], row["size"]) == (pack.id, "ready", size)
    assert len(await objects.read(address)) == 10


async def test_the_file_may_become_durable_while_the_rows_are_prepared(
    db: Database, objects: ObjectStore
) -> None:
    async with packs.opened(db, objects) as pack:
        address = await write(pack, 3 * CHUNK)
        pack.publish_soon()
        async with db.transaction():
            await packs.ready(db, pack)
    assert await states(db) == ["ready"]
    assert len(await objects.read(address)) == 3 * CHUNK


async def test_the_row_is_there_before_the_file(
    db: Database, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_note(db: Database, pack_id: object) -> None:
        await asyncio.sleep(0.01)
        raise StorageUnavailable()

    monkeypatch.setattr(packs, "_note", no_note)
    for size in (10, 5 * CHUNK):
        with pytest.raises(StorageUnavailable):  # noqa: PT012 - the block is the request
            async with packs.opened(db, objects) as pack:
                await write(pack, size)
                await pack.publish()
    assert await lying(objects) == 0


@pytest.mark.parametrize("moment", ["nothing", "begun", "written", "published", "inserted"])
@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, None])
async def test_the_way_back(
    db: Database, objects: ObjectStore, moment: str, error: type[BaseException] | None
) -> None:
    """An error, a client that hangs up, or nothing to store: neither file nor row remains."""

    async def attempt() -> None:
        async with packs.opened(db, objects) as pack:
            if moment != "nothing":
                writer = await pack.begin()
                await writer.write(os.urandom(3 * CHUNK))
            if moment in ("written", "published", "inserted"):
                await writer.finish()
            if moment in ("published", "inserted"):
                await pack.publish()
            if moment == "inserted" and error:
                async with db.transaction():
                    await packs.ready(db, pack)
                    raise error
            if error:
                raise error

    task = asyncio.create_task(attempt())
    await asyncio.wait([task])
    if error is None:
        await task
    else:
        with pytest.raises(error):
            await task
    assert await states(db) == []
    assert await lying(objects) == 0


async def test_what_was_committed_stays_whatever_fails_afterwards(db: Database, objects: ObjectStore) -> None:
    with pytest.raises(ValueError, match="afterwards"):  # noqa: PT012 - the block is the request
        async with packs.opened(db, objects) as pack:
            address = await write(pack)
            async with db.transaction():
                await packs.ready(db, pack)
            raise ValueError("afterwards")
    assert await states(db) == ["ready"]
    assert len(await objects.read(address)) == 10


async def test_a_refused_commit_takes_the_file_with_it(db: Database, objects: ObjectStore) -> None:
    with pytest.raises(PostgresError):  # noqa: PT012 - the block is the request
        async with packs.opened(db, objects) as pack:
            await write(pack)
            async with db.transaction():
                await packs.ready(db, pack)
                await db.execute(Statement("wrong", "SELECT 1/0"))
    assert await states(db) == []
    assert await lying(objects) == 0


async def test_cancelled_at_any_moment_it_is_whole_or_gone(db: Database, objects: ObjectStore) -> None:
    async def attempt() -> None:
        async with packs.opened(db, objects) as pack:
            await write(pack, 2 * CHUNK)
            pack.publish_soon()
            async with db.transaction():
                await packs.ready(db, pack)

    for tick in range(40):
        task = asyncio.create_task(attempt())
        await asyncio.sleep(tick * 0.0005)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.gather(*packs._under_way)
        found = await states(db)
        assert await lying(objects) == len(found)
        assert set(found) <= {"ready"}


async def test_a_dead_writers_pack_is_swept(db: Database, objects: ObjectStore) -> None:
    for publish in (False, True):
        pack = await objects.open_pack(lambda pack_id: packs._note(db, pack_id))
        await write(pack, 3 * CHUNK)
        if publish:
            await pack.publish()
    assert await packs.sweep(db, objects) == 0
    clock.travel(timedelta(hours=1))
    assert await packs.sweep(db, objects) == 2
    assert (await states(db), await lying(objects)) == ([], 0)


async def test_a_living_writer_is_never_swept(
    db: Database, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the upload takes: it says that it lives."""
    monkeypatch.setattr(packs, "BEAT", 0.01)
    async with packs.opened(db, objects) as pack:
        await write(pack, 3 * CHUNK)
        clock.travel(timedelta(hours=5))
        await asyncio.sleep(0.1)
        assert await packs.sweep(db, objects) == 0
        async with db.transaction():
            await packs.ready(db, pack)
    assert await states(db) == ["ready"]


async def test_a_writer_that_slept_too_long_is_refused(db: Database, objects: ObjectStore) -> None:
    for published in (False, True):
        clock.travel(timedelta())
        with pytest.raises(StorageUnavailable):  # noqa: PT012 - the block is the request
            async with packs.opened(db, objects) as pack:
                await write(pack, 3 * CHUNK)
                if published:
                    await pack.publish()
                clock.travel(timedelta(hours=5))
                assert await packs.sweep(db, objects) == 1
                async with db.transaction():
                    await packs.ready(db, pack)
    assert (await states(db), await lying(objects)) == ([], 0)


async def test_the_sweep_passes_over_what_becomes_ready_at_this_moment(
    db: Database, objects: ObjectStore
) -> None:
    async with packs.opened(db, objects) as pack:
        address = await write(pack)
        await pack.publish()
        clock.travel(timedelta(hours=5))
        async with db.transaction():
            await packs.ready(db, pack)
            swept = await asyncio.create_task(packs.sweep(db, objects))
        assert swept == 0
    assert len(await objects.read(address)) == 10


async def test_drafts_without_a_row_are_nobodys(db: Database, objects: ObjectStore) -> None:
    pack = await objects.open_pack()
    await write(pack, 3 * CHUNK)
    assert await lying(objects) == 1
    assert await packs.sweep(db, objects) == 1
    assert await lying(objects) == 0


async def test_published_packs_without_a_row_are_told_not_swept(db: Database, objects: ObjectStore) -> None:
    pack = await objects.open_pack()
    await write(pack)
    await pack.publish()
    await packs.sweep(db, objects)
    assert [each async for each in packs.unknown(db, objects.list_packs())] == [pack.id]


async def test_a_dropped_pack_goes_with_the_next_sweep_or_not_at_all(
    db: Database, objects: ObjectStore
) -> None:
    async with packs.opened(db, objects) as pack:
        address = await write(pack)
        async with db.transaction():
            await packs.ready(db, pack)
    with pytest.raises(ValueError, match="rolled back"):  # noqa: PT012 - the block is the request
        async with db.transaction():
            await packs.drop(db, [pack.id])
            raise ValueError("rolled back")
    assert await packs.sweep(db, objects) == 0
    await objects.read(address)
    await packs.drop(db, [pack.id])
    assert await packs.sweep(db, objects) == 1
    with pytest.raises(Missing):
        await objects.read(address)


async def test_more_stores_at_once_than_connections(db: Database, objects: ObjectStore) -> None:
    """Nobody holds a connection while waiting for another: five there are, and forty stores."""

    async def one() -> None:
        async with packs.opened(db, objects) as pack:
            await write(pack)
            async with db.transaction():
                await db.fetch_all(ROWS)
                await packs.ready(db, pack)

    await asyncio.wait_for(asyncio.gather(*(one() for _ in range(40))), 30)
    assert await states(db) == ["ready"] * 40


async def test_an_empty_pack_is_not_published(objects: ObjectStore) -> None:
    async with await objects.open_pack() as pack:
        with pytest.raises(RuntimeError):
            await pack.publish()
