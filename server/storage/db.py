"""The database: the pool, transactions, and statements on the asyncpg connection beneath.

`databases` keeps the pool, and stays inside this file. Transactions, and the statements in them, go to the connection
it hands out, positional and prepared: a third of the cost of its own text path. Two of its traps to know: a task has
one connection, and a child task does not see its parent's transaction. A statement by itself takes a connection of
asyncpg's pool beneath (`_Loan`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from databases import Database as Pool

from server.core.errors import (
    AlreadyStored,
    Conflict,
    InvalidInput,
    OutOfSpace,
    StorageUnavailable,
    Unavailable,
)

from .sql import Bound, Statement, bind
from .where import Where

Record: TypeAlias = asyncpg.Record
Values = Mapping[str, Any]

# https://www.postgresql.org/docs/current/errcodes-appendix.html, class 40: the transaction may be tried again.
_RETRY = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # rolling back on a connection that was cut in the middle of an answer
    OSError,
)


_UNHURRIED: ContextVar[bool] = ContextVar("unhurried", default=False)
_BY_VALUE: ContextVar[bool] = ContextVar("by_value", default=False)
_FREELY = "SET statement_timeout = 0; SET plan_cache_mode = auto"
_BACK = "RESET statement_timeout; RESET plan_cache_mode"


@contextmanager
def unhurried() -> Iterator[None]:
    """Statements of this task may take as long as they want, and are planned as PostgreSQL thinks best: jobs, exports,
    backups, commands. Requests may not."""
    with _set(_UNHURRIED):
        yield


@contextmanager
def planned_by_value() -> Iterator[None]:
    """Statements of this task may be planned anew for their values: searches whose best way depends on them, where a
    wrong one costs more than a plan (a millisecond or two)."""
    with _set(_BY_VALUE):
        yield


@contextmanager
def _set(mode: ContextVar[bool]) -> Iterator[None]:
    before = mode.set(True)
    try:
        yield
    finally:
        mode.reset(before)


class Database:
    """PostgreSQL, as every layer above sees it.

    A statement that takes longer than `statement_seconds` is ended by PostgreSQL and raises Unavailable (0: none is).
    It is planned once a connection, without its values: a plan costs several times what most of these statements do,
    and PostgreSQL left to itself makes one each time for the sake of a cost it only guesses (`plan_cache_mode`).
    What is `planned_by_value` is left to it, on connections of their own, a third of all: to tell a connection would
    be two ways there and back.
    """

    def __init__(
        self,
        url: str,
        *,
        min_size: int = 1,
        max_size: int = 10,
        statement_seconds: float = 0,
        timeout: float = 60,
    ) -> None:
        limit = {"statement_timeout": f"{statement_seconds * 1000:.0f}"} if statement_seconds > 0 else {}

        def pool(plans: str, least: int, most: int) -> Pool:
            return Pool(
                _for_databases(url),
                min_size=least,
                max_size=most,
                reset=_leave,
                statement_cache_size=1000,
                server_settings={"plan_cache_mode": plans, **limit},
                timeout=timeout,
            )

        planning = max(1, max_size // 3)
        self._pool = pool("force_generic_plan", min_size, max(2, max_size - planning))
        self._planning = pool("auto", 0, planning)

    async def connect(self) -> None:
        with _translated():
            await self._pool.connect()
            await self._planning.connect()

    async def answers(self) -> None:
        """Ask it something. Raises StorageUnavailable when it does not answer."""
        async with self._connection() as connection:
            await connection.execute("SELECT 1")

    async def disconnect(self) -> None:
        await self._planning.disconnect()
        await self._pool.disconnect()

    async def fetch_all(self, query: Statement, values: Values | None = None, **parts: Where) -> list[Record]:
        """All rows of the statement."""
        text, args = query.bind(values, **parts)
        async with self._statement() as connection:
            rows: list[Record] = await connection.fetch(text, *args)
            return rows

    async def fetch_one(
        self, query: Statement, values: Values | None = None, **parts: Where
    ) -> Record | None:
        """The first row, or None."""
        text, args = query.bind(values, **parts)
        async with self._statement() as connection:
            return await connection.fetchrow(text, *args)

    async def fetch_val(self, query: Statement, values: Values | None = None, **parts: Where) -> Any:
        """The first column of the first row, or None."""
        text, args = query.bind(values, **parts)
        async with self._statement() as connection:
            return await connection.fetchval(text, *args)

    async def execute(self, query: Statement, values: Values | None = None, **parts: Where) -> int:
        """Run the statement; the number of rows it touched."""
        text, args = query.bind(values, **parts)
        async with self._statement() as connection:
            status: str = await connection.execute(text, *args)
            count = status.rpartition(" ")[2]
            return int(count) if count.isdigit() else 0

    async def execute_many(self, query: Statement, rows: Iterable[Values]) -> None:
        """Run the statement once for each row, in one round trip."""
        bound = [query.bind(row) for row in rows]
        if not bound:
            return
        async with self._connection() as connection:
            await connection.executemany(bound[0].text, [each.args for each in bound])

    async def iterate(
        self, query: Statement, values: Values | None = None, *, prefetch: int = 200, **parts: Where
    ) -> AsyncGenerator[Record, None]:
        """Rows one after the other, through a cursor; opens a transaction of its own.

        Who may stop early must close it (contextlib.aclosing): the connection is busy until then.
        """
        text, args = query.bind(values, **parts)
        async with self.transaction(), self._connection() as connection:
            async for row in connection.cursor(text, *args, prefetch=prefetch):
                yield row

    @asynccontextmanager
    async def transaction(self, *, isolation: str | None = None) -> AsyncIterator[None]:
        """All of the statements inside, or none; within another transaction, a savepoint.

        Raises Conflict when the database asks to try again (serialization failure, deadlock).
        """
        # asyncpg's own: that of `databases` never gives its connection back when BEGIN, COMMIT or ROLLBACK fails or
        # is cancelled (a client that hangs up, a serialization failure), until the pool is empty.
        async with self._connection() as connection, connection.transaction(isolation=isolation):
            yield

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[asyncpg.Connection]:
        """The asyncpg connection of this task (its open transaction included), for COPY and for libraries."""
        async with self._connection() as connection:
            yield connection

    def _connection(self) -> _Lease:
        return _Lease(self._fitting(), _FREELY if _UNHURRIED.get() else None)

    def _statement(self) -> _Lease | _Loan:
        """A connection for one statement: the one this task holds, or any."""
        pool = self._fitting()
        return self._connection() if _UNHURRIED.get() or _holds_one(pool) else _Loan(pool)

    def _fitting(self) -> Pool:
        """Where this task's connections come from; a transaction that is open has all of its statements."""
        return self._planning if _BY_VALUE.get() and not _holds_one(self._pool) else self._pool


