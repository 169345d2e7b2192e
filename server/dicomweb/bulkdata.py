"""WADO-RS: bulk data, the values that metadata name by a URI.

DICOM PS3.18, 10.4.1.1.4 (bulk data) and 8.7.3.5. A value is sent from its place inside of the object, by range;
what it takes to find it is the header. Pixel data that are compressed go out frame by frame.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Right
from server.core.errors import NotFound
from server.core.media import not_acceptable
from server.imaging.catalogue import InstanceRow, address_of
from server.imaging.dicom_json import little
from server.imaging.elements import DataSet, Element
from server.imaging.frames import has_frames, inflated, is_encapsulated
from server.imaging.header import Header, read_header
from server.imaging.transfer_syntax import encoding, is_video, media_type

from . import multipart, trail
from .conditional import byte_range, etag, not_modified, range_headers
from .multipart import OutPart
from .representations import OCTETS, Wish, wishes
from .streamed import streamed
from .urls import accept_of, root_of, services_of
from .wado import rows_of
from .wado_frames import frames_answer

_PATH = re.compile(r"[0-9A-Fa-f]{8}(?:/[1-9]\d{0,5}/[0-9A-Fa-f]{8}){0,16}")
_PIXELS = ("7FE00010", "7FE00008", "7FE00009")
_URI = re.compile(rb'"BulkDataURI":"[^"]*/bulkdata/([0-9A-F/]+)"')
_SWAPPED = 1 << 16  # bytes of a big endian value that are turned at a time: whole words of any size
_DOCUMENT, _DOCUMENT_TYPE = 0x00420011, 0x00420012


@dataclass(frozen=True)
class Value:
    """Where a value lies and what it is."""

    path: str
    media_type: str
    size: int
    pieces: tuple[tuple[int, int], ...]  # from, to; several only of a stream in fragments
    vr: str
    big: bool


async def retrieve_bulkdata(request: Request) -> Response:
    """`GET …/bulkdata/{tag}[/{item}/{tag}…]`, as metadata name it"""
    path = request.path_params["path"].upper()
    if not _PATH.fullmatch(path):
        raise NotFound()
    return await _answer(request, path)


async def retrieve_pixeldata(request: Request) -> Response:
    """`GET …/pixeldata`"""
    return await _answer(request, _PIXELS[0])


async def retrieve_all(request: Request) -> Response:
    """`GET …/bulkdata` of an instance: each of its values as a part; of compressed pixels, what is stored."""
    (row,) = await rows_of(request, Right.IMAGES, metadata=True)
    paths = [found.decode() for found in _URI.findall(row.metadata)]
    header = await _header(request, row)
    values = [value for path in paths if (value := _located(header, row, path)) is not None]
    if not values:
        raise NotFound("This instance has no bulk data.")
    if not any(wish.multipart and wish.covers(OCTETS) for wish in wishes(accept_of(request))):
        raise not_acceptable([f'multipart/related; type="{OCTETS}"'])
    await trail.viewed(request, row.patient_id, row.study_uid)
    return _parts(request, row, values, etag(row.sha256, "bulkdata"))


async def _answer(request: Request, path: str) -> Response:
    (row,) = await rows_of(request, Right.IMAGES)
    if path in _PIXELS and is_encapsulated(row) and has_frames(row):
        return await frames_answer(request, list(range(1, row.frame_count + 1)))
    value = await _found(request, row, path)
    await trail.viewed(request, row.patient_id, row.study_uid)
    wish = _wish(accept_of(request), value)
    if not wish.covers(value.media_type):
        value = replace(value, media_type=OCTETS)
    tag = etag(row.sha256, path, wish.multipart)
    if (answer := not_modified(request, tag)) is not None:
        return answer
    if wish.multipart:
        return _parts(request, row, [value], tag)
    part = byte_range(request, value.size, tag) if len(value.pieces) == 1 and not value.big else None
    start, stop = part or (0, value.size)
    headers = {"ETag": tag, **range_headers(part, value.size)}
    chunks = _chunks(request, row, value, start, stop)
    status = 200 if part is None else 206
    return streamed(request, chunks, value.media_type, size=stop - start, status=status, headers=headers)


def _wish(accept: str | None, value: Value) -> Wish:
    for wish in wishes(accept):
        if wish.covers(value.media_type) or wish.covers(OCTETS):
            return wish
    types = dict.fromkeys((value.media_type, OCTETS))
    raise not_acceptable([*(f'multipart/related; type="{name}"' for name in types), *types])


async def _found(request: Request, row: InstanceRow, path: str) -> Value:
    """The value at the path; raises NotFound for an attribute that is absent or empty."""
    if path == _PIXELS[0] and row.pixel_offset is not None and row.pixel_length:
        big = encoding(row.transfer_syntax).big and (row.bits_allocated or 8) > 8
        end = row.pixel_offset + row.pixel_length
        return Value(path, OCTETS, row.pixel_length, ((row.pixel_offset, end),), "OW", big)
    value = _located(await _header(request, row), row, path)
    if value is None:
        raise NotFound("This instance has no bulk data there.")
    return value


async def _header(request: Request, row: InstanceRow) -> Header:
    services = services_of(request)
    address = address_of(services, row)
    return await asyncio.to_thread(lambda: read_header(services.objects.reader(address)))


def _located(header: Header, row: InstanceRow, path: str) -> Value | None:
    if path in _PIXELS and header.fragments is not None:
        ends = zip(header.fragments.starts, header.fragments.lengths, strict=True)
        pieces = tuple((start, start + length) for start, length in ends)
        kind = media_type(row.transfer_syntax) if is_video(row.transfer_syntax) else OCTETS
        return Value(path, kind, sum(end - start for start, end in pieces), pieces, "OB", False)
    element = _element(header.data, path.split("/"))
    if element is None or not element.length or element.items is not None:
        return None
    stop = min(element.offset + element.length, header.size)
    kind = _document_type(header.data) if element.tag == _DOCUMENT else OCTETS
    return Value(path, kind, stop - element.offset, ((element.offset, stop),), element.vr, header.data.big)


def _element(data: DataSet, steps: Sequence[str]) -> Element | None:
    element = data.get(int(steps[0], 16))
    if len(steps) == 1 or element is None:
        return element
    items = element.items or []
    number = int(steps[1])
    return _element(items[number - 1], steps[2:]) if number <= len(items) else None


def _document_type(data: DataSet) -> str:
    """What the object says an encapsulated document is, where that is a plain media type of a document."""
    element = data.get(_DOCUMENT_TYPE)
    said = element.value.decode("latin-1").strip(" \0").lower() if element and element.value else ""
    return said if said in ("application/pdf", "text/xml", "model/stl", "model/obj", "model/mtl") else OCTETS


def _parts(request: Request, row: InstanceRow, values: Sequence[Value], tag: str) -> Response:
    boundary = multipart.new_boundary()
    base = root_of(request).of_patient(row.patient_id, row.study_uid, row.series_uid, row.sop_uid)
    parts = [
        OutPart(value.media_type, value.size, _chunks(request, row, value), f"{base}/bulkdata/{value.path}")
        for value in values
    ]
    return streamed(
        request,
        multipart.write_parts(parts, boundary),
        multipart.content_type(values[0].media_type, boundary),
        size=multipart.total_size(parts, boundary),
        headers={"ETag": tag},
    )


async def _chunks(
    request: Request, row: InstanceRow, value: Value, start: int = 0, stop: int | None = None
) -> AsyncIterator[bytes]:
    """The bytes of the value, or start..stop of a value that is one piece; words in little endian."""
    services, address = services_of(request), address_of(services_of(request), row)
    if encoding(row.transfer_syntax).deflated:
        whole = await asyncio.to_thread(inflated, await services.objects.read(address))
        for begin, end in value.pieces:
            yield little(whole[begin:end], value.vr, value.big)[start:stop]
        return
    for begin, end in value.pieces:
        last = end if stop is None else begin + stop
        if not value.big:
            async for chunk in services.objects.stream(address, begin + start, last):
                yield chunk
            continue
        for at in range(begin, end, _SWAPPED):
            yield little(await services.objects.read(address, at, min(at + _SWAPPED, end)), value.vr, True)
