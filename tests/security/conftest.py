"""An attacker's view of the running server: somebody's record to steal, credentials that must not open it, raw HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conformance.dicomweb.samples import Sample, instance, store
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer

# What an answer never holds: traces, the driver's words, places of the machine.
INSIDES = ("Traceback", "asyncpg", "SELECT ", 'File "', "/site-packages/", "\\u0000", "syntax error at")


@dataclass(frozen=True)
class Ada:
    """A patient with one study, and an app of hers that may do everything for her."""

    person: Person
    token: str
    study: Sample

    @property
    def headers(self) -> dict[str, str]:
        return bearer(self.token)


@pytest.fixture(scope="module")
async def ada(server: RunningServer) -> Ada:
    people = People(server.services)
    person = await people.patient("Ada Moor")
    token = await people.token(person)
    study = instance()
    async with httpx.AsyncClient(base_url=server.url, headers=bearer(token)) as client:
        answer = await store(client, study)
        assert answer.status_code == 200, answer.text
    return Ada(person, token, study)


@pytest.fixture
async def web(server: RunningServer, ada: Ada) -> httpx.AsyncClient:
    """Ada's app."""
    async with httpx.AsyncClient(base_url=server.url, headers=ada.headers, timeout=30) as client:
        yield client


@dataclass(frozen=True)
class Raw:
    """An answer read off the socket."""

    status: int
    text: str


async def raw(url: str, request: bytes, *, seconds: float = 60) -> Raw:
    """Send these very bytes, and read what comes; status 0 when the server only hung up."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(seconds):
            answer = await reader.read()
    except ConnectionError:
        return Raw(0, "")
    finally:
        writer.close()
    line = answer.split(b"\r\n", 1)[0].split(b" ")
    return Raw(int(line[1]) if len(line) > 1 else 0, answer.decode("latin-1"))


def harmless(answer: httpx.Response | Raw, what: object = "") -> None:
    """No failure of ours, and nothing of the inside."""
    status = answer.status_code if isinstance(answer, httpx.Response) else answer.status
    assert status < 500, (what, status, answer.text[:300])
    assert not [word for word in INSIDES if word in answer.text], (what, answer.text[:500])


def refused(answer: httpx.Response, what: object = "") -> None:
    """As above, and not a success."""
    harmless(answer, what)
    assert answer.status_code >= 400, (what, answer.status_code, answer.text[:300])
