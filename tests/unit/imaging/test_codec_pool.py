"""Decoding in processes apart: a codec that crashes or loops takes nothing else with it."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Iterator

import pytest

from server.core.errors import Unavailable
from server.imaging.codec_pool import CodecPool, Failed
from server.imaging.codec_worker import MAX_MEMORY
from server.imaging.description import Description, describe
from server.imaging.entry import entry_of
from server.imaging.header import header_of
from server.imaging.pixels import ROW
from tests.waiting import tries

from .samples import sample


@pytest.fixture
def pool() -> Iterator[CodecPool]:
    made = CodecPool(size=2, waiting=4)
    yield made
    made.close()


def a_job() -> tuple[dict[str, object], bytes]:
    content = sample("MR_small_jp2klossless.dcm")
    header = header_of(content)
    entry = entry_of(header)
    start, stop = ROW.unpack_from(entry.pixels.table or b"")
    description = describe(entry.instance["metadata"], header.transfer_syntax)
    return {"job": "decode", "description": description.to_json()}, content[start:stop]


async def test_a_frame_is_decoded(pool: CodecPool) -> None:
    answer, pixels = await pool.do(*a_job())
    assert answer["ok"]
    now = Description.from_json(answer["description"])
    assert len(pixels) == now.rows * now.columns * 2


async def test_what_takes_too_long_is_ended_and_the_next_is_done(pool: CodecPool) -> None:
    with pytest.raises(Failed):
        await pool.do(*a_job(), seconds=0.001)
    answer, _ = await pool.do(*a_job())
    assert answer["ok"]


async def test_a_crash_is_one_job_s_only(pool: CodecPool) -> None:
    await pool.do(*a_job())
    with pytest.raises(Failed):
        await pool.do({"job": "decode"}, b"")  # it ends over a job without a description
    results = await asyncio.gather(*(pool.do(*a_job()) for _ in range(4)))
    assert all(answer["ok"] for answer, _ in results)


async def test_damaged_frames_are_refused(pool: CodecPool) -> None:
    header, content = a_job()
    for damaged in (b"", content[:50], b"\xff" * 5000, content[:100] + b"\0" * 500 + content[600:]):
        answer, pixels = await pool.do(header, damaged)
        assert answer["ok"] or pixels == b""


async def test_too_many_wait(pool: CodecPool) -> None:
    results = await asyncio.gather(*(pool.do(*a_job()) for _ in range(6)), return_exceptions=True)
    assert [type(each) for each in results].count(Unavailable) == 2


async def test_a_process_that_was_killed_while_it_waited_is_nobody_s_fault(pool: CodecPool) -> None:
    await pool.do(*a_job())
    os.kill(pool._free[0].pid, signal.SIGKILL)
    await asyncio.sleep(0.05)
    answer, _ = await pool.do(*a_job())
    assert answer["ok"]


async def test_killed_in_the_middle_of_a_job(pool: CodecPool) -> None:
    await pool.do(*a_job())
    pid = pool._free[0].pid
    header, content = large_job()
    job = asyncio.create_task(pool.do(header, content))
    async for _ in tries():
        if pid not in [each.pid for each in pool._free]:  # it has been taken
            break
    await asyncio.sleep(0.05)  # and is at work
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Failed):
        await job
    answer, _ = await pool.do(*a_job())
    assert answer["ok"]


async def test_memory_has_a_bound(pool: CodecPool) -> None:
    await pool.do(*a_job())
    limits = resource.prlimit(pool._free[0].pid, resource.RLIMIT_AS)
    assert limits == (MAX_MEMORY, MAX_MEMORY)


def large_job() -> tuple[dict[str, object], bytes]:
    """Some seconds of work."""
    side = 6000
    description = Description("1.2.840.10008.1.2.1", side, side, 1, "MONOCHROME2", 16, 16)
    header = {"job": "encode", "description": description.to_json(), "target": "1.2.840.10008.1.2.4.90"}
    return header, os.urandom(side * side * 2)


async def test_an_endless_encoder_is_ended(pool: CodecPool) -> None:
    header, content = large_job()
    with pytest.raises(Failed):
        await pool.do(header, content, seconds=0.5)
    answer, _ = await pool.do(*a_job())
    assert answer["ok"]
