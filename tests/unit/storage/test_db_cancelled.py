"""A request given up in the middle of a statement or a commit gives its connection back."""

import asyncio

import pytest

from server.core.errors import Conflict
from server.storage.db import Database, unhurried
from server.storage.sql import Statement

ONE = Statement("one", "SELECT 1")


async def test_no_connection_is_lost_to_cancelled_work(db: Database) -> None:
    async def busy(seconds: float) -> None:
        with pytest.raises(TimeoutError):  # noqa: PT012 - the block is what is cancelled
            async with asyncio.timeout(seconds):
                while True:
                    async with db.transaction():
                        await db.fetch_val(ONE)
                    await db.fetch_val(ONE)
        async with db.transaction(), db.transaction():  # the same task goes on
            assert await db.fetch_val(ONE) == 1

    for step in range(150):
        await asyncio.create_task(busy(0.0003 + step * 0.00005))
    await asyncio.gather(*(busy(0.01) for _ in range(20)))


async def test_no_connection_is_lost_to_cancelled_work_without_a_limit(database_url: str) -> None:
    """What lifts the limit and sets it again may be given up too; whoever asks next has the limit."""
    db = Database(database_url, max_size=2, statement_seconds=7)
    await db.connect()
    try:

        async def busy(seconds: float) -> None:
            with pytest.raises(TimeoutError):  # noqa: PT012 - the block is what is cancelled
                async with asyncio.timeout(seconds):
                    with unhurried():
                        while True:
                            await db.fetch_val(ONE)

        for step in range(60):
            await asyncio.create_task(busy(0.0003 + step * 0.00005))
        for _ in range(3):
            limit = await asyncio.create_task(db.fetch_val(Statement("limit", "SHOW statement_timeout")))
            assert limit == "7s"
    finally:
        await db.disconnect()


async def test_no_connection_is_lost_to_a_refused_commit(db: Database) -> None:
    """One connection less each time would end after five."""
    await db.execute(Statement("a", "CREATE TABLE a (x int PRIMARY KEY)"))
    await db.execute(Statement("b", "CREATE TABLE b (x int REFERENCES a DEFERRABLE INITIALLY DEFERRED)"))

    async def orphan() -> None:
        async with db.transaction():
            await db.execute(Statement("c", "INSERT INTO b VALUES (1)"))

    for _ in range(8):
        with pytest.raises(Conflict):
            await asyncio.create_task(orphan())
    assert await db.fetch_val(ONE) == 1
