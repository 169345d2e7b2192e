"""Writing packs: a pack is one file that holds the encrypted objects of one store request.

The objects of a request share one file, and so one fsync. Small ones are sealed where they are and wait in memory
until the pack is published; larger ones are hashed, sealed and written a megabyte at a time in a worker thread
while the next megabyte arrives. What a pack keeps in memory is bounded, whatever its size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID, uuid4

from .crypto import CHUNK, SEALED_CHUNK, TAG, Address, Buffer, Scratch, Sealer, Stored
from .files import Sink
from .keyring import new_data_key

HEADER = b"lightbox pack 1\n"  # says what the file is to whoever finds it
# Below this, work is done where it is: a thread costs more (30 µs and fresh memory, measured).
INLINE = 256 * 1024

T = TypeVar("T")
Before = Callable[[UUID], Coroutine[Any, Any, object]]  # done before the first byte leaves the process
_scratch = Scratch()


class Pack:
    """A pack being written; as a context manager it discards itself unless it was published."""

    def __init__(self, pack_id: UUID, sink: Sink, executor: Executor, before: Before | None = None) -> None:
        self.id = pack_id
        self.is_ready = False  # its row counts, as far as this process knows
        self._sink = sink
        self._executor = executor
        # Asked for at once and waited for by begin(): not later, for whoever commits the rows holds a connection, and
        # what is done before the first byte may need another one.
        self._permission = quiet(asyncio.ensure_future(before(pack_id))) if before else None
        self._tail: list[Buffer] = [HEADER]  # sealed, not yet with the sink
        self._flushed = 0  # bytes with the sink
        self._writing: ObjectWriter | None = None
        self._published: asyncio.Future[int] | None = None

    async def __aenter__(self) -> Pack:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None or self._published is None:
            await self.discard()

    @property
    def end(self) -> int:
        """Where the next object begins."""
        return self._flushed + self._kept

    @property
    def _kept(self) -> int:
        return sum(map(len, self._tail))

    async def begin(self) -> ObjectWriter:
        """Start the next object; the one before must be finished or abandoned."""
        await self._permitted()
        self._writing = ObjectWriter(self)
        return self._writing

    async def adopt(self, copy: Callable[[], None]) -> int:
        """Let `copy` write what is sealed already, in a worker thread; where it begins."""
        await self._permitted()
        begin = self.end
        await self.in_thread(copy)
        return begin

    def publish_soon(self) -> None:
        """Begin to make the pack durable, while the rows are prepared; `publish` waits for the end of it."""
        self._publishing()

    async def publish(self) -> int:
        """Make the pack durable; its size in bytes. May be called again."""
        return await asyncio.shield(self._publishing())

    def _publishing(self) -> asyncio.Future[int]:
        if self._writing is not None or self.end == len(HEADER):
            raise RuntimeError("an object of this pack is still being written, or there is none")
        if self._published is None:
            self._published = quiet(self.in_thread(self._publish_now))
        return self._published

    async def discard(self) -> None:
        """Leave nothing of it, published or not."""
        await self.settle()
        await self.in_thread(self._sink.discard)

    async def settle(self) -> None:
        """Wait until what was asked for outside of the pack has ended, well or not."""
        under_way = [future for future in (self._permission, self._published) if future is not None]
        if under_way:
            await asyncio.wait(under_way)

    def in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._executor, work)

    def keep(self, sealed: Buffer) -> None:
        """Add sealed bytes in memory."""
        self._tail.append(sealed)

    def write(self, sealed: Buffer) -> None:
        """Add sealed bytes with the sink, after those in memory; called in a worker thread."""
        self.flush()
        self._sink.append(sealed)
        self._flushed += len(sealed)

    def flush(self) -> None:
        """Hand what is kept in memory to the sink; called in a worker thread."""
        if self._tail:
            block = b"".join(self._tail)
            self._sink.append(block)
            self._flushed += len(block)
            self._tail = []

    async def written(self) -> None:
        """An object is complete."""
        self._writing = None
        if self._kept >= INLINE:
            await self.in_thread(self.flush)

    def rewind(self, to: int) -> None:
        """Forget what was written after `to`; where the sink cannot, its place stays unused."""
        self._writing = None
        while self._tail and self.end > to:
            self._tail.pop()
        if self._flushed > to:
            self._flushed = self._sink.rewind(to)

    async def _permitted(self) -> None:
        """Wait until an object may be written."""
        if self._writing is not None or self._published is not None:
            raise RuntimeError("a pack takes one object at a time, until it is published")
        if self._permission is not None:
            await asyncio.shield(self._permission)

    def _publish_now(self) -> int:
        self.flush()
        return self._sink.publish()


class ObjectWriter:
    """One object being written."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._begin = pack.end
        self._id = uuid4()
        self._key = new_data_key()
        self._sealer = Sealer(self._id, self._key)
        self._buffer: bytes | bytearray = b""
        self._size = 0
        self._working: asyncio.Future[None] | None = None

    async def write(self, data: Buffer) -> None:
        """Add plain bytes. Raises OutOfSpace, StorageUnavailable; the pack is then to be discarded."""
        self._size += len(data)
        self._buffer = self._joined(data)
        if len(self._buffer) <= CHUNK:
            return
        await self._settle()
        # The last chunk is marked as such, so a full one waits until more comes.
        full = (len(self._buffer) - 1) // CHUNK * CHUNK
        with memoryview(self._buffer) as whole:
            rest = bytes(whole[full:])
        block, self._buffer = self._buffer, rest
        self._working = quiet(self._pack.in_thread(lambda: self._seal_and_write(block, full, last=False)))

    def _joined(self, data: Buffer) -> bytes | bytearray:
        if not self._buffer and isinstance(data, bytes):
            return data  # often all there is: no need to copy it
        grown = self._buffer if isinstance(self._buffer, bytearray) else bytearray(self._buffer)
        grown += data
        return grown

    async def finish(self) -> Stored:
        """Seal the rest; where the object lies, what opens it, and its SHA-256."""
        await self._settle()
        if self._begin == self._pack.end and len(self._buffer) < INLINE:
            self._seal_here()
        else:
            rest, end = self._buffer, len(self._buffer)
            await self._pack.in_thread(lambda: self._seal_and_write(rest, end, last=True))
        await self._pack.written()
        address = Address(self._pack.id, self._id, self._begin, self._size, self._key)
        return Stored(address, self._sealer.sha256())

    async def abandon(self) -> None:
        """Forget this object; the pack goes on without it."""
        if self._working is not None:
            await asyncio.wait([self._working])
        self._pack.rewind(self._begin)

    async def _settle(self) -> None:
        """Wait for the block before; one at a time keeps the order and bounds the memory."""
        if self._working is not None:
            await asyncio.shield(self._working)
            self._working = None

    def _seal_here(self) -> None:
        sealed = bytearray(len(self._buffer) + TAG)
        self._sealer.seal(self._buffer, sealed, last=True)
        self._pack.keep(sealed)

    def _seal_and_write(self, block: Buffer, end: int, *, last: bool) -> None:
        """Hash, encrypt and write the chunks of block[:end]; called in a worker thread."""
        sealed = _scratch.view(SEALED_CHUNK)
        with memoryview(block) as plain:
            for start in range(0, max(1, end), CHUNK):
                stop = min(start + CHUNK, end)
                size = self._sealer.seal(plain[start:stop], sealed, last=last and stop == end)
                self._pack.write(sealed[:size])


def quiet(future: asyncio.Future[T]) -> asyncio.Future[T]:
    """Its error is raised where it is awaited; where nobody awaits it any more, it is not news."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
