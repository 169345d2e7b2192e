"""imaging/room.py: a bound of bytes that holds whatever is asked for at once."""

import asyncio

import pytest

from server.core.errors import Unavailable
from server.imaging.room import Room, TooLargeToShow


async def test_never_more_than_there_is_room_for():
    room, most = Room(total=100), 0

    async def one(size: int) -> None:
        nonlocal most
        async with room.taken(size):
            most = max(most, room.used)
            await asyncio.sleep(0.001)

    await asyncio.gather(*(one(size) for size in [40, 70, 100, 5, 30, 60] * 5))
    assert most <= 100
    assert room.used == 0


async def test_too_large_and_too_many():
    room = Room(total=10, waiting=1)
    with pytest.raises(TooLargeToShow):
        async with room.taken(11):
            pass
    async with room.taken(10):
        waiting = asyncio.create_task(_take(room))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await _take(room)
    await waiting
    assert room.used == 0


async def test_who_hangs_up_gives_way():
    room = Room(total=10)
    async with room.taken(10):
        gone = asyncio.create_task(_take(room))
        after = asyncio.create_task(_take(room))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await after
    assert room.used == 0


async def test_who_is_cancelled_when_its_turn_comes():
    room = Room(total=10)
    async with room.taken(10):
        gone = asyncio.create_task(_take(room))
        await asyncio.sleep(0)
    gone.cancel()  # the room was given, and not taken yet
    await asyncio.gather(gone, return_exceptions=True)
    assert room.used == 0


async def _take(room: Room) -> None:
    async with room.taken(10):
        await asyncio.sleep(0)
