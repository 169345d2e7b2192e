"""Packs in a bucket (S3 and what speaks like it), through obstore.

A pack is one object under its id. It is uploaded in parts and appears when the upload is completed, whole or not at
all. An upload whose process died leaves parts that no listing shows: give the bucket a lifecycle rule that aborts
incomplete multipart uploads after a day. Credentials and region come from the usual AWS_* variables.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING
from uuid import UUID

import obstore
from obstore.exceptions import BaseError, GenericError, NotFoundError
from obstore.store import S3Store

from server.core.errors import StorageUnavailable

from .crypto import SEALED_CHUNK, Buffer, Missing

if TYPE_CHECKING:
    from obstore import WritableFile
    from obstore.store import ObjectStore as Bucket
    from obstore.store import RetryConfig

_PART = 8 << 20  # a pack below this is one PUT
_PARTS_AT_ONCE = 4
_PATIENCE: RetryConfig = {"max_retries": 5, "retry_timeout": timedelta(seconds=20)}


class _translated:  # noqa: N801 - reads as a word
    """The library's errors as ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        match error:
            case NotFoundError() | FileNotFoundError():
                raise Missing() from error
            case BaseError() | OSError():
                raise StorageUnavailable() from error


class S3Files:
    """The packs of one bucket, under a prefix."""

    window = 8 * SEALED_CHUNK  # a request costs tens of milliseconds, however little it brings

    def __init__(self, bucket: Bucket, prefix: str = "") -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/packs/" if prefix else "packs/"

    @classmethod
    def at(cls, bucket: str, prefix: str) -> S3Files:
        return cls(S3Store(bucket, retry_config=_PATIENCE), prefix)

    def create(self, pack_id: UUID) -> S3Sink:
        return S3Sink(self, pack_id)

    def fetch(self, pack_id: UUID, begin: int, end: int) -> Buffer:
        with _translated():
            try:
                return memoryview(obstore.get_range(self._bucket, self.path(pack_id), start=begin, end=end))
            except GenericError:
                if self._size(pack_id) <= begin:  # cut: not the bucket's fault
                    return b""
                raise

    def fetch_now(self, pack_id: UUID, begin: int, end: int) -> Buffer | None:
        return None

    def delete(self, pack_id: UUID) -> None:
        with _translated(), suppress(NotFoundError, FileNotFoundError):
            obstore.delete(self._bucket, self.path(pack_id))

    def set_aside(self, pack_id: UUID, before: datetime) -> bool:
        with _translated():
            if obstore.head(self._bucket, self.path(pack_id))["last_modified"] >= before:
                return False
            aside = self._prefix.removesuffix("packs/") + f"strays/{pack_id}"
            obstore.rename(self._bucket, self.path(pack_id), aside)
        return True

    def list(self) -> Iterator[UUID]:
        with _translated():
            for batch in obstore.list(self._bucket, self._prefix):
                for each in batch:
                    with suppress(ValueError):  # not ours
                        yield UUID(each["path"].rpartition("/")[2])

    def drafts(self) -> Iterator[UUID]:
        yield from ()

    def size(self, pack_id: UUID) -> int:
        with _translated():
            return self._size(pack_id)

    def _size(self, pack_id: UUID) -> int:
        return obstore.head(self._bucket, self.path(pack_id))["size"]

    def path(self, pack_id: UUID) -> str:
        return self._prefix + str(pack_id)

    def writer(self, pack_id: UUID) -> WritableFile:
        return obstore.open_writer(
            self._bucket, self.path(pack_id), buffer_size=_PART, max_concurrency=_PARTS_AT_ONCE
        )


class S3Sink:
    """A pack being uploaded."""

    def __init__(self, files: S3Files, pack_id: UUID) -> None:
        self._files = files
        self._id = pack_id
        self._lock = threading.Lock()  # see LocalSink
        self._writer: WritableFile | None = None
        self._closed = False
        self._end = 0

    def append(self, data: Buffer) -> None:
        with self._lock, _translated():
            if self._closed:
                raise StorageUnavailable()
            if self._writer is None:
                self._writer = self._files.writer(self._id)
            self._writer.write(bytes(data))  # a copy: the library keeps it until the part is sent
            self._end += len(data)

    def rewind(self, to: int) -> int:
        return self._end  # what was sent stays, unused

    def publish(self) -> int:
        with self._lock, _translated():
            if self._closed or self._writer is None:
                raise StorageUnavailable()
            self._closed = True
            self._writer.close()
            return self._end

    def discard(self) -> None:
        with self._lock:
            published, self._closed = self._closed, True
            self._writer = None  # dropped unfinished: it never becomes an object
            if published:
                self._files.delete(self._id)
