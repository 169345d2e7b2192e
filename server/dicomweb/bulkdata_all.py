"""WADO-RS: all the bulk data of a study, a series or an instance; all pixel data of a study or a series.

DICOM PS3.18, 10.4.1.1.5 and 10.4.1.1.6 (bulk data and pixel data resources), 10.4.3.3.5 (their payload: each value a
part, its Content-Location the URI that the metadata have). Compressed pixels come frame by frame, a film as its stream.
Nobody gets a part for the whole: where a value or a frame cannot be had, the answer is refused, or cut off.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Right
from server.core.errors import NotFound
from server.core.media import not_acceptable
from server.imaging import bulk
from server.imaging.catalogue import InstanceRow
from server.imaging.frames import NoFrame, NotDecoded, frame_as_stored, frame_location, native_frame
from server.imaging.subtraction import with_all_frames
from server.imaging.transfer_syntax import EXPLICIT, is_video, media_type, video_types

from . import multipart, trail
from .bulkdata import film, location_of
from .conditional import etag, last_modified, not_modified
from .multipart import OutPart
from .representations import OCTETS, wishes
from .streamed import streamed
from .urls import accept_of, root_of, services_of
from .wado import rows_of

_URI = re.compile(rb'"BulkDataURI":"[^"]*/bulkdata/([0-9A-F/]+)"')
_PIXELS = ("7FE00008", "7FE00009", "7FE00010")


async def retrieve_all(request: Request) -> Response:
    """`GET …/bulkdata` of a study, a series or an instance: each of the values as a part"""
    return await _all(request, pixels=False)


async def retrieve_all_pixels(request: Request) -> Response:
    """`GET …/pixeldata` of a study or a series: the pixels of each instance as a part"""
    return await _all(request, pixels=True)


async def _all(request: Request, *, pixels: bool) -> Response:
    rows = await rows_of(request, Right.IMAGES)
    if not any([True async for _ in _first(request, rows, pixels=pixels)]):
        raise NotFound("There are no bulk data in this.")
    if not any(wish.multipart and wish.covers(OCTETS) for wish in wishes(accept_of(request))):
        raise not_acceptable([f'multipart/related; type="{OCTETS}"'])
    await trail.viewed(request, rows[0].patient_id, rows[0].study_uid)
    tag = etag([row.sha256 for row in rows], "bulkdata", pixels)
    stored = rows[0].created_at if "instance" in request.path_params else None
    if (answer := not_modified(request, tag, stored)) is not None:
        return answer
    boundary = multipart.new_boundary()
    chunks = multipart.from_delimiter(_parts(request, rows, boundary, pixels=pixels))
    if request.method != "HEAD":  # what fails at once is told before the first byte
        chunks = _from(await anext(chunks), chunks)
    fields = {"ETag": tag, **(last_modified(stored) if stored else {})}
    return streamed(request, chunks, multipart.content_type(OCTETS, boundary), headers=fields)


async def _from(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _first(request: Request, rows: Sequence[InstanceRow], *, pixels: bool) -> AsyncIterator[None]:
    """One thing, where any of the instances has a value to send."""
    for row in rows:
        if row.pixel_offset is not None or await _paths(request, row, pixels=pixels):
            yield
            return


async def _paths(request: Request, row: InstanceRow, *, pixels: bool) -> list[str]:
    """Where the values lie that the metadata of an instance name."""
    whole = await with_all_frames(services_of(request), row)
    paths = [found.decode() for found in _URI.findall(whole.metadata)]
    return [path for path in paths if path in _PIXELS] if pixels else paths


async def _parts(
    request: Request, rows: Sequence[InstanceRow], boundary: str, *, pixels: bool
) -> AsyncIterator[bytes]:
    """The parts, each value found when its turn comes."""
    for row in rows:
        paths = await _paths(request, row, pixels=pixels)
        if not paths:
            continue
        async with bulk.opened(services_of(request), row) as held:
            for path in paths:
                async for chunk in _part(request, row, held, path, boundary):
                    yield chunk
    yield multipart.closing(boundary)


async def _part(
    request: Request, row: InstanceRow, held: bulk.Opened, path: str, boundary: str
) -> AsyncIterator[bytes]:
    value = held.find(path.split("/"))
    if value.encapsulated:
        async for chunk in _compressed(request, row, boundary):
            yield chunk
        return
    yield OutPart(OCTETS, value.size, b"", location_of(request, row, path)).head(boundary)
    async for chunk in value.chunks():
        yield chunk


async def _compressed(request: Request, row: InstanceRow, boundary: str) -> AsyncIterator[bytes]:
    """A film as it is held; frames of all else, decoded, or as they are stored where that cannot be.

    Raises NotDecoded when one of them cannot be told from the others.
    """
    if is_video(row.transfer_syntax):
        size, chunks = await film(services_of(request), row)
        kind = video_types(row.transfer_syntax)[0]
        yield OutPart(kind, size, b"", location_of(request, row, _PIXELS[-1])).head(boundary)
        async for chunk in chunks:
            yield chunk
        return
    whole = await with_all_frames(services_of(request), row)
    base = root_of(request).of_patient(row.patient_id, row.study_uid, row.series_uid, row.sop_uid)
    await asyncio.to_thread(_require_places, whole)
    for number in range(1, row.frame_count + 1):
        kind, content = await _frame(request, whole, number)
        yield OutPart(kind, len(content), b"", f"{base}/frames/{number}").head(boundary) + content


def _require_places(row: InstanceRow) -> None:
    """Raise NotDecoded unless each of the frames has a place, before the first of them goes."""
    try:
        for number in range(1, row.frame_count + 1):
            frame_location(row, number)
    except NoFrame as error:
        raise NotDecoded("A frame of these pixels is missing; retrieve the instance as a whole.") from error


async def _frame(request: Request, row: InstanceRow, number: int) -> tuple[str, bytes]:
    """Raises NoFrame, and NotDecoded for one that cannot be told from the others."""
    services = services_of(request)
    try:
        return f"{OCTETS}; transfer-syntax={EXPLICIT}", await native_frame(services, row, number)
    except NotDecoded:
        kind = f"{media_type(row.transfer_syntax)}; transfer-syntax={row.transfer_syntax}"
        return kind, await frame_as_stored(services, row, number)
