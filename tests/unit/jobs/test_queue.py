"""The queue and the worker: done if committed, once by one worker, again after a failure, given up in the end."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from server.core import clock
from server.core.errors import StorageUnavailable
from server.jobs import queue
from server.jobs.queue import Job, Kit, Periodic
from server.jobs.worker import Worker
from server.storage.db import Database
from server.storage.sql import Statement
from tests.waiting import tries

COUNT = Statement("t", "SELECT count(*) FROM job")


@pytest.fixture(autouse=True)
def _clock():
    yield
    clock.travel(timedelta())


@dataclass
class Bench:
    """Services of a worker, and what its handlers saw."""

    db: Database
    seen: list[Job] = field(default_factory=list)
    failures: int = 0
    turns: int = 0


async def note(bench: Bench, job: Job) -> None:
    if bench.failures:
        bench.failures -= 1
        raise RuntimeError("a mail to someone@example.org failed")
    bench.seen.append(job)


async def turn(bench: Bench) -> None:
    bench.turns += 1


async def seen(bench: Bench, count: int) -> None:
    """Returns when so many jobs are done."""
    async for _ in tries():
        if len(bench.seen) >= count:
            return
    raise AssertionError(f"{len(bench.seen)} of {count} jobs")


KIT = Kit(handlers={"note": note})


@pytest.fixture
def bench(db) -> Bench:
    return Bench(db)


async def test_a_job_is_done_once(db, bench):
    await queue.enqueue(db, "note", {"n": 1})
    worker = Worker(bench, [KIT])
    assert await worker.drain() == 1
    assert await worker.drain() == 0
    assert [job.payload for job in bench.seen] == [{"n": 1}]
    assert await db.fetch_val(COUNT) == 0


async def test_a_job_comes_with_the_transaction_or_not_at_all(db, bench):
    async def enqueue_and_fail() -> None:
        async with db.transaction():
            await queue.enqueue(db, "note", {"n": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await enqueue_and_fail()
    assert await Worker(bench, [KIT]).drain() == 0


async def test_several_workers_share_the_jobs(db, bench):
    for n in range(30):
        await queue.enqueue(db, "note", {"n": n})
    counts = await asyncio.gather(*(Worker(bench, [KIT]).drain() for _ in range(4)))
    assert sum(counts) == 30
    assert sorted(job.payload["n"] for job in bench.seen) == list(range(30))


async def test_a_failure_is_tried_again_later(db, bench):
    bench.failures = 2
    await queue.enqueue(db, "note", {})
    worker = Worker(bench, [KIT])
    assert await worker.drain() == 1
    assert await worker.drain() == 0
    clock.travel(queue.FIRST_DELAY)
    assert await worker.drain() == 1
    clock.travel(queue.FIRST_DELAY * 2)
    assert await worker.drain() == 0
    clock.travel(queue.FIRST_DELAY * 3)
    assert await worker.drain() == 1
    assert bench.seen[0].tries == 3


async def test_what_keeps_failing_is_kept_for_the_operator_then_dropped(db, bench):
    bench.failures = 1000
    await queue.enqueue(db, "note", {})
    worker, moved = Worker(bench, [KIT]), timedelta()
    for _ in range(queue.MOST_TRIES):
        assert await worker.drain() == 1
        moved += queue.LONGEST_DELAY
        clock.travel(moved)
    assert await worker.drain() == 0
    [dead] = await db.fetch_all(queue.QUERIES["dead"])
    assert (dead["tries"], dead["problem"]) == (queue.MOST_TRIES, "RuntimeError")
    clock.travel(moved + queue.DEAD_KEPT + timedelta(days=1))
    await worker.drain()
    assert await db.fetch_val(COUNT) == 0


async def test_a_job_of_a_worker_that_died_is_done_by_another(db, bench):
    await queue.enqueue(db, "note", {})
    assert len(await queue.claim(db, ["note"], 1)) == 1  # and then the power went
    worker = Worker(bench, [KIT])
    assert await worker.drain() == 0
    clock.travel(queue.LEASE + timedelta(seconds=1))
    assert await worker.drain() == 1


async def test_a_job_for_later_waits(db, bench):
    await queue.enqueue(db, "note", {}, due_at=clock.now() + timedelta(hours=1))
    worker = Worker(bench, [KIT])
    assert await worker.drain() == 0
    clock.travel(timedelta(hours=1, seconds=1))
    assert await worker.drain() == 1


async def test_kinds_nobody_here_handles_are_left_alone(db, bench):
    await queue.enqueue(db, "other", {})
    assert await Worker(bench, [KIT]).drain() == 0
    assert await db.fetch_val(COUNT) == 1


async def test_periodic_work_is_done_by_one_of_all_workers(db, bench):
    kit = Kit(periodic=(Periodic("turn", timedelta(minutes=10), turn),))
    workers = [Worker(bench, [kit]) for _ in range(3)]
    await asyncio.gather(*(worker.drain() for worker in workers))
    assert bench.turns == 1
    clock.travel(timedelta(minutes=10, seconds=1))
    await asyncio.gather(*(worker.drain() for worker in workers))
    assert bench.turns == 2


async def test_periodic_work_that_fails_has_its_next_turn(db, bench):
    async def broken(bench: Bench) -> None:
        bench.turns += 1
        raise RuntimeError

    worker = Worker(bench, [Kit(periodic=(Periodic("broken", timedelta(minutes=1), broken),))])
    await worker.drain()
    clock.travel(timedelta(minutes=2))
    await worker.drain()
    assert bench.turns == 2


async def test_a_running_worker_is_woken_by_the_commit(db, bench, monkeypatch):
    """By the database's word: its own look every half a minute is put off for longer than this test waits."""
    monkeypatch.setattr("server.jobs.worker.LONGEST_SLEEP", 3600.0)
    async with Worker(bench, [KIT]).running():
        await asyncio.sleep(0.2)
        await queue.enqueue(db, "note", {})
        await seen(bench, 1)


