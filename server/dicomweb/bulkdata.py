"""WADO-RS: bulk data, the values that metadata name by a URI.

DICOM PS3.18, 10.4.1.1.4 (bulk data) and 8.7.3.5. A value is sent from its place inside of the object, by range.
Pixel data that are compressed go out frame by frame, a video as the one stream it is.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import orjson
from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Right
from server.access.services import Services
from server.core.errors import NotFound
from server.core.media import not_acceptable
from server.core.ranges import byte_range, range_headers
from server.imaging import bulk
from server.imaging.catalogue import InstanceRow, address_of
from server.imaging.dicom_json import ROOT
from server.imaging.header import read_header
from server.imaging.transfer_syntax import is_video, video_types

from . import multipart, trail
from .conditional import etag, last_modified, not_modified
from .multipart import OutPart
from .representations import OCTETS, Wish, wishes
from .streamed import streamed
from .urls import accept_of, root_of, services_of
from .wado import rows_of
from .wado_frames import frames_answer

_PATH = re.compile(r"[0-9A-F]{8}(?:/[1-9]\d{0,7}/[0-9A-F]{8})*")
PIXELS = "7FE00010"
DOCUMENT, _DOCUMENT_TYPE = "00420011", "00420012"
# What a document may be announced as: nothing that a browser would run in the name of this server.
_DOCUMENT_TYPES = ("application/pdf", "text/xml", "model/stl", "model/obj", "model/mtl")


async def retrieve_bulkdata(request: Request) -> Response:
    """`GET …/bulkdata/{tag}[/{item}/{tag}…]`, as metadata name it"""
    path = request.path_params["path"].upper()
    if not _PATH.fullmatch(path):
        raise NotFound()
    return await value_answer(request, path)


async def retrieve_pixeldata(request: Request) -> Response:
    """`GET …/pixeldata`"""
    return await value_answer(request, PIXELS)


async def value_answer(request: Request, path: str) -> Response:
    """The value at this path of the instance that the address names, in parts only where that is demanded."""
    (row,) = await rows_of(request, Right.IMAGES, metadata=True)
    value = await bulk.find(services_of(request), row, path.split("/"))
    if value.encapsulated and not is_video(row.transfer_syntax):
        return await frames_answer(request, list(range(1, row.frame_count + 1)))
    if value.encapsulated:
        return await _video(request, row)
    if not value.size:
        raise NotFound("This instance has no bulk data there.")
    await trail.viewed(request, row.patient_id, row.study_uid)
    kind = _media_type(row, path)
    wish = _wish(accept_of(request), kind)
    kind = kind if wish.covers(kind) else OCTETS
    tag = etag(row.sha256, path, kind, wish.demands_parts)
    if (answer := not_modified(request, tag, row.created_at)) is not None:
        return answer
    fields = {"ETag": tag, **last_modified(row.created_at)}
    if wish.demands_parts:
        boundary = multipart.new_boundary()
        parts = [OutPart(kind, value.size, value.chunks(), location_of(request, row, path))]
        size = multipart.total_size(parts, boundary)
        chunks = multipart.write_parts(parts, boundary)
        return streamed(request, chunks, multipart.content_type(kind, boundary), size=size, headers=fields)
    part = byte_range(request, value.size, tag)
    start, stop = part or (0, value.size)
    headers = {**fields, **range_headers(part, value.size)}
    status = 200 if part is None else 206
    return streamed(
        request, value.chunks(start, stop), kind, size=stop - start, status=status, headers=headers
    )


async def film(
    services: Services, row: InstanceRow, part: tuple[int, int] | None = None
) -> tuple[int, AsyncIterator[bytes]]:
    """How long the stream of a film is, and its bytes, or a stretch of them."""
    address = address_of(services, row)
    fragments = (await asyncio.to_thread(lambda: read_header(services.objects.reader(address)))).fragments
    assert fragments is not None  # it is encapsulated
    pieces = list(zip(fragments.starts, fragments.lengths, strict=True))
    size = sum(length for _, length in pieces)

    async def chunks() -> AsyncIterator[bytes]:
        start, stop = part or (0, size)
        before = 0  # bytes of the film that lie in the pieces before
        for at, length in pieces:
            first, last = max(start - before, 0), min(stop - before, length)
            before += length
            if first < last:
                async for chunk in services.objects.stream(address, at + first, at + last):
                    yield chunk

    return size, chunks()


async def _video(request: Request, row: InstanceRow) -> Response:
    """The stream as it is held (PS3.18, 8.7.3.3.3); by ranges, as players ask for it."""
    services, types = services_of(request), video_types(row.transfer_syntax)
    size, whole = await film(services, row)
    await trail.viewed(request, row.patient_id, row.study_uid)
    wish = _wish(accept_of(request), *types)
    kind = next((each for each in types if wish.covers(each)), types[0])
    tag = etag(row.sha256, "video", kind, wish.demands_parts)
    if (answer := not_modified(request, tag, row.created_at)) is not None:
        return answer
    fields = {"ETag": tag, **last_modified(row.created_at)}
    if wish.demands_parts:
        boundary = multipart.new_boundary()
        parts = [OutPart(kind, size, whole, location_of(request, row, PIXELS))]
        return streamed(
            request,
            multipart.write_parts(parts, boundary),
            multipart.content_type(kind, boundary),
            size=multipart.total_size(parts, boundary),
            headers=fields,
        )
    part = byte_range(request, size, tag)
    headers = {**fields, **range_headers(part, size)}
    if part is None:
        return streamed(request, whole, kind, size=size, headers=headers)
    _, stretch = await film(services, row, part)
    return streamed(request, stretch, kind, size=part[1] - part[0], status=206, headers=headers)


def _wish(accept: str | None, *kinds: str) -> Wish:
    types = dict.fromkeys((*kinds, OCTETS))
    for wish in wishes(accept):
        if any(map(wish.covers, types)):
            return wish
    raise not_acceptable([*(f'multipart/related; type="{name}"' for name in types), *types])


def _media_type(row: InstanceRow, path: str) -> str:
    """What the object says its encapsulated document is; octets else."""
    if path != DOCUMENT:
        return OCTETS
    model = orjson.loads(row.metadata.replace(ROOT, b""))
    said = str((model.get(_DOCUMENT_TYPE, {}).get("Value") or [""])[0]).lower()
    return said if said in _DOCUMENT_TYPES else OCTETS


def location_of(request: Request, row: InstanceRow, path: str) -> str:
    """The URI by which metadata name the value."""
    base = root_of(request).of_patient(row.patient_id, row.study_uid, row.series_uid, row.sop_uid)
    return f"{base}/bulkdata/{path}"
