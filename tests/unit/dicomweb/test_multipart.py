"""dicomweb/multipart.py: parts in, parts out, whatever the pieces they come in."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.errors import InvalidInput, TooLarge
from server.dicomweb import multipart
from server.dicomweb.multipart import OutPart, boundary_of, new_boundary, read_parts, write_parts

TYPE = 'multipart/related; type="application/dicom"; boundary=b0'


async def stream(body: bytes, size: int = 7):
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, content_type: str = TYPE, size: int = 7) -> list[tuple[dict, bytes]]:
    result = []
    async for part in read_parts(stream(body, size), content_type):
        result.append((dict(part.headers), b"".join([chunk async for chunk in part])))
    return result


def body_of(*contents: bytes, boundary: bytes = b"b0") -> bytes:
    parts = [b"--" + boundary + b"\r\nContent-Type: application/dicom\r\n\r\n" + each for each in contents]
    return b"\r\n".join([*parts, b"--" + boundary + b"--"])


@pytest.mark.parametrize("size", [1, 2, 3, 50, 10_000_000])
async def test_parts_come_out_whatever_the_chunks(size):
    contents = [b"", b"one\r\n--b", b"x" * 1000, b"\r\n--b1\r\n", bytes(range(256))]
    parts = await read(body_of(*contents), size=size)
    assert [content for _, content in parts] == contents
    assert parts[0][0] == {"content-type": "application/dicom"}


@given(
    st.lists(st.binary(max_size=200).filter(lambda each: b"--b0" not in each), max_size=5), st.integers(1, 60)
)
async def test_any_content_survives(contents, size):
    if contents:
        assert [content for _, content in await read(body_of(*contents), size=size)] == contents


async def test_written_parts_read_back():
    """RFC 2387: what we write is what we would read."""
    boundary = new_boundary()
    parts = [OutPart("application/dicom", 3, b"abc"), OutPart("image/jpeg", 6, stream(b"defghi", 2), "/x")]
    body = b"".join([chunk async for chunk in write_parts(parts, boundary)])
    read_back = await read(body, multipart.content_type("application/dicom", boundary))
    assert [content for _, content in read_back] == [b"abc", b"defghi"]
    assert read_back[1][0]["content-location"] == "/x"


async def test_the_total_size_is_exact():
    boundary = new_boundary()
    parts = [OutPart("a/b", 3, b"abc"), OutPart("a/b", 0, b"")]
    body = b"".join([chunk async for chunk in write_parts(parts, boundary)])
    assert len(body) == multipart.total_size(parts, boundary)


async def test_a_part_left_unread_is_skipped():
    types = [part.media_type.name async for part in read_parts(stream(body_of(b"a" * 500, b"b" * 500)), TYPE)]
    assert types == ["application/dicom"] * 2


async def test_preamble_and_epilogue_are_ignored():
    """RFC 2046, 5.1.1."""
    body = b"to whom it may concern\r\n" + body_of(b"x") + b"\r\nand so on -- --b0"
    assert [content for _, content in await read(body)] == [b"x"]


async def test_an_empty_message_has_no_parts():
    assert await read(b"--b0--") == []


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "nonsense",
        "application/dicom; boundary=b0",
        "multipart/related",
        "multipart/related; boundary=",
        "multipart/related; boundary=é",
        f"multipart/related; boundary={'b' * 300}",
    ],
)
def test_no_usable_boundary(content_type):
    with pytest.raises(InvalidInput):
        boundary_of(content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--other\r\n\r\nx\r\n--other--",
        b"x" * 100_000,
        b"--b0\r\nContent-Type: a/b\r\n\r\nno end",
        b"--b0\r\nContent-Type: a/b",
        b"--b0\r\nContent-Type a/b\r\n\r\nx\r\n--b0--",
        b"--b0\r\n" + b"X: " + b"y" * 10_000 + b"\r\n\r\nx\r\n--b0--",
        b"--b0\r\n" + b"X: y\r\n" * 1000 + b"\r\nx\r\n--b0--",
        b"--b0\r\n" + b"y" * 10_000,
        b"--b0garbage",
    ],
    ids=lambda body: f"{body[:20]!r}-{len(body)}",
)
async def test_a_body_that_is_not_what_it_says(body):
    with pytest.raises(InvalidInput):
        await read(body)


async def test_too_many_parts(monkeypatch):
    monkeypatch.setattr(multipart, "MAX_PARTS", 3)
    assert len(await read(body_of(*[b"x"] * 3))) == 3
    with pytest.raises(TooLarge):
        await read(body_of(*[b"x"] * 4))


async def test_little_is_held_at_a_time():
    """A body without end is read piece by piece: what the consumer has not asked for is not read."""
    asked = 0

    async def endless():
        nonlocal asked
        yield b"--b0\r\n\r\n"
        while True:
            asked += 1
            yield b"z" * 65536

    async for part in read_parts(endless(), TYPE):
        async for _ in part:
            if asked >= 20:
                break
        break
    assert asked == 20


@given(st.binary(max_size=400), st.integers(1, 100))
async def test_any_bytes_are_parts_or_a_refusal(noise, size):
    with suppress(InvalidInput):
        await read(b"--b0" + noise, size=size)
