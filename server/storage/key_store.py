"""Patients' wrapped keys in a PostgreSQL of their own, with a backup and a retention of its own (decision 23).

The main database then holds a ticket in the place of each key: whoever has the main database, its log and every copy
of it has no key, and what is destroyed here is in none of those copies. Everything else goes on asking `KeyRing` with
what the main row holds; it finds the key behind a ticket here.

A key is committed here before its ticket is there, and destroyed here before the ticket goes: killed in between, a
key without a ticket opens nothing that exists, and a ticket without a key is an erasure that goes on.

The key of a ticket is remembered for a minute. That cannot keep an erased patient readable: the ticket comes from the
statement that reads the row, which asks for the reach too.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from contextlib import suppress
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid4

from server.core import clock
from server.core.errors import ServerError, StorageUnavailable

from .db import Database, Record
from .sql import Statement, load

QUERIES = load(__package__, "key_store.sql")
TICKET = 16  # bytes; a wrapped key has 40
_REMEMBERED = 10_000  # keys
_FOR = 60.0  # seconds
_PATIENCE = 5.0  # seconds for one key: whoever asks waits for it
_PATIENCE_OF_A_LOOP = 2.0  # the same where all requests of a process wait with who asks
_TRY_AGAIN = 1.0  # seconds after it did not answer, in which nobody waits for it

T = TypeVar("T")


class KeyStoreMissing(ServerError):
    """Patients' keys lie in a database of their own: LIGHTBOX_KEYS_DATABASE_URL must name it."""


class Asks(Protocol):
    """What a database and this store have in common."""

    async def fetch_all(self, query: Statement, values: Mapping[str, Any] | None = None) -> list[Record]: ...

    async def fetch_val(self, query: Statement, values: Mapping[str, Any] | None = None) -> Any: ...

    async def execute(self, query: Statement, values: Mapping[str, Any] | None = None) -> int: ...

    async def execute_many(self, query: Statement, rows: Iterable[Mapping[str, Any]]) -> None: ...


def is_ticket(wrapped: bytes) -> bool:
    """Whether a row of the main database holds a ticket, not a key."""
    return len(wrapped) == TICKET


