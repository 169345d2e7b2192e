"""What a place for packs must offer: a directory (local.py) or a bucket (s3.py).

All of it is synchronous and knows nothing of keys; objects.py calls it in worker threads. It raises OutOfSpace,
StorageUnavailable, and Missing for a pack that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol
from uuid import UUID

from .crypto import Buffer


class Sink(Protocol):
    """A pack being written; every method may be called from any thread, one call runs at a time."""

    def append(self, data: Buffer) -> None:
        """Add bytes at the end; `data` may be reused afterwards."""

    def rewind(self, to: int) -> int:
        """Forget what lies after `to` where that is possible; the offset where the next byte will lie."""

    def publish(self) -> int:
        """Make the pack durable under its id; its size. No byte is added afterwards."""

    def discard(self) -> None:
        """Leave nothing of it, published or not; never fails because something is not there."""


class Files(Protocol):
    """Where packs lie."""

    window: int  # sealed bytes worth asking for at once

    def create(self, pack_id: UUID) -> Sink: ...

    def fetch(self, pack_id: UUID, begin: int, end: int) -> Buffer:
        """Bytes begin..end of a pack, fewer when it ends earlier; valid until this thread's next call."""

    def fetch_now(self, pack_id: UUID, begin: int, end: int) -> Buffer | None:
        """The same when it can be had at once, without waiting for a disk or a network; else None."""

    def delete(self, pack_id: UUID) -> None:
        """Remove a pack, also one half written; nothing happens when it is not there."""

    def set_aside(self, pack_id: UUID, before: datetime) -> bool:
        """Move a published pack written before that moment to where nothing looks; whether it was."""

    def list(self) -> Iterator[UUID]:
        """Every published pack."""

    def size(self, pack_id: UUID) -> int:
        """Bytes of a published pack; raises Missing."""

    def drafts(self) -> Iterator[UUID]:
        """Every pack begun and neither published nor discarded, those being written now included."""
