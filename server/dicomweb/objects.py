"""Stored instances on their way out: as they are, or in another transfer syntax.

DICOM PS3.18, 8.7.3.2 and 8.7.8; decision 15: `*` is byte for byte what was sent; a named syntax is made or refused;
with none named it is Explicit VR Little Endian, or the object as it is stored, truly labelled, where that cannot be
made of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from server.access.services import Services
from server.imaging.catalogue import InstanceRow, address_of
from server.imaging.frames import NotDecoded
from server.imaging.transcode import COMPRESSED, can_make, not_makeable, transcoded
from server.imaging.transfer_syntax import EXPLICIT, is_native

from .representations import AS_STORED, DICOM


@dataclass(frozen=True)
class Sending:
    """One instance and how it goes out."""

    services: Services
    row: InstanceRow
    transfer_syntax: str
    or_as_stored: bool = False  # where it turns out that it cannot be made
    is_rewritten: bool = False

    @property
    def is_as_stored(self) -> bool:
        return self.transfer_syntax == self.row.transfer_syntax

    @property
    def size(self) -> int | None:
        """Bytes, where known beforehand."""
        return self.row.size if self.is_as_stored and not self.is_rewritten else None

    @property
    def media_type(self) -> str:
        return f"{DICOM}; transfer-syntax={self.transfer_syntax}"

    @property
    def uids(self) -> tuple[str, str, str]:
        return self.row.study_uid, self.row.series_uid, self.row.sop_uid

    @property
    def etag(self) -> tuple[bytes, str]:
        """What decides every byte."""
        return self.row.sha256, self.transfer_syntax

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, read when they are asked for."""
        if self.is_as_stored:
            return self.services.objects.stream(address_of(self.services, self.row))
        return transcoded(self.services, self.row, self.transfer_syntax)

    async def tried(self) -> None:
        """Make it once for nothing, as far as that could fail: all frames that are put into another encoding.

        Raises NotDecoded. What only frames its elements anew can fail at its beginning alone.
        """
        if self.is_as_stored:
            return
        chunks = transcoded(self.services, self.row, self.transfer_syntax)
        async for _ in chunks:
            if is_native(self.row.transfer_syntax) and self.transfer_syntax not in COMPRESSED:
                break
        await chunks.aclose()

    async def begun(self) -> tuple[Sending, AsyncIterator[bytes]]:
        """Begin to make it, so that its label is true: as wanted, or as stored. Raises NotDecoded."""
        if self.is_as_stored:
            headed = await self._headed() if self.or_as_stored else self.chunks()
            if headed is not None:
                return self, headed
        chunks = transcoded(self.services, self.row, self.transfer_syntax)
        try:
            first = await anext(chunks)
        except NotDecoded:
            if not self.or_as_stored:
                raise
            stored = replace(self, transfer_syntax=self.row.transfer_syntax)
            return stored, stored.chunks()
        return replace(self, is_rewritten=True), _after(first, chunks)

    async def _headed(self) -> AsyncIterator[bytes] | None:
        """The bytes as stored, when they begin as application/dicom does: preamble, "DICM" (PS3.10, 7.1); else None."""
        chunks = self.chunks()
        first = await anext(chunks)
        return _after(first, chunks) if first[128:132] == b"DICM" else None


async def sendings(
    services: Services, rows: Sequence[InstanceRow], transfer_syntaxes: Sequence[str | None]
) -> list[Sending] | None:
    """How each instance goes out: in the first of these that can be made of it; None when one has none.

    Objects without pixels have nothing to compress: beside images that go out compressed, they are in Explicit VR
    Little Endian and say so.
    """
    found: dict[str, Sending] = {}
    for wanted in transfer_syntaxes:
        left = [row for row in rows if row.sop_uid not in found]
        makes = [each for row in left if (each := _sending(services, row, wanted))]
        refused = await not_makeable(services, [each.row for each in makes], wanted or "")
        found |= {each.row.sop_uid: each for each in makes if each.row.sop_uid not in refused}
    if found and any(wanted in COMPRESSED for wanted in transfer_syntaxes):
        for row in rows:
            if row.sop_uid not in found and row.frame_count == 0:
                found[row.sop_uid] = _as_default(services, row)
    return [found[row.sop_uid] for row in rows] if len(found) == len(rows) else None


def _sending(services: Services, row: InstanceRow, wanted: str | None) -> Sending | None:
    if wanted in (AS_STORED, row.transfer_syntax):
        return Sending(services, row, row.transfer_syntax)
    if wanted is None:
        return _as_default(services, row)
    return Sending(services, row, wanted) if can_make(row, wanted) else None


def _as_default(services: Services, row: InstanceRow) -> Sending:
    makes = can_make(row, EXPLICIT)
    return Sending(services, row, EXPLICIT if makes else row.transfer_syntax, or_as_stored=True)


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
