"""multipart/related: reading it as it arrives, writing it as it is made; never a whole body in memory.

RFC 2387, RFC 2046 5.1, DICOM PS3.18, 8.6.1.2.1. python-multipart's low-level parser finds the boundaries; its
callbacks become parts that are pulled, so a slow disk slows the sender down (backpressure). What is held
at a time is one piece of the body, `PIECE`, and the headers of one part.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, MultipartState

from server.core.errors import InvalidInput, TooLarge
from server.core.media import MediaType, parse_media_type

PIECE = 64 * 1024  # bytes handed to the parser at a time: bounds what it can have found at once
MAX_PREAMBLE = 16 * 1024
MAX_HEADERS = 32
MAX_HEADER = 4096
MAX_PARTS = 50_000

_BREAK = b"\r\n"

_NOT_MULTIPART = "The Content-Type is not multipart/related with a boundary."
_NO_BOUNDARY = "The body does not begin with the boundary that the Content-Type announces."
_TRUNCATED = "The body ends before the closing boundary of its last part."


class Part:
    """One part of a body on its way in: headers (names in small letters), and its content as chunks, once."""

    def __init__(self, headers: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
        self.headers = headers
        self._chunks = chunks

    @property
    def media_type(self) -> MediaType | None:
        return parse_media_type(self.headers.get("content-type", ""))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks


def boundary_of(content_type: str) -> bytes:
    """The boundary a Content-Type announces; raises InvalidInput when it has none that can be one."""
    media_type = parse_media_type(content_type)
    boundary = media_type.parameters.get("boundary", "") if media_type and media_type.is_multipart else ""
    if not boundary or len(boundary) > 200 or not boundary.isascii() or not boundary.isprintable():
        raise InvalidInput(_NOT_MULTIPART)
    return boundary.encode("ascii")


async def read_parts(body: AsyncIterator[bytes], content_type: str) -> AsyncIterator[Part]:
    """The parts of `body`, one after the other; asking for the next one skips what was not read of the last.

    Raises InvalidInput for a body that is not the multipart it says it is, TooLarge for too many parts.
    """
    reader = _Reader(body, boundary_of(content_type))
    for _ in range(MAX_PARTS):
        headers = await reader.next_headers()
        if headers is None:
            return
        yield Part(headers, reader.content())
    if await reader.next_headers() is not None:
        raise TooLarge(f"The body has more than {MAX_PARTS} parts; send them in several requests.")


@dataclass
class _Found:
    """What was found and not asked for yet: headers, bytes of content, None for the end of a part."""

    events: deque[dict[str, str] | bytes | None] = field(default_factory=deque)
    headers: dict[str, str] = field(default_factory=dict)
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)

    def begin(self) -> None:
        self.headers = {}

    def header_end(self) -> None:
        name = self.name.decode("latin-1").lower()
        self.headers[name] = self.value.decode("utf-8", "replace").strip()
        self.name.clear()
        self.value.clear()


def _parser(boundary: bytes, found: _Found) -> MultipartParser:
    try:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": found.begin,
                "on_header_field": lambda data, start, end: found.name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: found.value.extend(data[start:end]),
                "on_header_end": found.header_end,
                "on_headers_finished": lambda: found.events.append(found.headers),
                "on_part_data": lambda data, start, end: found.events.append(data[start:end]),
                "on_part_end": lambda: found.events.append(None),
            },
            max_header_count=MAX_HEADERS,
            max_header_size=MAX_HEADER,
        )
    except FormParserError as exc:
        raise InvalidInput(_NOT_MULTIPART) from exc


class _Reader:
    def __init__(self, body: AsyncIterator[bytes], boundary: bytes) -> None:
        self._body = _pieces(_without_preamble(body, b"--" + boundary))
        self._found = _Found()
        self._parser = _parser(boundary, self._found)

    async def next_headers(self) -> dict[str, str] | None:
        """Go to the next part; None when the body has ended as it should."""
        while True:
            while self._found.events:
                event = self._found.events.popleft()
                if isinstance(event, dict):
                    return event
            if not await self._read():
                return None

    async def content(self) -> AsyncIterator[bytes]:
        """The rest of the present part."""
        events = self._found.events
        while True:
            while events:
                event = events.popleft()
                if event is None:
                    return
                if isinstance(event, dict):  # somebody went on to the next part
                    events.appendleft(event)
                    return
                yield event
            if not await self._read():
                return

    async def _read(self) -> bool:
        """Parse one more piece; False at a proper end, InvalidInput at an improper one."""
        if self._parser.state == MultipartState.END:
            return await self._drain()
        piece = await anext(self._body, None)
        if piece is None:
            raise InvalidInput(_TRUNCATED)
        try:
            self._parser.write(piece)
        except MultipartParseError as exc:
            raise InvalidInput("The multipart body is malformed.") from exc
        return True

    async def _drain(self) -> bool:
        """Read over what follows the closing boundary (RFC 2046, 5.1.1: an epilogue is ignored)."""
        async for _ in self._body:
            pass
        return False


async def _without_preamble(body: AsyncIterator[bytes], delimiter: bytes) -> AsyncIterator[bytes]:
    """The body from its first delimiter on; one that does not come within MAX_PREAMBLE is InvalidInput."""
    head = bytearray()
    async for chunk in body:
        head += chunk
        start = _delimiter_at(head, delimiter)
        if start >= 0:
            yield bytes(head[start:])
            break
        if len(head) > MAX_PREAMBLE:
            raise InvalidInput(_NO_BOUNDARY)
    else:
        raise InvalidInput(_NO_BOUNDARY if head else "The body is empty.")
    async for chunk in body:
        yield chunk


def _delimiter_at(head: bytearray, delimiter: bytes) -> int:
    """Where the first delimiter stands at the start of a line; -1 when it does not yet."""
    if head.startswith(delimiter):
        return 0
    found = head.find(b"\n" + delimiter, 0, MAX_PREAMBLE + len(delimiter))
    return found + 1 if found >= 0 else -1


async def _pieces(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in body:
        if len(chunk) <= PIECE:
            yield chunk
        else:
            for start in range(0, len(chunk), PIECE):
                yield chunk[start : start + PIECE]


@dataclass(frozen=True)
class OutPart:
    """One part on its way out: its type, where else it can be had, how long it is, and its content."""

    media_type: str
    size: int | None  # where known beforehand
    chunks: AsyncIterator[bytes] | bytes
    location: str = ""

    def head(self, boundary: str) -> bytes:
        """The delimiter and headers of the part (PS3.18, 8.6.1.2.1)."""
        lines = [f"\r\n--{boundary}", f"Content-Type: {self.media_type}"]
        if self.size is not None:
            lines.append(f"Content-Length: {self.size}")
        if self.location:
            lines.append(f"Content-Location: {self.location}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def new_boundary() -> str:
    """A boundary that no content can be made to contain: 128 random bits."""
    return secrets.token_hex(16)


def content_type(part_type: str, boundary: str) -> str:
    """The Content-Type of a multipart/related body of such parts; `type` names the plain media type."""
    return f'multipart/related; type="{part_type.partition(";")[0]}"; boundary={boundary}'


def closing(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()


def total_size(parts: Iterable[OutPart], boundary: str) -> int | None:
    """The Content-Length of the body; None when a part is made only on the way."""
    total = len(closing(boundary)) - len(_BREAK)
    for part in parts:
        if part.size is None:
            return None
        total += len(part.head(boundary)) + part.size
    return total


async def write_parts(
    parts: Iterable[OutPart] | AsyncIterable[OutPart], boundary: str
) -> AsyncIterator[bytes]:
    """The body, a part at a time; each part's content is asked for when its turn comes."""
    async for chunk in from_delimiter(_written(parts, boundary)):
        yield chunk


async def from_delimiter(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The body without the line break before its first delimiter, which some clients take for a part (dicomtrolley).

    RFC 2046, 5.1.1: it belongs to the delimiter, and is not needed where nothing comes before.
    """
    begun = False
    async for chunk in chunks:
        yield chunk if begun else chunk.removeprefix(_BREAK)
        begun = True


async def _written(parts: Iterable[OutPart] | AsyncIterable[OutPart], boundary: str) -> AsyncIterator[bytes]:
    async for part in _one_by_one(parts):
        head = part.head(boundary)
        if isinstance(part.chunks, bytes):
            yield head + part.chunks
            continue
        yield head
        async for chunk in part.chunks:
            yield chunk
    yield closing(boundary)


async def _one_by_one(parts: Iterable[OutPart] | AsyncIterable[OutPart]) -> AsyncIterator[OutPart]:
    if isinstance(parts, AsyncIterable):
        async for part in parts:
            yield part
    else:
        for part in parts:
            yield part
