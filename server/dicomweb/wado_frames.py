"""WADO-RS: retrieve frames.

DICOM PS3.18, 10.4.1.1.6 (frames), 8.7.3.3 and 8.7.3.4 (their media types). A frame is read by its range inside of
the object, whatever the object's size; only what must be decoded needs the header too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Right
from server.core.errors import InvalidInput
from server.core.media import not_acceptable
from server.core.ranges import byte_range, range_headers
from server.imaging.catalogue import InstanceRow, address_of
from server.imaging.codec_encode import HTJ2K, J2K, JXL, LOSSLESS_SV1, LS
from server.imaging.frames import (
    NotDecoded,
    Place,
    as_it_lies,
    encoded_frame,
    frame_as_stored,
    frame_location,
    is_encapsulated,
    native_frame,
)
from server.imaging.transcode import COMPRESSED, can_make
from server.imaging.transfer_syntax import EXPLICIT, RLE, media_type

from . import multipart, trail
from .conditional import (
    CACHING,
    content_answer,
    etag,
    last_modified,
    not_modified,
)
from .multipart import OutPart
from .representations import AS_STORED, OCTETS, Wish, wishes
from .streamed import streamed
from .urls import accept_of, root_of, services_of
from .wado import SMALL, rows_of

MAX_FRAMES = 10_000  # of one request

# What a media type means where no transfer syntax is named (PS3.18, Table 8.7.3-5).
_DEFAULTS = {
    "image/jpeg": LOSSLESS_SV1,
    "image/dicom-rle": RLE,
    "image/jls": LS,
    "image/jp2": J2K,
    "image/jphc": HTJ2K,
    "image/jxl": JXL,
}

Content = bytes | Place


@dataclass(frozen=True)
class Encoded:
    """How the frames go out."""

    media_type: str  # of each part, with its transfer syntax
    decoded: bool
    multipart: bool
    target: str | None = None  # the compressed transfer syntax that it is put into


def numbers_of(request: Request) -> list[int]:
    """The frame numbers of the address, from 1; raises InvalidInput."""
    texts = request.path_params["frames"].split(",")
    if len(texts) > MAX_FRAMES or not all(
        text.isascii() and text.isdigit() and len(text) < 10 for text in texts
    ):
        raise InvalidInput(f"Frames are whole numbers from 1 with commas between, {MAX_FRAMES} at most.")
    numbers = [int(text) for text in texts]
    if min(numbers) < 1:
        raise InvalidInput("Frames are numbered from 1.")
    return numbers


async def retrieve_frames(request: Request) -> Response:
    """`GET …/frames/{list}`"""
    return await frames_answer(request, numbers_of(request))


async def frames_answer(request: Request, numbers: Sequence[int]) -> Response:
    """These frames of the instance that the address names, as they are wanted."""
    around = (min(numbers), max(numbers))
    (row,) = await rows_of(request, Right.IMAGES, frames=around)
    for number in numbers:
        frame_location(row, number)  # all of them are there, before the first byte goes
    await trail.viewed(request, row.patient_id, row.study_uid)
    candidates = [each for wish in wishes(accept_of(request)) if (each := _encoded(wish, row, len(numbers)))]
    if not candidates:
        raise not_acceptable(_offers(row, len(numbers)))
    tag = etag(row.sha256, numbers, candidates)
    if (answer := not_modified(request, tag, row.created_at)) is not None:
        return answer
    if any(each.target or (each.decoded and is_encapsulated(row)) for each in candidates):
        (row,) = await rows_of(request, Right.IMAGES, frames=around, metadata=True)
    how, first = await _first(request, row, numbers[0], candidates)
    if not how.multipart:
        return _single(request, row, how, first, tag)
    return _parts(request, row, numbers, how, first, tag)


def _encoded(wish: Wish, row: InstanceRow, count: int) -> Encoded | None:
    """What this wish means for the row; None when it cannot be fulfilled."""
    if count > 1 and not wish.multipart:
        return None
    stored = media_type(row.transfer_syntax)
    label = _as_stored(row)
    if wish.transfer_syntax == AS_STORED:
        # Viewers ask for octets "as stored" and mean the stored encoding, whatever its type is.
        fits = wish.covers(stored) or wish.covers(OCTETS)
        return Encoded(label, False, wish.multipart) if fits else None
    if wish.transfer_syntax == row.transfer_syntax and wish.covers(stored):
        return Encoded(label, False, wish.multipart)
    if wish.covers(OCTETS) and wish.transfer_syntax in (None, EXPLICIT):
        return Encoded(f"{OCTETS}; transfer-syntax={EXPLICIT}", True, wish.multipart)
    if wish.covers(stored) and wish.transfer_syntax is None:
        return Encoded(label, False, wish.multipart)
    return _made(wish, row)


def _made(wish: Wish, row: InstanceRow) -> Encoded | None:
    """The frame put into another encoding: that which is named, or which its media type means."""
    named = [wish.transfer_syntax] if wish.transfer_syntax else [*_DEFAULTS.values()]
    for target in named:
        if target in COMPRESSED and wish.covers(media_type(target)) and can_make(row, target):
            return Encoded(f"{media_type(target)}; transfer-syntax={target}", False, wish.multipart, target)
    return None


def _as_stored(row: InstanceRow) -> str:
    """The media type of a stored frame; uncompressed ones go out in little endian, whatever the object is in."""
    syntax = row.transfer_syntax if is_encapsulated(row) else EXPLICIT
    return f"{media_type(row.transfer_syntax)}; transfer-syntax={syntax}"


def _offers(row: InstanceRow, count: int) -> list[str]:
    made = (media_type(target) for target in _DEFAULTS.values() if can_make(row, target))
    types = dict.fromkeys((OCTETS, media_type(row.transfer_syntax), *made))
    parts = [f'multipart/related; type="{name}"' for name in types]
    return parts if count > 1 else [*parts, *types]


async def _first(
    request: Request, row: InstanceRow, number: int, candidates: Sequence[Encoded]
) -> tuple[Encoded, Content]:
    """The first frame, in the most wanted way that works."""
    for how in candidates:
        with suppress(NotDecoded):
            return how, await _content(request, row, number, how)
    if candidates[0].decoded:  # decision 15: as stored, and truly labelled
        how = Encoded(_as_stored(row), False, candidates[0].multipart)
        return how, await _content(request, row, number, how)
    raise NotDecoded()


async def _content(request: Request, row: InstanceRow, number: int, how: Encoded) -> Content:
    """The frame; of a large one that is sent as it lies, its place only."""
    if how.target is not None:
        return (await encoded_frame(services_of(request), row, number, how.target))[0]
    if not how.decoded or not is_encapsulated(row):
        place = as_it_lies(row, number)
        if place is not None and place.stop - place.start > SMALL:
            return place
    read = native_frame if how.decoded else frame_as_stored
    return await read(services_of(request), row, number)


def _size(content: Content) -> int:
    return content.stop - content.start if isinstance(content, Place) else len(content)


async def _sent(
    request: Request, row: InstanceRow, content: Content, start: int, stop: int
) -> AsyncIterator[bytes]:
    """The bytes from `start` to `stop` of a frame."""
    if isinstance(content, Place):
        services = services_of(request)
        first = content.start
        async for chunk in services.objects.stream(address_of(services, row), first + start, first + stop):
            yield chunk
    else:
        yield content[start:stop]


def _single(request: Request, row: InstanceRow, how: Encoded, content: Content, tag: str) -> Response:
    """One frame without multipart; a stretch of it by Range."""
    dated = last_modified(row.created_at)
    if not isinstance(content, Place):
        return content_answer(request, content, how.media_type, tag, dated)
    size = _size(content)
    part = byte_range(request, size, tag)
    start, stop = part or (0, size)
    status = 200 if part is None else 206
    headers = {"ETag": tag, **dated, **range_headers(part, size)}
    chunks = _sent(request, row, content, start, stop)
    return streamed(request, chunks, how.media_type, size=stop - start, status=status, headers=headers)


def _parts(
    request: Request, row: InstanceRow, numbers: Sequence[int], how: Encoded, first: Content, tag: str
) -> Response:
    """multipart/related; of several frames, each is read when its turn comes."""
    boundary = multipart.new_boundary()
    content_type = multipart.content_type(how.media_type, boundary)
    base = root_of(request).of_patient(row.patient_id, row.study_uid, row.series_uid, row.sop_uid)
    fields = {"ETag": tag, **last_modified(row.created_at)}

    def head(number: int, content: Content) -> bytes:
        size = _size(content)
        return OutPart(how.media_type, size, b"", f"{base}/frames/{number}").head(boundary)

    if len(numbers) == 1 and isinstance(first, bytes):
        body = head(numbers[0], first) + first + multipart.closing(boundary)
        return Response(body, headers={**CACHING, **fields, "Content-Type": content_type})

    async def parts() -> AsyncIterator[bytes]:
        for index, number in enumerate(numbers):
            content = first if index == 0 else await _content(request, row, number, how)
            if isinstance(content, bytes):
                yield head(number, content) + content
                continue
            yield head(number, content)
            async for chunk in _sent(request, row, content, 0, _size(content)):
                yield chunk
        yield multipart.closing(boundary)

    return streamed(request, parts(), content_type, headers=fields)
