"""Studies as a ZIP file, written while it is sent.

DICOM PS3.18, 8.7.3.3.2 and PS3.12, V (ZIP). Members are stored, not deflated: compressed pixels do not shrink, and
the others travel faster than they would deflate. With a directory it is a file-set that discs and viewers know.
"""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from itertools import groupby

from server.access.reach import Reach
from server.access.services import Services
from server.imaging import catalogue
from server.imaging.dicom_json import Json
from server.imaging.fileset import DIRECTORY_NAME, FileSet, attributes_of, entry_of

from .objects import Sending

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


async def members_with_directory(
    services: Services, sending: Sequence[Sending], *, reach: Reach
) -> AsyncIterator[Member]:
    """A DICOM file-set: its files by File ID, and the directory last, when all are known (PS3.12, V.1)."""
    files = FileSet()
    for (study, series), group in groupby(sending, lambda each: each.uids[:2]):
        headers = await _headers(services, study, series, reach)
        for each in group:
            made, chunks = await each.begun()
            entry = entry_of(made.row, made.transfer_syntax, headers.get(made.row.sop_uid, {}))
            yield files.add(entry), chunks
    yield DIRECTORY_NAME, _pieces(files)


async def _headers(services: Services, study: str, series: str, reach: Reach) -> dict[str, Json]:
    """What the directory says of each instance of a series."""
    rows = catalogue.stream_metadata(services.db, study, series, reach=reach)
    found = [attributes_of(metadata) async for _, metadata in rows]
    return {uid: each for each in found for uid in (each.get("00080018") or {}).get("Value") or ()}


async def _pieces(files: FileSet) -> AsyncIterator[bytes]:
    for piece in files.written():
        yield piece


async def zipped(members: Iterable[Member] | AsyncIterable[Member]) -> AsyncIterator[bytes]:
    """The bytes of the archive, member after member; one chunk of one member is held at a time."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        async for name, chunks in _one_by_one(members):
            info = zipfile.ZipInfo(name, _DATE)
            with archive.open(info, "w", force_zip64=True) as member:
                async for chunk in chunks:
                    member.write(chunk)
                    yield sink.take()
                    await asyncio.sleep(0)  # checksums are work: let others have their turn
    yield sink.take()


async def _one_by_one(members: Iterable[Member] | AsyncIterable[Member]) -> AsyncIterator[Member]:
    if isinstance(members, AsyncIterable):
        async for member in members:
            yield member
    else:
        for member in members:
            yield member
