"""Values that the metadata only name: found in the object by the path of their BulkDataURI.

DICOM PS3.18, 10.4.1.1.5 (bulkdata resources), 8.7.3.3 (uncompressed bulk data are little endian).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from server.access.services import Services
from server.core.errors import NotFound
from server.storage.objects import Address

from .catalogue import InstanceRow, address_of
from .dicom_json import little
from .elements import PIXEL_DATA, DataSet, Element
from .frames import inflated
from .header import Header, header_of, read_header
from .room import TOTAL, inflated_room
from .transfer_syntax import encoding

_WINDOW = 1 << 20
_MOST_STEPS = 200


@dataclass(frozen=True)
class Bulk:
    """One value: how long it is, and its bytes in little endian, also of a stretch."""

    services: Services
    source: Address | bytes  # bytes: the value itself
    start: int
    stop: int
    vr: str
    big: bool
    encapsulated: bool = False  # compressed pixels: to be had frame by frame

    @property
    def size(self) -> int:
        return self.stop - self.start

    async def chunks(self, begin: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `begin` to `end` of the value."""
        stop = self.size if end is None else end
        whole = begin // 8 * 8  # words of big endian values are turned whole
        for at in range(whole, stop, _WINDOW):
            part = await self._read(at, min(at + _WINDOW, self.size))
            yield part[max(0, begin - at) : stop - at]

    async def _read(self, begin: int, end: int) -> bytes:
        start, stop = self.start + begin, self.start + end
        if isinstance(self.source, bytes):
            part = self.source[start:stop]
        else:
            part = await self.services.objects.read(self.source, start, stop)
        return little(part, self.vr, self.big)


@dataclass(frozen=True)
class Opened:
    """An object whose header was read, for however many of its values; a deflated one is held inflated."""

    services: Services
    row: InstanceRow
    source: Address | bytes
    header: Header

    def find(self, path: Sequence[str]) -> Bulk:
        """The value at `path`: tags, and numbers of items (from 1) between them. Raises NotFound."""
        return _bulk(self, path)


@asynccontextmanager
async def opened(services: Services, row: InstanceRow) -> AsyncIterator[Opened]:
    """The object for all of its values, read once; inflated, it takes its room as long as they are sent."""
    address = address_of(services, row)
    if not encoding(row.transfer_syntax).deflated:
        header = await asyncio.to_thread(lambda: read_header(services.objects.reader(address)))
        yield Opened(services, row, address, header)
        return
    content = await services.objects.read(address)
    header = await asyncio.to_thread(header_of, content)
    async with inflated_room().taken(min(header.size, TOTAL)):  # one that is larger goes alone
        yield Opened(services, row, await asyncio.to_thread(inflated, content), header)


async def find(services: Services, row: InstanceRow, path: Sequence[str]) -> Bulk:
    """One value of an object (`Opened.find`). Raises NotFound."""
    async with opened(services, row) as held:
        return held.find(path)


def _bulk(held: Opened, path: Sequence[str]) -> Bulk:
    services, row, source, header = held.services, held.row, held.source, held.header
    data, element = _at(header.data, path)
    if element.tag == PIXEL_DATA and header.fragments is not None and data is header.data:
        return Bulk(services, source, element.offset, element.offset, element.vr, False, encapsulated=True)
    # A header read by range believes the lengths it steps over: an object that lies about one ends where it ends.
    size = header.size if isinstance(source, bytes) else row.size
    stop = min(element.offset + element.length, size)
    word = element.vr
    if element.tag == PIXEL_DATA:
        word = {16: "OW", 32: "OL", 64: "OV"}.get(row.bits_allocated or 8, element.vr)
    return Bulk(services, source, element.offset, max(element.offset, stop), word, data.big)


def _at(data: DataSet, path: Sequence[str]) -> tuple[DataSet, Element]:
    """The element at the path, and the data set that it stands in."""
    if len(path) % 2 == 0 or len(path) > _MOST_STEPS:
        raise NotFound()
    for tag, number in zip(path[:-1:2], path[1::2], strict=True):
        items = _element(data, tag).items or []
        if not (number.isascii() and number.isdigit() and len(number) < 9 and 1 <= int(number) <= len(items)):
            raise NotFound()
        data = items[int(number) - 1]
    element = _element(data, path[-1])
    if element.items is not None:
        raise NotFound()
    return data, element


def _element(data: DataSet, tag: str) -> Element:
    try:
        return data[int(tag, 16)]
    except (KeyError, ValueError) as error:
        raise NotFound() from error
