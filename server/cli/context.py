"""What every command stands on: settings, a database that runs and is migrated, the master key, services."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from server.access.running import running_services
from server.access.services import Services
from server.core.settings import Settings, read_settings
from server.storage.db import Database, unhurried
from server.storage.key_store import attach, key_store_of
from server.storage.keyring import KeyRing
from server.storage.migrate import migrate

from .common import has_public_address, with_database

T = TypeVar("T")
SERVED_AT = "served-at"  # file in the data directory


@contextmanager
def prepared(settings: Settings) -> Iterator[Settings]:
    """The same settings with the address of a database that runs, is migrated, and has its master key.

    Raises StorageUnavailable, MigrationFailed, MasterKeyMissing.
    """
    with with_database(settings) as reachable:
        make_ready(reachable)
        yield reachable


def make_ready(settings: Settings) -> None:
    """The database migrated, the master key there and right, the keys where they belong.

    Raises StorageUnavailable, MigrationFailed, MasterKeyMissing.
    """
    with (settings.data / "start.lock").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)  # two commands at once must not both make a master key
        migrate(settings.database_owner_url or settings.database_url)
        KeyRing.load(settings.key_file, create=_nothing_sealed_yet(settings.database_url))
        _aside(_attach_keys(settings))


async def _attach_keys(settings: Settings) -> None:
    db, store = Database(settings.database_url, max_size=2), key_store_of(settings.keys_database_url)
    await db.connect()
    try:
        await attach(db, store)
    finally:
        if store is not None:
            store.close()
        await db.disconnect()


def _nothing_sealed_yet(url: str) -> bool:
    """Whether a new master key may be made: beside old data it would hide that the old key is lost."""

    async def asked() -> bool:
        connection = await asyncpg.connect(url)
        try:
            return not await connection.fetchval(
                "SELECT EXISTS (SELECT FROM keys.patient_key) OR EXISTS (SELECT FROM signing_key)"
                " OR EXISTS (SELECT FROM audit_event)"
            )
        finally:
            await connection.close()

    return _aside(asked())


def _aside(work: Coroutine[Any, Any, T]) -> T:
    """Where no event loop runs yet, whoever asks."""
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(asyncio.run, work).result()


@asynccontextmanager
async def services_of(settings: Settings) -> AsyncIterator[Services]:
    """Services for one command; the database runs already."""
    async with running_services(settings) as services:
        yield services


def run(data: Path | None, work: Callable[[Services], Awaitable[T]], **given: Any) -> T:
    """Run `work` with services; the embedded database is started for it when no server runs."""

    async def working(settings: Settings) -> T:
        async with services_of(settings) as services:
            with unhurried():
                return await work(services)

    with prepared(_as_served(read_settings(data=data, **given))) as settings:
        return asyncio.run(working(settings))


def note_address(settings: Settings) -> None:
    """Leave word of the address we serve at: tokens of the command line must be for this server."""
    (settings.data / SERVED_AT).write_text(settings.base_url)


def _as_served(settings: Settings) -> Settings:
    noted = settings.data / SERVED_AT
    if has_public_address(settings) or not noted.exists():
        return settings
    return settings.model_copy(update={"base_url": noted.read_text().strip()})