def _holds_one(pool: Pool) -> bool:
    """Whether this task has a connection of the pool."""
    held = pool._connection
    return held is not None and held._connection_counter > 0


class _Lease:
    """A connection of the pool for one task; the one it holds already, inside a transaction.

    The driver's errors come out as ours.
    """

    __slots__ = ("_lease", "_mode", "_pool")

    def __init__(self, pool: Pool, mode: str | None) -> None:
        self._pool = pool
        self._lease = pool.connection()
        self._mode = mode

    async def __aenter__(self) -> asyncpg.Connection:
        try:
            await self._lease.__aenter__()
        except BaseException as error:
            self._forgotten(error)
            _translate(error)
            raise
        if self._lease._connection_counter > 1:  # within a transaction, which has its own
            self._mode = None
        if self._mode is not None:
            try:
                await self._set(self._mode)
            except BaseException as error:
                await self.__aexit__(type(error), error, None)
                raise
        return self._lease.raw_connection

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            try:
                if self._mode is not None:
                    await self._set(_BACK)  # to what the connection began with
            finally:
                await self._lease.__aexit__(kind, error, trace)
        except BaseException as failed:
            self._forgotten(failed)
            _translate(failed)
            raise
        if error is not None:
            self._forgotten(error)
            _translate(error)

    async def _set(self, statement: str) -> None:
        """A connection that broke says so to the statement it was taken for; one of which nobody knows is closed."""
        connection = self._lease.raw_connection
        if connection.is_closed():
            return
        try:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await connection.execute(statement)
        except asyncio.CancelledError:
            self._mode = None
            connection.terminate()
            raise

    def _forgotten(self, error: BaseException) -> None:
        """Cancelled perhaps while it was given back, which goes on behind: this task would be told that it still
        holds one, and could ask nothing any more. It gets another."""
        if isinstance(error, asyncio.CancelledError) and self._lease._connection_counter == 0:
            self._pool._connection = None


class _Loan:
    """A connection of the pool for one statement, from asyncpg's own pool beneath.

    What `databases` does around it, for a task that shall find the same connection again, takes a tenth of a request.
    """

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool: asyncpg.Pool | None = pool._backend._pool
        self._connection: asyncpg.Connection | None = None

    async def __aenter__(self) -> asyncpg.Connection:
        if self._pool is None:  # not connected, or not any more
            raise StorageUnavailable()
        with _translated():
            self._connection = await self._pool.acquire()
        return self._connection

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        assert self._pool is not None
        with _translated():
            await self._pool.release(self._connection)
        if error is not None:
            _translate(error)


async def _leave(connection: asyncpg.Connection) -> None:
    """Nothing to ask of the database when a connection goes back to the pool, which saves a round trip a statement.

    asyncpg has rolled back an open transaction by then. Statements here change no session: settings are SET LOCAL
    or put back (`_Lease`), locks last as long as their transaction, and the worker ends its own LISTEN.
    """


class _translated:  # noqa: N801 - reads as a word
    """The driver's errors as ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            _translate(error)


def _translate(error: BaseException) -> None:
    """Raise the driver's error as ours; return for one that is none of the driver's."""
    match error:
        case asyncpg.UniqueViolationError():
            raise AlreadyStored() from error
        case asyncpg.ForeignKeyViolationError():
            raise Conflict() from error
        case asyncpg.CharacterNotInRepertoireError() | asyncpg.UntranslatableCharacterError():
            # A zero byte, that no text of the database takes: it came from outside, past all that parses.
            raise InvalidInput("This holds a character that cannot be kept.") from error
        case asyncpg.ProgramLimitExceededError():  # too large or too deep for the database
            raise InvalidInput("This is more than can be kept or looked for.") from error
        case asyncpg.QueryCanceledError():
            raise Unavailable("The database took too long for this; ask for less, or later.") from error
        case asyncpg.DiskFullError():
            raise OutOfSpace() from error
        case _ if isinstance(error, _RETRY):
            raise Conflict() from error
        case _ if isinstance(error, _AWAY):
            raise StorageUnavailable() from error


def _for_databases(url: str) -> str:
    """`postgresql://…` as `databases` spells it for asyncpg."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(scheme="postgresql+asyncpg"))


__all__ = ["Bound", "Database", "Record", "Statement", "Where", "bind"]
