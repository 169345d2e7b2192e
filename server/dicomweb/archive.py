"""Studies as a ZIP file, written while it is sent.

DICOM PS3.18, 8.7.3.3.2 and PS3.12, V (ZIP). Members are stored, not deflated: compressed pixels do not shrink, and
the others travel faster than they would deflate.
"""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import AsyncIterator, Iterable

_DATE = (1980, 1, 1, 0, 0, 0)  # the same archive each time: no moment of ours is in it


class _Sink:
    """A file that keeps what is written until it is taken away."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


Member = tuple[str, AsyncIterator[bytes]]


async def zipped(members: Iterable[Member]) -> AsyncIterator[bytes]:
    """The bytes of the archive, member after member; one chunk of one member is held at a time."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for name, chunks in members:
            info = zipfile.ZipInfo(name, _DATE)
            with archive.open(info, "w", force_zip64=True) as member:
                async for chunk in chunks:
                    member.write(chunk)
                    yield sink.take()
                    await asyncio.sleep(0)  # checksums are work: let others have their turn
    yield sink.take()
