"""Packs in a directory: `spool/<id>` while written, `packs/ab/<id>` once published.

A pack is published by renaming it, then syncing file and directory: one commit of the file system's journal instead
of two. Its bytes may reach the disk after its name does, which is safe: a pack counts only once its row says so,
and the row is committed after both.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from uuid import UUID

from server.core.errors import OutOfSpace, StorageUnavailable

from .crypto import SEALED_CHUNK, Buffer, Missing, Scratch

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Asks the kernel for what lies in memory only; elsewhere every read goes through a thread.
_NOWAIT = getattr(os, "RWF_NOWAIT", None)
_sync_data = getattr(os, "fdatasync", os.fsync)


class _translated:  # noqa: N801 - reads as a word
    """The system's errors as ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        match error:
            case FileNotFoundError():
                raise Missing() from error
            case OSError() if error.errno in _FULL:
                raise OutOfSpace() from error
            case OSError():
                raise StorageUnavailable() from error


class LocalFiles:
    """The packs of one directory tree, which only Lightbox's own user may enter."""

    window = SEALED_CHUNK

    def __init__(self, root: Path) -> None:
        self.root = root
        self._spool = root / "spool"
        self._packs = root / "packs"
        self._scratch = Scratch()
        with _translated():
            self._prepare()

    def create(self, pack_id: UUID) -> LocalSink:
        return LocalSink(self._draft(pack_id), self._path(pack_id))

    def fetch(self, pack_id: UUID, begin: int, end: int) -> Buffer:
        with _translated():
            descriptor = os.open(self._path(pack_id), os.O_RDONLY | os.O_CLOEXEC)
            try:
                view = self._scratch.view(end - begin)
                return view[: _fill(descriptor, view, begin)]
            finally:
                os.close(descriptor)

    def fetch_now(self, pack_id: UUID, begin: int, end: int) -> Buffer | None:
        if _NOWAIT is None:
            return None
        with _translated():
            descriptor = os.open(self._path(pack_id), os.O_RDONLY | os.O_CLOEXEC)
            try:
                view = self._scratch.view(end - begin)
                return view if os.preadv(descriptor, [view], begin, _NOWAIT) == len(view) else None
            except OSError as exc:
                if exc.errno in (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL):
                    return None
                raise
            finally:
                os.close(descriptor)

    def delete(self, pack_id: UUID) -> None:
        with _translated():
            _remove(self._draft(pack_id))
            if _remove(self._path(pack_id)):
                _sync(self._path(pack_id).parent)

    def set_aside(self, pack_id: UUID, before: datetime) -> bool:
        path, aside = self._path(pack_id), self.root / "strays"
        with _translated():
            if path.stat().st_mtime >= before.timestamp():
                return False
            aside.mkdir(mode=0o700, exist_ok=True)
            path.rename(aside / path.name)
            _sync(aside)
            _sync(path.parent)
        return True

    def list(self) -> Iterator[UUID]:
        for directory in sorted(self._packs.iterdir()):
            yield from _ids(directory)

    def size(self, pack_id: UUID) -> int:
        with _translated():
            return self._path(pack_id).stat().st_size

    def drafts(self) -> Iterator[UUID]:
        yield from _ids(self._spool)

    def _draft(self, pack_id: UUID) -> Path:
        return self._spool / str(pack_id)

    def _path(self, pack_id: UUID) -> Path:
        name = str(pack_id)
        return self._packs / name[:2] / name

    def _prepare(self) -> None:
        """Make the directories, all 256 at once, so that no store pays for one."""
        if (self._packs / "ff").is_dir():
            return
        for directory in (self.root, self._spool, self._packs):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(256):
            (self._packs / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
        for directory in (self._packs, self.root, self.root.parent):
            _sync(directory)


class LocalSink:
    """A pack being written; its file appears with its first bytes.

    The lock makes it safe to give up at any moment: a write that a cancelled request left behind in its thread ends
    before the file is closed, and one that comes later finds it closed.
    """

    def __init__(self, draft: Path, path: Path) -> None:
        self._draft = draft
        self._path = path
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._closed = False
        self._end = 0  # the file is longer after rewind(), or after a write that failed half way

    def append(self, data: Buffer) -> None:
        with self._lock, _translated():
            self._end += _write(self._open(), data, self._end)

    def rewind(self, to: int) -> int:
        with self._lock:
            self._end = min(self._end, to)
            return self._end

    def publish(self) -> int:
        with self._lock, _translated():
            descriptor = self._open()
            if os.fstat(descriptor).st_size > self._end:
                os.ftruncate(descriptor, self._end)
            self._rename()
            _sync_data(descriptor)
            _sync(self._path.parent)
            self._close()
            return self._end

    def discard(self) -> None:
        with self._lock, _translated():
            existed = self._descriptor is not None or self._closed
            self._close()
            if existed:
                _remove(self._draft)
                _remove(self._path)

    def _rename(self) -> None:
        try:
            self._draft.rename(self._path)
        except FileNotFoundError as exc:  # swept: this process was thought dead
            raise StorageUnavailable() from exc

    def _open(self) -> int:
        if self._closed:
            raise StorageUnavailable()
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self._draft, flags, 0o600)
        return self._descriptor

    def _close(self) -> None:
        self._closed = True
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


def _ids(directory: Path) -> Iterator[UUID]:
    with _translated(), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(ValueError):  # not ours
                yield UUID(entry.name)


def _fill(descriptor: int, view: memoryview, begin: int) -> int:
    """Read until the view is full or the file ends; how much came."""
    done = 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], begin + done)
        if count == 0:
            break
        done += count
    return done


def _write(descriptor: int, data: Buffer, at: int) -> int:
    """Write all of it: the system may take less at a time."""
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.pwrite(descriptor, view[done:], at + done)
        return done


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
