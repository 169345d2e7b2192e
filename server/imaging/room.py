"""Room for large pictures: how many bytes of frames are held at once, whatever is asked for at once.

One frame of a mammogram is 30 MB, of a slide far more; a hundred callers ask for one each. Who comes while there is
no room waits; when too many wait, the answer is to come back later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from server.core.errors import NotAcceptable, Unavailable

TOTAL = 512 * 2**20  # bytes of one process
WAITING = 256


class TooLargeToShow(NotAcceptable):
    """This picture is too large to be drawn or decoded; it can be had as it is stored."""


class Room:
    """A bound of bytes, given out in the order of asking."""

    def __init__(self, total: int = TOTAL, waiting: int = WAITING) -> None:
        self._total = total
        self._used = 0
        self._most_waiting = waiting
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Bytes given out now."""
        return self._used

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Have room for so many bytes. Raises TooLargeToShow, and Unavailable when too many wait."""
        if size > self._total:
            raise TooLargeToShow()
        if self._queue or self._used + size > self._total:
            await self._wait(size)
        else:
            self._used += size
        try:
            yield
        finally:
            self._used -= size
            self._next()

    async def _wait(self, size: int) -> None:
        if len(self._queue) >= self._most_waiting:
            raise Unavailable("Too many images are being prepared; try again in a moment.")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._used -= size  # the room was given in the same moment
            else:
                self._queue = deque(each for each in self._queue if each[1] is not turn)
            self._next()
            raise

    def _next(self) -> None:
        while self._queue and self._used + self._queue[0][0] <= self._total:
            size, turn = self._queue.popleft()
            if not turn.cancelled():
                self._used += size
                turn.set_result(None)


_Rooms = WeakKeyDictionary[asyncio.AbstractEventLoop, Room]
_ROOMS: _Rooms = WeakKeyDictionary()
_INFLATED: _Rooms = WeakKeyDictionary()


def room() -> Room:
    """The room of this process (of its event loop, for a test may have several)."""
    return _ROOMS.setdefault(asyncio.get_running_loop(), Room())


def inflated_room() -> Room:
    """Room for deflated objects, which are held whole while they are sent, be the caller as slow as it likes."""
    return _INFLATED.setdefault(asyncio.get_running_loop(), Room())