async def test_a_worker_outlives_a_lost_database(db, bench, monkeypatch):
    monkeypatch.setattr("server.jobs.worker.PAUSE_AFTER_TROUBLE", 0.1)
    others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    kill = Statement("t", others + " WHERE datname = current_database() AND pid <> pg_backend_pid()")
    async with Worker(bench, [KIT]).running():
        for n in range(3):
            await asyncio.sleep(0.1)
            assert await db.fetch_val(kill) >= 1
            with suppress(StorageUnavailable):
                await db.fetch_val(COUNT)
            await queue.enqueue(db, "note", {"n": n})
            await seen(bench, n + 1)
    assert [job.payload["n"] for job in bench.seen] == [0, 1, 2]


async def test_an_idle_worker_hardly_asks(db, bench):
    asked = 0
    fetch_all = db.fetch_all

    async def counting(*args, **kwargs):
        nonlocal asked
        asked += 1
        return await fetch_all(*args, **kwargs)

    db.fetch_all = counting
    async with Worker(bench, [KIT]).running():
        await asyncio.sleep(1)
    assert asked <= 4


async def test_stopping_lets_work_under_way_finish(db, bench):
    begun = asyncio.Event()

    async def slow(bench: Bench, job: Job) -> None:
        begun.set()
        await asyncio.sleep(0.1)
        bench.seen.append(job)

    await queue.enqueue(db, "slow", {})
    async with Worker(bench, [Kit(handlers={"slow": slow})]).running():
        await asyncio.wait_for(begun.wait(), 60)
    assert len(bench.seen) == 1
    assert await db.fetch_val(COUNT) == 0


async def test_cancelling_gives_back_what_does_not_finish(db, bench, monkeypatch):
    monkeypatch.setattr("server.jobs.worker.TIME_TO_FINISH", 0.1)

    begun = asyncio.Event()

    async def endless(bench: Bench, job: Job) -> None:
        begun.set()
        await asyncio.sleep(600)

    await queue.enqueue(db, "endless", {})
    task = asyncio.create_task(Worker(bench, [Kit(handlers={"endless": endless})]).run())
    await asyncio.wait_for(begun.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [job] = await queue.claim(db, ["endless"], 1)
    assert job.tries == 1
