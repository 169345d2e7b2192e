"""Requests to addresses that others chose."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.core import outbound


@asynccontextmanager
async def answering(head: str, body: bytes = b"{}") -> AsyncIterator[tuple[int, list[str]]]:
    """A server with one answer; its port, and what it was asked."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(f"{head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


async def test_an_operator_may_name_a_private_address() -> None:
    async with answering("HTTP/1.1 200 OK", b'{"keys":[]}') as (port, asked):
        answer = await outbound.get(
            f"http://localhost:{port}/jwks?x=1", accept="application/json", private=True
        )
    assert (answer.status, answer.body) == (200, b'{"keys":[]}')
    assert asked[0].startswith("GET /jwks?x=1 ")
    assert f"host: localhost:{port}" in asked[0].lower()


async def test_a_redirect_is_judged_like_the_first_address() -> None:
    async with answering("HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/") as (port, _):
        with pytest.raises(outbound.Refused):
            await outbound.get(f"http://127.0.0.1:{port}/", accept="*/*", private=True)


async def test_redirects_come_to_an_end() -> None:
    async with answering("HTTP/1.1 302 Found\r\nLocation: /again") as (port, asked):
        with pytest.raises(outbound.Refused):
            await outbound.get(f"http://127.0.0.1:{port}/", accept="*/*", private=True)
    assert len(asked) == outbound.MOST_REDIRECTS + 1


async def test_an_answer_is_bounded() -> None:
    async with answering("HTTP/1.1 200 OK", b"x" * (outbound.MOST_BYTES + 1)) as (port, _):
        with pytest.raises(outbound.Refused):
            await outbound.get(f"http://127.0.0.1:{port}/", accept="*/*", private=True)


async def test_nobody_there() -> None:
    with pytest.raises(outbound.Refused):
        await outbound.get("http://127.0.0.1:1/", accept="*/*", private=True)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address to refuse
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::7f00:1", False),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("fec0::1", False),
        ("192.0.0.8", False),
        ("::ffff:8.8.8.8", True),
    ],
)
def test_what_is_public(address: str, public: bool) -> None:
    assert outbound.is_public(ipaddress.ip_address(address)) is public
