"""`lightbox pull` and `lightbox push` between two running servers: whole, resumed, refused; byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from rich.progress import Progress

from server.access.action import STUDY_READ, STUDY_STORE
from server.cli.carry import Pull, Push, Tally
from server.cli.remote import Login, Remote, RemoteTrouble
from tests.conformance.dicomweb.samples import Sample, file, instance, store
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer


@dataclass(frozen=True)
class Place:
    """A server with a patient, a client and a token of theirs."""

    server: RunningServer
    person: Person
    token: str
    web: httpx.AsyncClient

    @property
    def remote(self) -> Remote:
        return Remote(f"{self.server.url}/dicomweb", Login(token=self.token))


async def place(server: RunningServer) -> AsyncIterator[Place]:
    people = People(server.services)
    person = await people.patient()
    token = await people.token(person)
    async with httpx.AsyncClient(base_url=server.url, headers=bearer(token), timeout=60) as web:
        yield Place(server, person, token, web)


@pytest.fixture
async def here(fresh_server: RunningServer) -> AsyncIterator[Place]:
    async for made in place(fresh_server):
        yield made


@pytest.fixture
async def there(server: RunningServer) -> AsyncIterator[Place]:
    async for made in place(server):
        yield made


async def pull(into: Place, remote: Remote, *studies: str) -> Tally:
    pulling = Pull(into.server.services, remote, mine=False, verify=True, progress=Progress(disable=True))
    await pulling.as_patient(into.person.email, STUDY_STORE)
    await pulling.run(studies)
    return pulling.tally


async def push(out_of: Place, remote: Remote) -> Tally:
    pushing = Push(out_of.server.services, remote, verify=True, progress=Progress(disable=True))
    await pushing.as_patient(out_of.person.email, STUDY_READ)
    await pushing.run(await pushing.every_study())
    return pushing.tally


async def digest_at(place: Place, sample: Sample) -> str:
    accept = "application/dicom; transfer-syntax=*"
    answer = await place.web.get(f"/dicomweb{sample.path}", headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return hashlib.sha256(answer.content).hexdigest()


@pytest.fixture
async def study(there: Place) -> list[Sample]:
    """Two series, one of them of three instances."""
    first = instance()
    more = [instance(study=first.study, series=first.series, InstanceNumber=n) for n in (2, 3)]
    other = instance(study=first.study, SeriesNumber=2)
    answer = await store(there.web, first, *more, other, file("JPEG2000.dcm"))
    assert answer.status_code == 200, answer.text
    return [first, *more, other]


async def test_pulled_byte_for_byte(here: Place, there: Place, study: list[Sample]):
    """Row 12: what another server holds comes into the record as it is there, and is not fetched twice."""
    tally = await pull(here, there.remote, study[0].study)
    assert (tally.transferred, tally.held, tally.verified, tally.failed) == (4, 0, 4, [])
    assert tally.bytes == sum(len(each.data) for each in study)
    for each in study:
        assert await digest_at(here, each) == hashlib.sha256(each.data).hexdigest()
    again = await pull(here, there.remote, study[0].study)
    assert (again.transferred, again.held, again.bytes, again.failed) == (0, 4, 0, [])


async def test_only_gaps_are_pulled(here: Place, there: Place, study: list[Sample]):
    """As after an interrupted run: two instances are here already."""
    await store(here.web, study[0], study[3])
    tally = await pull(here, there.remote, study[0].study)
    assert (tally.transferred, tally.held, tally.verified) == (2, 2, 2)
    assert tally.bytes == len(study[1].data) + len(study[2].data)


async def test_pulled_by_a_filter(here: Place, there: Place, study: list[Sample]):
    found = await asyncio.to_thread(there.remote.studies, {"AccessionNumber": "A1"})
    assert found == [study[0].study]


async def test_what_is_not_there(here: Place, there: Place, study: list[Sample]):
    """One study that fails does not keep the next."""
    tally = await pull(here, there.remote, "1.2.3", study[0].study)
    assert tally.transferred == 4
    assert [each["comment"] for each in tally.failed] == ["study 1.2.3: the other server does not hold it"]


async def test_pushed_byte_for_byte(here: Place, there: Place, study: list[Sample]):
    """And back: only what is missing, in one request, read again and compared."""
    tally = await push(there, here.remote)
    assert (tally.studies, tally.transferred, tally.verified, tally.failed) == (2, 5, 5, [])
    for each in study:
        assert await digest_at(here, each) == hashlib.sha256(each.data).hexdigest()
    await here.web.delete(f"/dicomweb{study[1].path}")
    again = await push(there, here.remote)
    assert (again.held, again.altered) == (4, [])
    assert again.transferred == 1  # the holder sends again what the holder deleted


async def test_refused_by_the_other_server(here: Place, there: Place, study: list[Sample]):
    other = instance()
    changed = instance(
        study=other.study, SOPInstanceUID=other.sop, SeriesInstanceUID=other.series, StudyID="X"
    )
    await store(here.web, other)
    await here.web.delete(f"/dicomweb{other.path}")
    await store(there.web, changed)
    tally = await push(there, here.remote)
    assert [each["sop_instance_uid"] for each in tally.failed] == [other.sop]
    assert tally.failed[0]["comment"].startswith("0x0111 Other content is held")


async def test_a_token_that_is_not_taken(here: Place, there: Place, study: list[Sample]):
    stranger = Remote(f"{there.server.url}/dicomweb", Login(token="x.y.z"))
    tally = await pull(here, stranger, study[0].study)
    assert "401 (it wants a token or a password)" in tally.failed[0]["comment"]
    nobody = Remote("http://127.0.0.1:9/dicomweb", Login())
    tally = await pull(here, nobody, study[0].study)
    assert "did not answer" in tally.failed[0]["comment"]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "https://", "http://name:secret@host/x"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(RemoteTrouble):
        Remote(url, Login())


async def test_no_other_host_is_asked() -> None:
    """Decision 21: a redirect elsewhere is refused, and the token is not shown there."""
    asked: list[bytes] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.close()

    async def redirecting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        place = f"http://localhost:{other.sockets[0].getsockname()[1]}/x"
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(elsewhere, "127.0.0.1", 0)
    first = await asyncio.start_server(redirecting, "127.0.0.1", 0)
    async with other, first:
        port = first.sockets[0].getsockname()[1]
        remote = Remote(f"http://127.0.0.1:{port}/dicomweb", Login(token="secret"))
        with pytest.raises(RemoteTrouble, match="leads elsewhere"):
            await asyncio.to_thread(remote.instances, "1.2")
    assert asked == []


async def test_on_the_command_line(here: Place, there: Place, study: list[Sample], database_url: str):
    """`lightbox pull … --json`, the token from the environment, beside the server that runs."""
    command = ["pull", f"{there.server.url}/dicomweb", "--patient", here.person.email, "--json"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LIGHTBOX_")},
        "LIGHTBOX_DATABASE_URL": database_url,
        "LIGHTBOX_REMOTE_TOKEN": there.token,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server", *command, "--filter", "AccessionNumber=A1", "--data", str(here.server.data),
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    told = json.loads(out)
    assert (told["transferred"], told["verified"], told["failed"]) == (4, 4, [])
    assert await digest_at(here, study[3]) == hashlib.sha256(study[3].data).hexdigest()
