"""One frame of an object: found by its place, read by range, as it is stored or decoded.

DICOM PS3.18, 10.4.1.1.6 (frames), 8.7.3.3 (octet-stream: native little endian); PS3.5, A.4.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import orjson

from server.access.services import Services
from server.core.errors import NotAcceptable, NotFound
from server.storage.objects import Address

from .catalogue import InstanceRow, address_of
from .codec_encode import may_hold
from .codec_pool import POOL, Failed
from .description import Description, describe
from .dicom_json import Converter, little
from .header import MAX_INFLATED, header_of, read_header
from .pixels import ROW
from .room import room
from .transfer_syntax import encoding, is_video

_MAX_FRAME = 1 << 28  # bytes that are held; what is sent as it lies has no bound
# What drawing needs and metadata may only name: look-up tables and overlays.
_TABLES = re.compile(rb'/bulkdata(?:/[^"/]+)*/(?:00283006|0028120[123]|0028122[123]|60[01][02468ACE]3000)"')
_PROFILE = re.compile(rb'/bulkdata(?:/[^"/]+)*/00282000"')  # each slide has one, and few ask for it
_TABLED: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()  # by the digest of the object: never untrue
_MOST_TABLED = 8
_INLINE_TABLES = 1 << 20
_LARGE = 4 * 1_048_576  # more is unpacked in a thread


class NoFrame(NotFound):
    """The instance has no frame of this number."""


class NotDecoded(NotAcceptable):
    """These pixels cannot be decoded; they can be had as they are stored."""


@dataclass(frozen=True)
class Place:
    """Where a frame lies inside of its object."""

    start: int
    stop: int
    pieced: bool = False  # item headers may lie between pieces; `start` is behind the first of them
    shift: int = 0  # bits of the first byte that belong to the frame before
    bits: int = 0  # of the frame, where it does not begin and end with a byte


def frame_location(row: InstanceRow, number: int) -> Place:
    """Where frame `number` (from 1) lies. Raises NoFrame; NotDecoded when frames cannot be told apart.

    Of encapsulated pixel data the row must have been read with this frame's part of the frame table.
    """
    if not 1 <= number <= row.frame_count or row.pixel_offset is None:
        raise NoFrame(
            f"This instance has {row.frame_count} frames."
            if row.frame_count
            else "This instance has no pixels."
        )
    if row.pixel_length is not None:
        return _native_place(row, number)
    at = (number - row.table_first) * ROW.size
    if at < 0 or at + ROW.size > len(row.frame_table):
        raise NotDecoded("The frames of this instance cannot be told apart; retrieve it as a whole.")
    start, stop = ROW.unpack_from(row.frame_table, at)
    return Place(start, stop, row.pieced)


def _native_place(row: InstanceRow, number: int) -> Place:
    assert row.pixel_offset is not None
    assert row.pixel_length is not None
    if not row.frame_bits:
        raise NotDecoded("The size of this instance's frames is not known.")
    first = (number - 1) * row.frame_bits
    last = first + row.frame_bits
    end = row.pixel_offset + row.pixel_length
    start, shift = row.pixel_offset + first // 8, first % 8
    stop = min(row.pixel_offset + -(-last // 8), end)
    if start >= end:
        raise NoFrame("This frame was cut off.")
    return Place(start, stop, shift=shift, bits=row.frame_bits if shift or row.frame_bits % 8 else 0)


def has_frames(row: InstanceRow) -> bool:
    """Whether the instance has frames that can be had one by one."""
    return row.frame_count > 0 and not is_video(row.transfer_syntax)


def is_encapsulated(row: InstanceRow) -> bool:
    """Whether the frames are stored compressed."""
    return row.pixel_offset is not None and row.pixel_length is None


async def stored_frame(services: Services, row: InstanceRow, number: int) -> bytes:
    """The frame in the encoding that it is stored in; uncompressed ones in little endian."""
    place = frame_location(row, number)
    if place.stop - place.start > _MAX_FRAME:
        raise NotDecoded("This frame is too large to be had alone.")
    if place.pieced:
        return joined(await _read(services, row, place.start - 8, place.stop))
    content = await _read(services, row, place.start, place.stop)
    if place.shift or place.bits:
        return _aligned(content, place.shift, place.bits)
    if encoding(row.transfer_syntax).big and row.bits_allocated and row.pixel_length is not None:
        return little(content, await _word(services, row), True)
    return content


def as_it_lies(row: InstanceRow, number: int) -> Place | None:
    """Where the frame's bytes lie when they can be sent as they are, without being held; None: `stored_frame` has them.

    Raises NoFrame, NotDecoded.
    """
    place = frame_location(row, number)
    how = encoding(row.transfer_syntax)
    if place.pieced or place.shift or place.bits or how.deflated or how.big:
        return None
    return place


async def frame_as_stored(services: Services, row: InstanceRow, number: int) -> bytes:
    """`stored_frame`, when there is room for it."""
    async with room().taken(stored_bytes(row, number)):
        return await stored_frame(services, row, number)


async def native_frame(services: Services, row: InstanceRow, number: int) -> bytes:
    """The frame uncompressed, in little endian. Raises NotDecoded."""
    if not is_encapsulated(row):
        return await frame_as_stored(services, row, number)
    decoded, _ = await decoded_frame(services, row, number)
    return decoded


async def decoded_frame(services: Services, row: InstanceRow, number: int) -> tuple[bytes, Description]:
    """The pixels of a frame and what is true of them once decoded; in a process apart. Raises NotDecoded."""
    description = await description_of(services, row, number)
    async with room().taken(frame_bytes(row, number)):
        header = {"job": "decode", "description": description.to_json()}
        answer, pixels = await done(header, await stored_frame(services, row, number))
        return pixels, Description.from_json(answer["description"])


async def done(header: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    """What the process apart made of it. Raises NotDecoded."""
    try:
        answer, made = await POOL.do(header, content)
    except Failed as error:
        raise NotDecoded() from error
    if not answer["ok"]:
        raise NotDecoded()
    return answer, made


def stored_bytes(row: InstanceRow, number: int) -> int:
    """What is read for a frame, whatever its header says; of a deflated object, all that lies before it too."""
    place = frame_location(row, number)
    return place.stop if encoding(row.transfer_syntax).deflated else place.stop - place.start


def frame_bytes(row: InstanceRow, number: int) -> int:
    """What a frame takes read and decoded."""
    bits = max(8, row.bits_allocated or 8)
    decoded = (row.pixel_rows or 1) * (row.pixel_columns or 1) * (row.samples or 1) * bits // 8
    return stored_bytes(row, number) + decoded


async def encoded_frame(
    services: Services, row: InstanceRow, number: int, transfer_syntax: str
) -> tuple[bytes, Description]:
    """The frame in a compressed encoding and what is true of it then; in a process apart. Raises NotDecoded.

    The row must have been read with its metadata and this frame's place.
    """
    description = await description_of(services, row, number)
    if not may_hold(description, transfer_syntax):
        raise NotDecoded("The standard does not let this encoding hold such pixels.")
    header = {"job": "encode", "description": description.to_json(), "target": transfer_syntax}
    async with room().taken(frame_bytes(row, number)):
        answer, encoded = await done(header, await stored_frame(services, row, number))
    return encoded, Description.from_json(answer["description"])


async def description_of(
    services: Services, row: InstanceRow, number: int, *, drawn: bool = False, profile: bool = False
) -> Description:
    """What decoding the frame needs, or `drawn`, showing it; the row must have been read with its metadata."""
    metadata = row.metadata
    if (drawn and _TABLES.search(metadata)) or (profile and _PROFILE.search(metadata)):
        metadata = await with_tables(services, row)
    if len(metadata) > _LARGE:
        return await asyncio.to_thread(describe, metadata, row.transfer_syntax, number)
    return describe(metadata, row.transfer_syntax, number)


async def with_tables(services: Services, row: InstanceRow) -> bytes:
    """The metadata of an instance with the tables, overlays and profiles that are too large for those kept."""
    key = row.patient_id, row.sha256
    if (held := _TABLED.get(key)) is not None:
        return held
    address = address_of(services, row)
    metadata = await asyncio.to_thread(lambda: _with_tables(services, address))
    if len(metadata) <= _LARGE:
        _TABLED[key] = metadata
        while len(_TABLED) > _MOST_TABLED:
            _TABLED.popitem(last=False)
    return metadata


def _with_tables(services: Services, address: Address) -> bytes:
    """The header once more, with the look-up tables that are too large for the metadata."""
    header = read_header(services.objects.reader(address))
    return orjson.dumps(Converter(inline=_INLINE_TABLES).data_set(header.data))


async def _read(services: Services, row: InstanceRow, start: int, stop: int) -> bytes:
    """A range of the object; of a deflated one, of what it inflates to."""
    address = address_of(services, row)
    if not encoding(row.transfer_syntax).deflated:
        return await services.objects.read(address, start, stop)
    content = await services.objects.read(address)
    return (await asyncio.to_thread(inflated, content, stop))[start:stop]


def inflated(content: bytes, most: int = MAX_INFLATED) -> bytes:
    """A deflated object with its data set inflated, `most` bytes of it; offsets of the catalogue count these."""
    start = header_of(content).start
    wanted = min(max(1, most - start), MAX_INFLATED)
    return content[:start] + zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[start:], wanted)


async def _word(services: Services, row: InstanceRow) -> str:
    """The VR that tells how wide the words of big endian pixels are."""
    assert row.pixel_offset is not None
    if (row.bits_allocated or 8) > 8:
        return {16: "OW", 32: "OL", 64: "OV"}.get(row.bits_allocated or 8, "OB")
    head = await services.objects.read(address_of(services, row), row.pixel_offset - 8, row.pixel_offset)
    return "OW" if head[:2] == b"OW" else "OB"


def joined(items: bytes) -> bytes:
    """The pieces of a frame without their item headers (PS3.5, A.4)."""
    pieces = []
    at = 0
    while at + 8 <= len(items):
        size = int.from_bytes(items[at + 4 : at + 8], "little")
        pieces.append(items[at + 8 : at + 8 + size])
        at += 8 + size
    return b"".join(pieces)


def _aligned(content: bytes, shift: int, bits: int) -> bytes:
    """A frame of single bits that begins or ends within a byte, moved to the beginning of its first one."""
    value = int.from_bytes(content, "little") >> shift
    if bits:
        value &= (1 << bits) - 1
    return value.to_bytes(-(-(bits or len(content) * 8) // 8), "little")
