"""Whole instances in another transfer syntax, made while they are sent.

DICOM PS3.18, 8.7.3.2 (Explicit VR Little Endian is the default). The data set is framed anew (rewritten.py), and
pixels are decompressed or compressed, frame by frame. Large values are read by range and never held. The SOP Instance
UID stays, also where the compression loses something, which the header then says (PS3.3, C.7.6.1.1.5): who asks by
UID gets what has that UID.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import replace
from struct import pack

from server.access.services import Services
from server.storage.objects import Address
from server.storage.sql import load

from . import transfer_syntax as syntaxes
from .catalogue import InstanceRow, address_of
from .codec import can_decode
from .codec_encode import LOSSY_METHODS, may_hold, targets
from .description import Description, describe
from .dicom_json import from_column, little
from .elements import PIXEL_DATA, DataSet, Element
from .frames import NotDecoded, decoded_frame, encoded_frame, inflated
from .header import Header, header_of, read_header
from .pixels import number, text
from .rewritten import Chunk, Stretch, written
from .room import inflated_room

QUERIES = load(__package__)

TARGETS = (syntaxes.EXPLICIT, syntaxes.IMPLICIT, syntaxes.DEFLATED)
COMPRESSED = targets()

_WINDOW = 1 << 20  # bytes of a large value at a time; whole words
_BATCH = 200  # headers looked at together
_OFFSET_TABLES = (0x7FE00001, 0x7FE00002)


def can_make(row: InstanceRow, transfer_syntax: str) -> bool:
    """Whether `transcoded` can be tried; True for what the object is in already."""
    if transfer_syntax == row.transfer_syntax:
        return True
    if transfer_syntax in COMPRESSED:
        return _can_compress(row)
    if transfer_syntax not in TARGETS:
        return False
    if row.pixel_offset is None or row.pixel_length is not None:
        return syntaxes.is_native(row.transfer_syntax)
    return can_decode(row.transfer_syntax) and row.frame_count > 0


def _can_compress(row: InstanceRow) -> bool:
    if row.frame_count == 0:
        return False
    native = row.pixel_length is not None
    return syntaxes.is_native(row.transfer_syntax) if native else can_decode(row.transfer_syntax)


async def not_makeable(services: Services, rows: Sequence[InstanceRow], transfer_syntax: str) -> set[str]:
    """Of the rows that `can_make` lets through, the SOP Instance UIDs of those whose header forbids it."""
    if transfer_syntax not in COMPRESSED:
        return set()
    refused = set()
    wanted = [row for row in rows if row.transfer_syntax != transfer_syntax]
    for start in range(0, len(wanted), _BATCH):
        batch = wanted[start : start + _BATCH]
        values = {"patient_id": batch[0].patient_id, "uids": [row.sop_uid for row in batch]}
        syntax_of = {row.sop_uid: row.transfer_syntax for row in batch}
        for found in await services.db.fetch_all(QUERIES["metadata_of_these"], values):
            uid = found["sop_uid"]
            description = describe(from_column(found["metadata"]), syntax_of[uid])
            if not may_hold(description, transfer_syntax):
                refused.add(uid)
    return refused


async def transcoded(services: Services, row: InstanceRow, transfer_syntax: str) -> AsyncGenerator[bytes]:
    """The whole instance in one of `TARGETS` or `COMPRESSED`.

    Raises NotDecoded before the first byte where it cannot be made.
    """
    address = address_of(services, row)
    if syntaxes.encoding(row.transfer_syntax).deflated:
        # Inflated, all of it is held until the last byte went.
        size = await _inflated_size(services, address)
        async with inflated_room().taken(size):
            async for chunk in _transcoded(services, address, row, transfer_syntax):
                yield chunk
        return
    async for chunk in _transcoded(services, address, row, transfer_syntax):
        yield chunk


async def _inflated_size(services: Services, address: Address) -> int:
    content = await services.objects.read(address)
    return (await asyncio.to_thread(header_of, content)).size


async def _transcoded(
    services: Services, address: Address, row: InstanceRow, transfer_syntax: str
) -> AsyncIterator[bytes]:
    source, header = await _opened(services, address, row)
    pixels: bytes | None = None
    target = transfer_syntax if transfer_syntax in COMPRESSED else None
    if target is not None:
        row = await _with_frames(services, row)
        pixels = await _first_encoded(services, row, header, target)
    elif header.fragments is not None:
        row = await _with_frames(services, row)
        pixels = await _first_frame(services, row, header)
    chunks = written(header, transfer_syntax, row.frame_count, len(pixels or b""), target)
    meta = next(chunks)
    assert isinstance(meta, bytes)
    yield meta
    deflater = (
        zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS) if transfer_syntax == syntaxes.DEFLATED else None
    )
    async for chunk in _sent(services, row, source, chunks, pixels):
        if deflater is None:
            yield chunk
        elif packed := await asyncio.to_thread(deflater.compress, chunk):
            yield packed
    if deflater is not None:
        rest = deflater.flush()
        yield rest + b"\0" * (len(rest) % 2)


async def _opened(services: Services, address: Address, row: InstanceRow) -> tuple[Address | bytes, Header]:
    """The object (a deflated one inflated) and its header."""
    if syntaxes.encoding(row.transfer_syntax).deflated:
        content = await services.objects.read(address)
        header = await asyncio.to_thread(header_of, content)
        source: Address | bytes = await asyncio.to_thread(inflated, content)
    else:
        source = address
        header = await asyncio.to_thread(lambda: read_header(services.objects.reader(address)))
    if header.partial:
        raise NotDecoded("This instance is too large to be rewritten; it can be had as it is stored.")
    return source, header


async def _with_frames(services: Services, row: InstanceRow) -> InstanceRow:
    """The row with its metadata and the places of all frames, for it was allowed already."""
    values = {"patient_id": row.patient_id, "sop_uid": row.sop_uid}
    found = await services.db.fetch_one(QUERIES["frames_of"], values)
    if found is None:
        raise NotDecoded()
    metadata = from_column(found["metadata"])
    return replace(row, metadata=metadata, frame_table=found["frame_table"] or b"", table_first=1)


async def _first_frame(services: Services, row: InstanceRow, header: Header) -> bytes:
    """The first frame decoded, and the header told what is true of it now."""
    pixels, now = await decoded_frame(services, row, 1)
    if len(pixels) * row.frame_count >= 0xFFFFFFFE:
        raise NotDecoded("Decompressed, this instance is larger than an element can be.")
    _told(header.data, now)
    return pixels


async def _first_encoded(services: Services, row: InstanceRow, header: Header, target: str) -> bytes:
    """The first frame encoded, and the header told what is true of it now."""
    if PIXEL_DATA not in header.data:
        raise NotDecoded("Only integer pixels can be compressed.")
    _require_no_hidden_overlays(header.data)
    pixels, now = await encoded_frame(services, row, 1, target)
    data = header.data
    _told(data, now)
    if number(data, 0x00280008) is not None:
        _set(data, 0x00280008, "IS", str(row.frame_count).encode())
    if method := LOSSY_METHODS.get(target):
        native_size = now.rows * now.columns * now.samples * now.bits_allocated // 8
        ratio = f"{native_size / max(1, len(pixels)):.2f}"
        before = _texts(data, 0x00282112), _texts(data, 0x00282114)
        _set(data, 0x00282110, "CS", b"01")
        _set(data, 0x00282112, "DS", "\\".join([*before[0], ratio]).encode())
        _set(data, 0x00282114, "CS", "\\".join([*before[1], method]).encode())
    return pixels


def _texts(data: DataSet, tag: int) -> list[str]:
    value = text(data, tag)
    return [part.strip() for part in value.split("\\")] if value else []


def _require_no_hidden_overlays(data: DataSet) -> None:
    """Overlays in unused bits of the pixels (retired) would be lost with those bits. Raises NotDecoded."""
    for group in range(0x6000, 0x6020, 2):
        position = number(data, group << 16 | 0x0102)
        if position and group << 16 | 0x3000 not in data and group << 16 | 0x0010 in data:
            raise NotDecoded("This instance has an overlay within its pixels; it can be had as it is stored.")


def _told(data: DataSet, now: Description) -> None:
    """Make the header say what is true of the pixels now."""
    _set(data, 0x00280004, "CS", now.photometric.encode())
    _set(data, 0x00280100, "US", pack("<H", now.bits_allocated))
    _set(data, 0x00280101, "US", pack("<H", now.bits_stored))
    _set(data, 0x00280102, "US", pack("<H", now.bits_stored - 1))
    if now.samples > 1:
        _set(data, 0x00280006, "US", pack("<H", 0))
    for tag in _OFFSET_TABLES:
        data.pop(tag, None)


def _set(data: DataSet, tag: int, vr: str, value: bytes) -> None:
    element = Element(tag, vr, 0, len(value) + len(value) % 2)
    # In the order of the object's own bytes, as all are until they are written.
    value = little(value, vr, data.big)
    element.value = value + (b" " if vr in ("CS", "DS", "IS") else b"\0") * (len(value) % 2)
    data[tag] = element


async def _sent(
    services: Services,
    row: InstanceRow,
    source: Address | bytes,
    chunks: Iterator[Chunk],
    pixels: bytes | None,
) -> AsyncIterator[bytes]:
    """What is written, the large values read when their turn comes."""
    small: list[bytes] = []
    for chunk in chunks:
        if isinstance(chunk, bytes):
            small.append(chunk)
            continue
        yield b"".join(small)
        small = []
        if isinstance(chunk, Stretch):
            parts = _stretch(services, source, chunk)
        elif chunk.target is not None:
            parts = _encapsulated(services, row, chunk.count, chunk.target, pixels or b"")
        else:
            parts = _decoded(services, row, chunk.count, pixels or b"")
        async for part in parts:
            yield part
    if small:
        yield b"".join(small)


async def _decoded(services: Services, row: InstanceRow, count: int, first: bytes) -> AsyncIterator[bytes]:
    yield first
    for frame in range(2, count + 1):
        decoded, _ = await decoded_frame(services, row, frame)
        if len(decoded) != len(first):
            raise NotDecoded()
        yield decoded


async def _encapsulated(
    services: Services, row: InstanceRow, count: int, target: str, first: bytes
) -> AsyncIterator[bytes]:
    """PS3.5, A.4: an empty offset table, for sizes are not known yet, and a fragment a frame."""
    yield b"\xfe\xff\x00\xe0\0\0\0\0" + _item(first)
    for frame in range(2, count + 1):
        encoded, _ = await encoded_frame(services, row, frame, target)
        yield _item(encoded)
    yield b"\xfe\xff\xdd\xe0\0\0\0\0"


def _item(content: bytes) -> bytes:
    padding = len(content) % 2
    return pack("<HHL", 0xFFFE, 0xE000, len(content) + padding) + content + b"\0" * padding


async def _stretch(services: Services, source: Address | bytes, stretch: Stretch) -> AsyncIterator[bytes]:
    for start in range(stretch.start, stretch.stop, _WINDOW):
        stop = min(start + _WINDOW, stretch.stop)
        if isinstance(source, bytes):
            part = source[start:stop]
        else:
            part = await services.objects.read(source, start, stop)
        yield little(part, stretch.vr, stretch.big)
