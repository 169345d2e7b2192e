"""What every command stands on: settings, a database that runs and is migrated, the master key, services."""

from __future__ import annotations

import asyncio
import fcntl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import asyncpg
import orjson
import typer

from server.access.running import running_services
from server.access.services import Services
from server.core.settings import Settings, read_settings
from server.storage import embedded
from server.storage.db import Database, unhurried
from server.storage.key_store import attach, key_store_of
from server.storage.keyring import KeyRing
from server.storage.migrate import migrate

T = TypeVar("T")
SERVED_AT = "served-at"  # file in the data directory

DataOption = Annotated[
    Path | None, typer.Option("--data", help="Directory of everything that is not set to be elsewhere")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable JSON on standard output")]


@contextmanager
def prepared(settings: Settings) -> Iterator[Settings]:
    """The same settings with the address of a database that runs, is migrated, and has its master key.

    Raises StorageUnavailable, MigrationFailed, MasterKeyMissing.
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    if settings.database_url:
        yield _ready(settings)
        return
    with embedded.running(settings.data) as url:
        yield _ready(settings.model_copy(update={"database_url": url}))


def _ready(settings: Settings) -> Settings:
    with (settings.data / "start.lock").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)  # two commands at once must not both make a master key
        migrate(settings.database_owner_url or settings.database_url)
        KeyRing.load(settings.key_file, create=_nothing_sealed_yet(settings.database_url))
        _aside(_attach_keys(settings))
    return settings


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


def has_public_address(settings: Settings) -> bool:
    """Whether an operator set LIGHTBOX_BASE_URL; else it is wherever the server listens."""
    return settings.base_url != str(Settings.model_fields["base_url"].default)


def note_address(settings: Settings) -> None:
    """Leave word of the address we serve at: tokens of the command line must be for this server."""
    (settings.data / SERVED_AT).write_text(settings.base_url)


def _as_served(settings: Settings) -> Settings:
    noted = settings.data / SERVED_AT
    if has_public_address(settings) or not noted.exists():
        return settings
    return settings.model_copy(update={"base_url": noted.read_text().strip()})


def show(value: Any, *, as_json: bool, text: str) -> None:
    """The result of a command, for a machine or for a person."""
    sys.stdout.write((orjson.dumps(value, default=str).decode() if as_json else text) + "\n")
