"""WADO-RS: rendered images and thumbnails.

DICOM PS3.18, 10.4.1.1.3 (rendered), 10.4.1.1.5 (thumbnail), 8.3.5 (parameters), 8.7.4 (rendered media types). Of a
series or a study the picture is that of its middle image, or of each of them where parts are asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_READ, Right
from server.access.reach import Reach
from server.core.errors import Conflict, InvalidInput, NotAcceptable, NotFound
from server.core.media import not_acceptable
from server.imaging import catalogue, render
from server.imaging.catalogue import InstanceRow
from server.imaging.frames import NoFrame, has_frames
from server.imaging.presentation import is_presentation_state
from server.imaging.render import KEPT_SIDE, Look
from server.imaging.tracings import sign, tracing
from server.imaging.transfer_syntax import is_video
from server.imaging.waveform import is_waveform

from . import bulkdata, multipart, trail
from .conditional import content_answer, etag, last_modified, not_modified
from .kept import kept_of
from .metadata import TWICE
from .multipart import OutPart
from .rendered_blends import Picture
from .rendered_params import RenderedQuery, parse
from .rendered_reports import tracing_answer, words_answer
from .rendered_states import pictures_of_state, seen, tag_of, whole
from .representations import Wish, wishes
from .streamed import streamed
from .urls import accept_of, patient_of, root_of, services_of, uids_of
from .wado import rows_of
from .wado_frames import numbers_of

FORMATS = {"image/jpeg": "jpeg", "image/png": "png", "image/gif": "gif"}
MAX_MOVING = 300  # frames of a GIF
MAX_MOVING_PIXELS = 2**26  # of all of them together: four bytes of each are held at once
_DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104."


def chosen_format(accept: str | None) -> tuple[str, Wish]:
    """The media type of the picture and the wish it fulfils; raises NotAcceptable."""
    for wish in wishes(accept):
        for name in FORMATS:
            if wish.covers(name):
                return name, wish
    raise not_acceptable(list(FORMATS))


async def retrieve_rendered(request: Request) -> Response:
    """`GET …/rendered` of a study, series, instance, or of frames."""
    query = parse(request.query_params)
    frames = numbers_of(request) if "frames" in request.path_params else []
    # Of one image, everything that drawing needs comes with the first statement.
    one = "instance" in request.path_params and len(frames) <= 1
    place = (frames or [1])[0]
    held = await rows_of(request, Right.IMAGES, frames=(place, place) if one else None, metadata=one)
    if one and not has_frames(held[0]) and not frames:
        return await _not_an_image(request, held[0], query)
    rows = [row for row in held if has_frames(row)]
    if not rows:
        if frames:
            raise NoFrame("There are no images in this.")
        return await _not_an_image(request, await _first(request, held), query)
    name, wish = chosen_format(accept_of(request))
    look = look_of(query, FORMATS[name])
    pictures = _pictures(rows, frames, look, everything=wish.demands_parts, moving=name == "image/gif")
    return await _answer(request, pictures, name, wish)


async def _first(request: Request, held: Sequence[InstanceRow]) -> InstanceRow:
    """The object that stands for a series or study without images, with its metadata."""
    of = (held[0].study_uid, held[0].series_uid, held[0].sop_uid)
    rows = await rows_of(request, Right.IMAGES, of=of, metadata=True)
    return rows[0]


async def _not_an_image(request: Request, row: InstanceRow, query: RenderedQuery) -> Response:
    """What an instance without frames looks like: a film, a document, images by a presentation state, traces, words."""
    if value := _shown_as_held(row):
        return await bulkdata.value_answer(request, value)
    if is_waveform(row.metadata):
        return await tracing_answer(request, row, query)
    if not is_presentation_state(row.sop_class):
        return await words_answer(request, row)
    name, wish = chosen_format(accept_of(request))
    everything = wish.demands_parts or name == "image/gif"
    look = look_of(query, FORMATS[name])
    pictures = await pictures_of_state(request, row, query, look, everything=everything)
    return await _answer(request, pictures, name, wish, state=row.sha256)


async def _answer(
    request: Request, pictures: Sequence[Picture], name: str, wish: Wish, state: bytes = b""
) -> Response:
    """The pictures, each a part where parts are asked for."""
    row = pictures[0].row
    await seen(request, pictures)
    # Of one image a date can tell; by a state it depends on two objects.
    stored = row.created_at if len(pictures) == 1 and not state else None
    tag = tag_of(pictures, wish.demands_parts, state)
    if (answer := not_modified(request, tag, stored)) is not None:
        return answer
    if wish.demands_parts or (wish.multipart and len(pictures) > 1 and name != "image/gif"):
        return _parts(request, pictures, name, tag)
    if len(pictures) > 1 and name != "image/gif":  # one picture cannot be several (10.4.4)
        raise not_acceptable([f'multipart/related; type="{name}"', "image/gif"])
    image = await _still(request, pictures[0]) if len(pictures) == 1 else await _moving(request, pictures)
    return content_answer(request, image, name, tag, last_modified(stored) if stored else None)


def look_of(query: RenderedQuery, format: str) -> Look:
    """The parameters as the renderer takes them. Raises NotAcceptable for a profile in what holds none."""
    if query.iccprofile != "no" and format == "gif":
        raise NotAcceptable("A GIF holds no ICC profile; image/jpeg and image/png do.")
    look = Look(format=format, icc=query.iccprofile, annotation=tuple(sorted(query.annotation)))
    if query.viewport is not None:
        port = query.viewport
        whole = (port.left, port.top, port.region_width, port.region_height) == (0.0, 0.0, None, None)
        region = None if whole else (port.left, port.top, port.region_width, port.region_height)
        look = replace(look, width=port.width, height=port.height, region=region)
    if query.window is not None:
        function = query.window.function.upper().replace("-", "_")
        look = replace(look, center=query.window.center, window=query.window.width, function=function)
    return replace(look, quality=query.quality) if query.quality is not None else look


def _shown_as_held(row: InstanceRow) -> str | None:
    """Where the value lies that is itself what people look at: a film or a document (PS3.18, Table 8.7.4-1)."""
    if is_video(row.transfer_syntax):
        return bulkdata.PIXELS
    return bulkdata.DOCUMENT if row.sop_class.startswith(_DOCUMENTS) else None


def _pictures(
    rows: Sequence[InstanceRow], frames: Sequence[int], look: Look, *, everything: bool, moving: bool
) -> list[Picture]:
    """Which frames of which instances are to be seen."""
    if frames:
        if max(frames) > rows[0].frame_count:  # all of them are there, before the first byte goes
            raise NoFrame(f"This instance has {rows[0].frame_count} frames.")
        return [Picture(rows[0], number, look) for number in frames]
    every = (Picture(row, number, look) for row in rows for number in range(1, row.frame_count + 1))
    if everything:
        return list(every)
    if moving and sum(row.frame_count for row in rows) > 1:
        return list(islice(every, MAX_MOVING))
    return [Picture(rows[len(rows) // 2], 1, look)]


async def _still(request: Request, picture: Picture) -> bytes:
    return await render.rendered(services_of(request), *await whole(request, picture))


async def _moving(request: Request, pictures: Sequence[Picture]) -> bytes:
    """Raises InvalidInput for a picture that would take more memory than one answer may."""
    pixels = sum(_pixels(each.row, each.look) for each in pictures)
    if len(pictures) > MAX_MOVING or pixels > MAX_MOVING_PIXELS:
        raise InvalidInput(
            "This moving picture would be too large: ask for fewer frames, or a smaller viewport."
        )
    stills = [await _still(request, picture) for picture in pictures]
    (first, _, _) = await whole(request, pictures[0])
    return await render.moving(stills, first.metadata)


def _pixels(row: InstanceRow, look: Look) -> int:
    """The most pixels that a picture of this instance has."""
    if look.width is not None and look.height is not None:
        return look.width * look.height
    return (row.pixel_rows or 1) * (row.pixel_columns or 1)


def _parts(request: Request, pictures: Sequence[Picture], name: str, tag: str) -> Response:
    """One part a picture, each drawn when its turn comes."""
    boundary, root = multipart.new_boundary(), root_of(request)

    async def parts() -> AsyncIterator[bytes]:
        for picture in pictures:
            image = await _still(request, picture)
            row, number = picture.row, picture.number
            base = root.of_patient(row.patient_id, row.study_uid, row.series_uid, row.sop_uid)
            yield OutPart(name, len(image), image, f"{base}/frames/{number}/rendered").head(boundary) + image
        yield multipart.closing(boundary)

    chunks = multipart.from_delimiter(parts())
    return streamed(request, chunks, multipart.content_type(name, boundary), headers={"ETag": tag})


async def retrieve_thumbnail(request: Request) -> Response:
    """`GET …/thumbnail` of a study, series, instance, or of a frame: a small JPEG."""
    query = parse(request.query_params)
    if not any(wish.covers("image/jpeg") for wish in wishes(accept_of(request))):
        raise not_acceptable(["image/jpeg"])
    width, height = (
        (query.viewport.width, query.viewport.height) if query.viewport else (KEPT_SIDE, KEPT_SIDE)
    )
    if "instance" in request.path_params:
        return await _thumbnail_of_instance(request, width, height)
    services, (study, series, _) = services_of(request), uids_of(request)
    reach = await services.gate.reach_for(
        request, STUDY_READ, patient_id=patient_of(request), right=Right.IMAGES, lazily=True
    )
    if patient_of(request) is None:
        await _of_one_patient(request, study, reach)
    try:
        patient_id, image = await render.thumbnail(
            services, study, series, reach=reach, width=width, height=height
        )
    except NoFrame:
        held = await rows_of(request, Right.IMAGES)
        return await _sign(request, await _first(request, held), width, height)
    except NotFound:
        await services.gate.confirm(request)
        raise
    await trail.viewed(request, patient_id, study)
    tag = etag(image)
    return not_modified(request, tag) or content_answer(request, image, "image/jpeg", tag)


async def _of_one_patient(request: Request, study: str, reach: Reach) -> None:
    """Raise Conflict for a study that the caller sees under two patients (decision 8)."""
    page = await catalogue.find_studies(services_of(request).db, catalogue.these(study), reach=reach, limit=2)
    if len(page.rows) > 1:
        raise Conflict(TWICE)


async def _thumbnail_of_instance(request: Request, width: int, height: int) -> Response:
    """Small enough to be kept: lists of images are scrolled to and fro."""
    number = numbers_of(request)[0] if "frames" in request.path_params else 1
    (row,) = await rows_of(request, Right.IMAGES, frames=(number, number))
    if not has_frames(row) and "frames" not in request.path_params:
        return await _sign(request, await _first(request, [row]), width, height)
    await trail.viewed(request, row.patient_id, row.study_uid)
    look = render.thumbnail_look(width, height)
    tag = etag(row.sha256, number, look)
    if (answer := not_modified(request, tag, row.created_at)) is not None:
        return answer
    kept = kept_of(request)
    image = kept.get((row.patient_id, tag))
    if image is None:
        image = await _still(request, Picture(row, number, look))
        kept.put((row.patient_id, tag), image)
    return content_answer(request, image, "image/jpeg", tag, last_modified(row.created_at))


async def _sign(request: Request, row: InstanceRow, width: int, height: int) -> Response:
    """What stands for an object without frames in a list: its traces, the first image of a state, or a sign."""
    if is_presentation_state(row.sop_class):
        look = render.thumbnail_look(width, height)
        with suppress(NoFrame, NotAcceptable):  # its images may come later, or not be ones that can be drawn
            pictures = await pictures_of_state(request, row, RenderedQuery(), look, everything=False)
            await seen(request, pictures)
            tag = tag_of(pictures, row.sha256)
            shown = not_modified(request, tag)
            return shown or content_answer(request, await _still(request, pictures[0]), "image/jpeg", tag)
    await trail.viewed(request, row.patient_id, row.study_uid)
    tag = etag(row.sha256, "sign", width, height)
    stored = None if is_presentation_state(row.sop_class) else row.created_at
    if (answer := not_modified(request, tag, stored)) is not None:
        return answer
    services = services_of(request)
    try:
        if is_waveform(row.metadata):
            image = await tracing(services, row, "image/jpeg", width=width, height=height)
        else:
            image = await asyncio.to_thread(sign, _word(row), width, height)
    except (NoFrame, NotAcceptable):  # nothing that could be drawn
        image = await asyncio.to_thread(sign, _word(row), width, height)
    return content_answer(request, image, "image/jpeg", tag, last_modified(stored) if stored else None)


def _word(row: InstanceRow) -> str:
    if is_video(row.transfer_syntax):
        return "VIDEO"
    return "PDF" if row.sop_class == f"{_DOCUMENTS}1" else row.modality
