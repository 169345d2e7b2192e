"""Fixtures: a real PostgreSQL with a migrated template database, services on a clone of it, a running server.

Everything runs on one event loop, that of the test session: the server too, so that a test may look into its
services while it talks to it over HTTP. Synchronous clients go through `asyncio.to_thread`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import pytest
import uvicorn
from httpx._transports import default as httpx_transport
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from server.accounts import passwords
from server.core import clock
from server.core.settings import Settings, read_settings
from server.storage import embedded
from server.storage.db import Database
from server.storage.keyring import KeyRing
from server.storage.migrate import migrate
from tests import logs
from tests.databases import TEMPLATE, Pool, create_database, database_of

if TYPE_CHECKING:
    from server.access.services import Services
    from tests.factories import People

# How long something takes is no finding of a drawn test: the machine may be busy.
_UNTIMED: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile(
    "ordinary", derandomize=True, database=None, max_examples=100, **_UNTIMED
)
hypothesis.settings.register_profile(
    "long", derandomize=False, max_examples=1000, print_blob=True, **_UNTIMED
)

# Files of a minute or so that one core works off alone (`scripts/test` leaves the order as it is here).
LONGEST = (
    *(
        "flows/test_pages.py",
        "flows/test_browser_story.py",
        "flows/test_portal_upload.py",
        "flows/test_ohif.py",
    ),
    *(
        "flows/test_guest_link.py",
        "flows/test_sign_in_browser.py",
        "flows/test_serve.py",
        "faults/test_kill.py",
    ),
    *("faults/test_kill_rights.py", "flows/test_backup_story.py", "security/test_openapi.py"),
    *("dicomweb/test_memory.py", "dicomweb/test_javascript_client.py", "smart/test_javascript_client.py"),
    *("imaging/test_deidentify.py", "security/test_csrf.py", "unit/rights/test_zip_layout.py"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also the long forms, run by hand")


def pytest_configure(config: pytest.Config) -> None:
    """The ordinary run draws the same examples each time; `--long` draws at random, and more of them."""
    if not config.getoption("--hypothesis-profile"):
        hypothesis.settings.load_profile("long" if config.getoption("--long") else "ordinary")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Dice thrown outside hypothesis fall the same way each time, too."""
    random.seed(None if item.config.getoption("--long") else item.nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files come first, so that no core waits at the end for another's; the long forms only when asked."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))
    if config.getoption("--long"):
        return
    long = [item for item in items if "long" in item.keywords]
    if long:  # deselected, not skipped: they are not part of this run (README, "Tests")
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if "long" not in item.keywords]


@pytest.fixture(scope="session", autouse=True)
def _logs_hold_no_secrets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What all tests of this worker log is searched at the end."""
    with logs.searched(tmp_path_factory.mktemp("logs") / "server.log"):
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """Argon2 with little work: what it costs an attacker is not what these tests are about.

    tests/unit/accounts/test_passwords.py checks the real parameters.
    """
    real = passwords._hasher
    passwords._hasher = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    yield
    passwords._hasher = real


@pytest.fixture(scope="session", autouse=True)
def _quick_clients() -> Iterator[None]:
    """Clients share a TLS context: each would read all certificates of the world again, 27 ms, to speak plain HTTP."""
    real = httpx_transport.create_ssl_context
    httpx_transport.create_ssl_context = functools.cache(real)
    yield
    httpx_transport.create_ssl_context = real


@pytest.fixture(scope="session", autouse=True)
def _patient_clients() -> Iterator[None]:
    """Clients wait a minute where a test names no limit; the five seconds of httpx are few on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        for made in (httpx.Client.__init__, httpx.AsyncClient.__init__, httpx.get, httpx.post, httpx.request):
            patch.setitem(made.__kwdefaults__, "timeout", httpx.Timeout(60))
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """A PostgreSQL of our own with the migrated template; its address. Durability is off: nothing is kept."""
    for name in [name for name in os.environ if name.startswith("LIGHTBOX_")]:
        del os.environ[name]
    parameters = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    # Not below pytest's own directory: another run's start closes that to the user PostgreSQL runs as under root.
    with TemporaryDirectory(prefix="lightbox-") as data, embedded.running(Path(data), parameters) as url:
        create_database(url, TEMPLATE, "template0")
        migrate(database_of(url, TEMPLATE))
        yield url


@pytest.fixture(scope="session")
def databases(cluster: str) -> Iterator[Pool]:
    """Clones of the template that go from test to test."""
    with contextlib.closing(Pool(cluster)) as pool:
        yield pool


@pytest.fixture
def database_url(databases: Pool) -> Iterator[str]:
    """A migrated database with nothing in it, for one test."""
    url = databases.take()
    yield url
    databases.give_back(url)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A connected fresh database."""
    database = Database(database_url, max_size=5)
    await database.connect()
    yield database
    await database.disconnect()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings of a fresh server that is not listening."""
    made = read_settings(
        database_url=database_url,
        data=tmp_path / "data",
        base_url="http://127.0.0.1:8080",
        second_factor="optional",
    )
    made.data.mkdir()
    KeyRing.load(made.key_file, create=True)
    return made


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    """Services on a fresh database."""
    from server.access.running import running_services

    async with running_services(settings) as running:
        yield running


@pytest.fixture(autouse=True)
def _clock_comes_back() -> Iterator[None]:
    yield
    clock.travel(timedelta())


@dataclass(frozen=True)
class RunningServer:
    """A server that answers on loopback, and what it is made of."""

    url: str
    services: Services
    data: Path


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        yield


@contextlib.asynccontextmanager
async def serving(database_url: str, data: Path, **given: Any) -> AsyncIterator[RunningServer]:
    """The whole application on a free port, on this event loop."""
    from server.app import create_app

    # Named as TCP, or asyncio leaves Nagle on: 40 ms for each answer.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    data.mkdir(parents=True, exist_ok=True)
    given = {"second_factor": "optional"} | given  # tests/security/test_second_factor.py has it required
    settings = read_settings(database_url=database_url, data=data, base_url=base_url, **given)
    KeyRing.load(settings.key_file, create=True)
    app = create_app(settings)
    config = uvicorn.Config(app, loop="none", log_level="warning", access_log=False, lifespan="on", ws="none")
    running = _Uvicorn(config)
    task = asyncio.create_task(running.serve(sockets=[listening]))
    while not running.started:
        if task.done():
            task.result()
            raise RuntimeError("the server did not start")
        await asyncio.sleep(0.01)
    try:
        yield RunningServer(base_url, app.state.services, data)
    finally:
        running.should_exit = True
        await task
        listening.close()


@pytest.fixture(scope="session")
async def server(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    """One running server for the whole session; tests make people of their own in it."""
    url = create_database(cluster, f"t_server_{os.getpid()}")
    async with serving(url, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
async def fresh_server(database_url: str, tmp_path: Path) -> AsyncIterator[RunningServer]:
    """A running server with nothing in it, for one test."""
    async with serving(database_url, tmp_path / "server") as running:
        yield running


@pytest.fixture
async def people(server: RunningServer) -> People:
    """Makes people, shares, tokens and sessions in the running server."""
    from tests.factories import People

    return People(server.services)


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the running server; no redirects are followed, no cookies shared between tests."""
    async with httpx.AsyncClient(base_url=server.url) as made:
        yield made
