"""Packs in a directory: full disks, broken disks, and requests that are given up half way."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from server.core.errors import OutOfSpace, StorageUnavailable
from server.storage import local
from server.storage.crypto import CHUNK
from server.storage.local import LocalFiles
from server.storage.objects import ObjectStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    made = ObjectStore(LocalFiles(tmp_path / "objects"))
    yield made
    await made.close()


def files_in(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]


def test_only_the_owner_may_enter(tmp_path: Path) -> None:
    LocalFiles(tmp_path / "objects")
    LocalFiles(tmp_path / "objects")
    directories = [
        tmp_path / "objects",
        *(path for path in (tmp_path / "objects").rglob("*") if path.is_dir()),
    ]
    assert len(directories) == 3 + 256
    assert {path.stat().st_mode & 0o777 for path in directories} == {0o700}


def test_foreign_files_are_passed_over(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path / "objects")
    for directory in ("spool", "packs/ab"):
        (tmp_path / "objects" / directory / "lost+found").mkdir()
    assert list(files.list()) == list(files.drafts()) == []


async def test_a_published_file_is_private_and_no_draft_remains(store: ObjectStore, tmp_path: Path) -> None:
    async with await store.open_pack() as pack:
        await (await pack.begin()).finish()
        await pack.publish()
    [path] = files_in(tmp_path)
    assert path == tmp_path / "objects" / "packs" / str(pack.id)[:2] / str(pack.id)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, OutOfSpace), (errno.EDQUOT, OutOfSpace), (errno.EIO, StorageUnavailable)],
)
@pytest.mark.parametrize("call", ["pwrite", "fsync"])
async def test_a_disk_that_refuses_leaves_nothing(
    store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    error: type[Exception],
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, "refused")

    async def upload() -> None:
        async with await store.open_pack() as pack:
            writer = await pack.begin()
            for _ in range(5):
                await writer.write(os.urandom(CHUNK))
            monkeypatch.setattr(os, call, refuse)
            for _ in range(5):
                await writer.write(os.urandom(CHUNK))
            await writer.finish()
            await pack.publish()

    with pytest.raises(error):
        await upload()
    monkeypatch.undo()
    assert files_in(tmp_path) == []


async def test_after_a_refused_object_a_smaller_one_may_fit(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = local.os.pwrite

    def half(descriptor: int, data: memoryview, at: int) -> int:
        monkeypatch.setattr(os, "pwrite", full)
        return written(descriptor, data[: len(data) // 2], at)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    async with await store.open_pack() as pack:
        writer = await pack.begin()
        monkeypatch.setattr(os, "pwrite", half)
        await writer.write(os.urandom(2 * CHUNK))
        with pytest.raises(OutOfSpace):
            await writer.finish()
        await writer.abandon()
        monkeypatch.undo()
        writer = await pack.begin()
        await writer.write(b"small")
        stored = await writer.finish()
        size = await pack.publish()
    assert await store.read(stored.address) == b"small"
    [path] = files_in(tmp_path)
    assert path.stat().st_size == size


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
async def test_a_cancelled_store_leaves_nothing_whatever_its_thread_does(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The thread is in the middle of a write, or of the sync, when the client hangs up."""
    arrived, go_on = threading.Event(), threading.Event()
    real = getattr(os, call)

    def slow(*arguments: object) -> object:
        arrived.set()
        go_on.wait(5)
        return real(*arguments)

    async def upload() -> None:
        async with await store.open_pack() as pack:
            writer = await pack.begin()
            await writer.write(os.urandom(3 * CHUNK))
            await writer.finish()
            await pack.publish()

    monkeypatch.setattr(os, call, slow)
    task = asyncio.create_task(upload())
    await asyncio.to_thread(arrived.wait, 5)
    task.cancel()
    await asyncio.sleep(0.02)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_in(tmp_path) == []


async def test_what_does_not_lie_in_memory_is_read_in_a_thread(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await store.open_pack() as pack:
        writer = await pack.begin()
        await writer.write(b"cold")
        stored = await writer.finish()
        await pack.publish()
    for flag in (None, 1 << 30):  # a system without it, a file system that does not know it
        monkeypatch.setattr(local, "_NOWAIT", flag)
        assert await store.read(stored.address) == b"cold"


async def test_a_deleted_draft_cannot_be_published(store: ObjectStore, tmp_path: Path) -> None:
    async with await store.open_pack() as pack:
        writer = await pack.begin()
        await writer.write(os.urandom(3 * CHUNK))
        await writer.finish()
        await store.delete_pack(pack.id)
        with pytest.raises(StorageUnavailable):
            await pack.publish()
    assert files_in(tmp_path) == []


async def test_deleting_what_never_was_is_fine(store: ObjectStore) -> None:
    await store.delete_pack(uuid4())
