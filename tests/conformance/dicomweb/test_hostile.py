"""Hostile input: a clear status, bounded memory, and the others are served on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import BOUNDARY, MULTIPART, Sample, body, instance, store
from tests.conftest import RunningServer

HEAD = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()


async def post(web: httpx.AsyncClient, content: bytes | AsyncIterator[bytes]) -> httpx.Response:
    return await web.post("/dicomweb/studies", content=content, headers={"Content-Type": MULTIPART})


async def test_ten_thousand_parts(web: httpx.AsyncClient):
    one = instance()
    answer = await post(web, body([*[b"x"] * 10_000, one.data]))
    assert answer.status_code == 202
    assert len(answer.json()["0008119A"]["Value"]) == 10_000
    assert len(answer.json()["00081199"]["Value"]) == 1


@pytest.mark.parametrize(
    "data",
    [
        f"--{BOUNDARY}\r\n".encode() + b"X-H: y\r\n" * 100_000 + b"\r\n",
        f"--{BOUNDARY}\r\nX-H: ".encode() + b"y" * 5_000_000,
        f"--{BOUNDARY}\r\n".encode() + b"y" * 5_000_000,
        b"preamble " * 500_000,
        b"\r\n" * 1_000_000,
        HEAD * 5,
        b"--" * 1_000_000,
    ],
    ids=["headers", "long header", "long name", "preamble", "empty lines", "no end", "dashes"],
)
async def test_multipart_bombs(web: httpx.AsyncClient, data: bytes):
    """Refused, and not pondered over: an answer at all, within what a client waits."""
    answer = await post(web, data)
    assert answer.status_code in (400, 409), answer.text


def nested(depth: int) -> bytes:
    """A sequence in a sequence in a sequence, all of undefined length."""
    sequence = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return instance().data[:-600] + sequence * depth


@pytest.mark.parametrize(
    "data",
    [
        instance().data[:200],
        instance().data[:132],
        instance().data[:-100],
        b"\0" * 128 + b"DICM" + b"\xff" * 1000,
        nested(10_000),
        instance().data.replace(b"\x10\x00\x10\x00PN", b"\x10\x00\x10\x00UN"),
        bytes(range(256)) * 1000,
    ],
    ids=["truncated", "meta only", "pixels cut", "garbage", "nested", "wrong vr", "noise"],
)
async def test_objects_that_lie(web: httpx.AsyncClient, data: bytes):
    """Stored byte for byte, or refused with a reason; never a 500."""
    answer = await post(web, body([data]))
    assert answer.status_code in (200, 202, 409), answer.text


async def test_requests_with_absurd_addresses(web: httpx.AsyncClient, stored: Sample):
    long = "1." * 2000
    for path in (
        f"/studies/{long}",
        "/studies/..%2F..%2Fetc%2Fpasswd/metadata",
        "/studies/%00/metadata",
        "/studies/' OR 1=1--/series",
        "/studies/%00/series",
        "/studies/%ff%fe",
        f"{stored.path}/bulkdata/%00",
        f"{stored.path}/frames/%00",
        f"{stored.path}/frames/{'1,' * 9000}1",
        f"{stored.path}/frames/{'9' * 4000}",
        f"{stored.path}/bulkdata/{'0040A730/1/' * 500}00080018",
        "/studies?StudyInstanceUID=%00",
        "/studies?PatientName=%ff%fe",
        "/studies?" + "&".join(f"0010{n:04X}=x" for n in range(0x10, 0x200)),
        "/studies?PatientName=" + "*" * 1000,
        "/studies?limit=1&limit=2&offset=0",
    ):
        answer = await web.get(f"/dicomweb{path}")
        assert answer.status_code in (200, 400, 404, 414, 431), (path[:80], answer.status_code)
    assert (await web.get("/patients/%00/dicomweb/studies")).status_code == 404
    for method in ("DELETE", "POST"):
        answer = await web.request(method, "/dicomweb/studies/%00", headers={"Content-Type": MULTIPART})
        assert answer.status_code == 404


async def test_a_client_that_hangs_up(web: httpx.AsyncClient, server: RunningServer, owner: Owner):
    """Nothing is half visible, and others are served."""
    one = instance()

    async def breaking() -> AsyncIterator[bytes]:
        yield HEAD + one.data[:300]
        await asyncio.sleep(0.05)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await post(web, breaking())
    await asyncio.sleep(0.2)
    assert (await web.get(f"/dicomweb/studies/{one.study}/metadata")).status_code == 404
    assert (await store(web, instance())).status_code == 200
