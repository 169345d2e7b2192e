"""A patient signed in at a browser, and apps."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.conftest import RunningServer
from tests.factories import People, Person

from .driver import App, Browser, es384, register, rs384


@pytest.fixture
async def browser(server: RunningServer) -> AsyncIterator[Browser]:
    """Nobody is signed in yet."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        yield Browser(client)


@pytest.fixture(scope="session")
async def somebody(server: RunningServer) -> tuple[Person, httpx.Cookies]:
    """A patient and the cookies of a sign-in; one for all tests, for a password is slow to check on purpose."""
    person = await People(server.services).patient()
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        await Browser(client).sign_in(person)
        return person, client.cookies


@pytest.fixture
async def patient(somebody: tuple[Person, httpx.Cookies], browser: Browser) -> Person:
    """A patient who is signed in at the browser."""
    person, cookies = somebody
    browser.client.cookies.update(cookies)
    return person


@pytest.fixture
async def own_patient(people: People, browser: Browser) -> Person:
    """The same, for a test that ends the session or the account's rights."""
    person = await people.patient()
    await browser.sign_in(person)
    return person


@pytest.fixture
async def app(server: RunningServer) -> App:
    """A public app."""
    return await register(server)


@pytest.fixture(params=["public", "symmetric", "asymmetric"])
async def any_app(server: RunningServer, request: pytest.FixtureRequest) -> App:
    """An app of each type."""
    if request.param == "public":
        return await register(server)
    if request.param == "symmetric":
        return await register(server, "confidential-symmetric")
    return await register(server, "confidential-asymmetric", es384())


@pytest.fixture(params=["ES384", "RS384"])
async def backend(server: RunningServer, people: People, request: pytest.FixtureRequest) -> App:
    """A backend service of a hospital."""
    made = await people.backend()
    key = es384() if request.param == "ES384" else rs384()
    return await register(
        server, "backend", key, scope="system/*.cruds", organization_id=made.organization_id
    )