class KeyStore:
    """The other database. It is asked from a thread of its own, for keys are needed where nothing can be awaited."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._remembered: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._db: Database | None = None
        self._connecting = asyncio.Lock()
        self._not_before = 0.0
        self._silent = False  # it let somebody wait in vain, and has not answered since
        self._watch: asyncio.Task[None] | None = None

    def wrapped_of(self, ticket: bytes) -> bytes | None:
        """The key behind a ticket, wrapped; None when it was destroyed. Raises StorageUnavailable.

        A database that hangs is waited for once: until it answers its own thread again, everybody is told at once.
        """
        ticket = bytes(ticket)
        with self._lock:
            known = self._remembered.get(ticket)
        if known is not None and time.monotonic() - known[1] < _FOR:
            return known[0]
        if self._silent:
            raise StorageUnavailable()
        asking = self._aside(self._ask("fetch_val", QUERIES["wrapped_of"], {"ticket": ticket}))
        try:
            found = asking.result(_PATIENCE_OF_A_LOOP if _in_a_loop() else _PATIENCE)
        except TooLate as exc:
            asking.cancel()
            self._silent = True
            self._aside(self._listen())
            raise StorageUnavailable() from exc
        if found is not None:
            self._remember(ticket, found)
        return None if found is None else bytes(found)

    async def add(self, patient_id: str, wrapped: bytes) -> bytes:
        """Keep a key durably; its ticket."""
        ticket = uuid4().bytes
        values = {"ticket": ticket, "patient": patient_id, "wrapped": wrapped, "now": clock.now()}
        await self.execute(QUERIES["add"], values)
        self._remember(ticket, wrapped)
        return ticket

    async def destroy(self, patient_id: str) -> int:
        """Every key of a patient; how many there were."""
        count = await self.execute(QUERIES["destroy"], {"patient": patient_id})
        with self._lock:
            self._remembered.clear()
        return count

    async def prepare(self) -> UUID:
        """Make what is needed there; the name it goes by."""
        for name in ("make_schema", "make_keys", "make_index", "make_name"):
            await self.execute(QUERIES[name])
        await self.execute(QUERIES["give_name"], {"id": uuid4()})
        found: UUID = await self.fetch_val(QUERIES["name"])
        return found

    async def answers(self) -> None:
        """Raises StorageUnavailable when it does not."""
        await self.fetch_val(QUERIES["name"])

    async def fetch_all(self, query: Statement, values: Mapping[str, Any] | None = None) -> list[Record]:
        """As `Database` does."""
        rows: list[Record] = await self._awaited("fetch_all", query, values)
        return rows

    async def fetch_val(self, query: Statement, values: Mapping[str, Any] | None = None) -> Any:
        """As `Database` does."""
        return await self._awaited("fetch_val", query, values)

    async def execute(self, query: Statement, values: Mapping[str, Any] | None = None) -> int:
        """As `Database` does."""
        count: int = await self._awaited("execute", query, values)
        return count

    async def execute_many(self, query: Statement, rows: Iterable[Mapping[str, Any]]) -> None:
        """As `Database` does."""
        await self._awaited("execute_many", query, list(rows))

    def close(self) -> None:
        """Give everything back."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._leave(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        self._loop = self._thread = None

    def _remember(self, ticket: bytes, wrapped: bytes) -> None:
        with self._lock:
            self._remembered[ticket] = (bytes(wrapped), time.monotonic())
            self._remembered.move_to_end(ticket)
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)

    async def _awaited(self, how: str, query: Statement, values: Any) -> Any:
        return await asyncio.wrap_future(self._aside(self._ask(how, query, values)))

    def _aside(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin work in the store's own thread."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="key store", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _ask(self, how: str, query: Statement, values: Any) -> Any:
        if time.monotonic() < self._not_before:
            raise StorageUnavailable()
        try:
            try:
                return await getattr(await self._connected(), how)(query, values)
            except StorageUnavailable:  # a connection that died in the pool: the next is made anew
                return await getattr(await self._connected(), how)(query, values)
        except StorageUnavailable:
            self._not_before = time.monotonic() + _TRY_AGAIN
            raise

    async def _connected(self) -> Database:
        if self._db is None:
            async with self._connecting:
                if self._db is None:
                    made = Database(self._url, max_size=4, timeout=_PATIENCE)
                    await made.connect()
                    self._db = made
        return self._db

    async def _listen(self) -> None:
        """Wait here, where nobody else waits, until it answers again."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._until_it_answers())

    async def _until_it_answers(self) -> None:
        try:
            while True:
                await asyncio.sleep(_TRY_AGAIN)
                with suppress(StorageUnavailable):
                    return await self._asked()
        finally:
            self._silent, self._watch = False, None

    async def _asked(self) -> None:
        """Ask it something. Connections that lead nowhere are given up: it may answer again from elsewhere."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await (await self._connected()).answers()
        except TimeoutError as error:
            self._db = None
            raise StorageUnavailable() from error

    async def _leave(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait((self._watch,))
        if self._db is not None:
            await self._db.disconnect()
            self._db = None


def _in_a_loop() -> bool:
    """Whether this thread runs an event loop, which stands still while somebody waits."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def key_store_of(url: str) -> KeyStore | None:
    """The store at an address; None where keys lie in the main database."""
    return KeyStore(url) if url else None


async def attach(db: Database, store: KeyStore | None) -> None:
    """At a start: the store is made, and is the one this database knows. Raises KeyStoreMissing."""
    known = await db.fetch_val(QUERIES["attached"])
    if store is None:
        if known is not None or await db.fetch_val(QUERIES["any_ticket"]):
            raise KeyStoreMissing()
        return
    name = await store.prepare()
    if known is None:
        await db.execute(QUERIES["attach"], {"id": name, "now": clock.now()})
    elif known != name:
        raise KeyStoreMissing("LIGHTBOX_KEYS_DATABASE_URL names a database that is not this server's.")


__all__ = ["QUERIES", "Asks", "KeyStore", "KeyStoreMissing", "attach", "is_ticket", "key_store_of"]
