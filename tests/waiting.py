"""Waiting for what the server's own work does beside a test: for the event, with a limit that no slow machine meets."""

from __future__ import annotations

import asyncio
import time

PATIENCE = 60.0  # seconds
PAUSE = 0.05


class Tries:
    """`async for _ in tries():` goes round until the loop is left, or until patience is over."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._begun = False

    def __aiter__(self) -> Tries:
        return self

    async def __anext__(self) -> None:
        if self._begun:
            if time.monotonic() > self._until:
                raise StopAsyncIteration
            await asyncio.sleep(PAUSE)
        self._begun = True


def tries(seconds: float = PATIENCE) -> Tries:
    """Rounds with a short pause between them."""
    return Tries(seconds)
