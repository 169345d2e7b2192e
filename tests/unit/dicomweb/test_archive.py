"""dicomweb/archive.py: a ZIP that any reader opens, made as a stream."""

import io
import zipfile

from server.dicomweb.archive import zipped


async def chunks(*pieces: bytes):
    for piece in pieces:
        yield piece


async def test_members_come_back():
    members = [("a/1.dcm", chunks(b"one", b"two")), ("a/2.dcm", chunks()), ("ü.dcm", chunks(b"x" * 100_000))]
    body = b"".join([piece async for piece in zipped(members)])
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a/1.dcm", "a/2.dcm", "ü.dcm"]
        assert archive.read("a/1.dcm") == b"onetwo"


async def test_nothing_is_an_archive_too():
    body = b"".join([piece async for piece in zipped([])])
    assert zipfile.ZipFile(io.BytesIO(body)).namelist() == []
