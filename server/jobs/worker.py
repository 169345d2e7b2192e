"""The worker: does the jobs, in a task inside each server process.

It sleeps until the database says that there is work (LISTEN), until the next date in the table, or half a minute:
an idle server asks two small questions a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Protocol

import structlog

from server.core import clock
from server.storage.db import Database, unhurried

from . import queue
from .queue import QUERIES, Handler, Job, Kit, Periodic

log = structlog.get_logger(__name__)

AT_ONCE = 4
LONGEST_SLEEP = 30.0  # seconds
PAUSE_AFTER_TROUBLE = 2.0
TIME_TO_FINISH = 5.0  # for jobs under way when the server stops
_LIMIT = queue.LEASE.total_seconds() - 30  # before the lease ends and another begins the same


class Needs(Protocol):
    """What the worker itself wants of the services; handlers get them whole."""

    @property
    def db(self) -> Database: ...


class Worker:
    """Runs the handlers and turns of its kits until it is stopped."""

    def __init__(self, services: Needs, kits: Sequence[Kit]) -> None:
        self._services = services
        self._db = services.db
        self._handlers: dict[str, Handler] = {}
        self._periodic: dict[str, Periodic] = {}
        for kit in (*kits, OWN):
            self._handlers.update(kit.handlers)
            self._periodic.update({each.name: each for each in kit.periodic})
        self._woken = asyncio.Event()
        self._stopping = False
        self._introduced = False  # the periodic work has its rows

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Worker]:
        """The worker at work, in a task of its own; leaving lets what is under way finish."""
        task = asyncio.create_task(self.run(), name="worker")
        try:
            yield self
        finally:
            self.stop()
            await task

    def stop(self) -> None:
        """Ask `run` to return when what is under way is done."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Work until stopped; the database going away for a while is waited out."""
        listener = asyncio.create_task(self._listen(), name="worker-listener")
        try:
            while not self._stopping:
                self._woken.clear()
                await self._round()
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener

    async def drain(self) -> int:
        """Do all that is due now, and return how many jobs that was (tests and the command line)."""
        count = 0
        await self._take_turns()
        while jobs := await queue.claim(self._db, list(self._handlers), AT_ONCE):
            await self._do_all(jobs)
            count += len(jobs)
        return count

    async def _round(self) -> None:
        try:
            if not await self.drain():
                await self._sleep(await self._until_next())
        except Exception as exc:  # mostly the database, away for a while: a worker never gives up
            log.warning("worker pauses", error=type(exc).__name__)
            await self._sleep(PAUSE_AFTER_TROUBLE)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    async def _until_next(self) -> float:
        values = {"kinds": list(self._handlers), "names": list(self._periodic)}
        due_at = await self._db.fetch_val(QUERIES["next_due"], values)
        if due_at is None:
            return LONGEST_SLEEP
        seconds: float = (due_at - clock.now()).total_seconds()
        return min(max(seconds, 0.01), LONGEST_SLEEP)

    async def _do_all(self, jobs: list[Job]) -> None:
        """Each in a task of its own: one slow mail server does not hold up the rest."""
        tasks = [asyncio.create_task(self._do(job)) for job in jobs]
        try:
            answers = await asyncio.shield(asyncio.gather(*tasks, return_exceptions=True))
        except asyncio.CancelledError:
            _, late = await asyncio.wait(tasks, timeout=TIME_TO_FINISH)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            raise
        for trouble in answers:
            if isinstance(trouble, BaseException):
                raise trouble  # of the database: a handler's own is dealt with in the task

    async def _do(self, job: Job) -> None:
        try:
            async with asyncio.timeout(_LIMIT):
                with unhurried():
                    await self._handlers[job.kind](self._services, job)
        except asyncio.CancelledError:
            await queue.give_back(self._db, job)
            raise
        except Exception as exc:
            await self._failed(job, exc)
        else:
            await queue.done(self._db, job)

    async def _failed(self, job: Job, exc: Exception) -> None:
        # The class only: the text of an error may hold an address.
        problem = type(exc).__name__
        given_up = await queue.failed(self._db, job, problem)
        say = log.error if given_up else log.warning
        say("job failed", kind=job.kind, job=str(job.id), tries=job.tries, error=problem, given_up=given_up)

    async def _take_turns(self) -> None:
        now = clock.now()
        if not self._introduced:
            names = [{"name": name, "now": now} for name in self._periodic]
            await self._db.execute_many(QUERIES["know_periodic"], names)
            self._introduced = True
        due = await self._db.fetch_all(QUERIES["due_turns"], {"names": list(self._periodic), "now": now})
        for each in (self._periodic[row["name"]] for row in due):
            values = {"name": each.name, "now": now, "next": now + each.every}
            if await self._db.fetch_val(QUERIES["take_turn"], values) is not None:
                await self._take_turn(each)

    async def _take_turn(self, each: Periodic) -> None:
        try:
            with unhurried():
                await each.run(self._services)
        except Exception as exc:  # the next turn comes
            log.error("periodic work failed", name=each.name, error=type(exc).__name__)

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except Exception as exc:  # until it listens again, it looks every half minute
                log.warning("worker does not hear of new jobs", error=type(exc).__name__)
            await asyncio.sleep(PAUSE_AFTER_TROUBLE)

    async def _listen_once(self) -> None:
        """Be woken by other processes' jobs until the connection is lost."""
        lost = asyncio.Event()

        def end(*_: object) -> None:
            lost.set()

        async with self._db.raw() as connection:
            await connection.add_listener("job", self._wake)
            connection.add_termination_listener(end)
            self._woken.set()  # for what was told while nobody listened
            try:
                await lost.wait()
            finally:
                connection.remove_termination_listener(end)
                await connection.remove_listener("job", self._wake)

    def _wake(self, *_: object) -> None:
        self._woken.set()


async def _sweep(services: Needs) -> None:
    await queue.forget_dead(services.db)


OWN = Kit(periodic=(Periodic("jobs: forget the dead", timedelta(hours=24), _sweep),))
