"""Presentation states, rendered: the images that a state is for, as it wants them.

DICOM PS3.18, 10.4.1.1.3 (rendered: presentation states are applied to the images that they reference), 8.3.5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from starlette.requests import Request

from server.access.action import Right
from server.core.errors import InvalidInput, NotAcceptable, NotFound
from server.imaging.catalogue import InstanceRow
from server.imaging.frames import NoFrame, has_frames, with_tables
from server.imaging.picture import Look
from server.imaging.presentation import (
    X_RAY,
    Reference,
    is_blending_state,
    is_presentation_state,
    references,
    state_of,
)
from server.storage.where import Where

from . import trail
from .conditional import etag
from .rendered_blends import Picture, blended_pictures, layers_again
from .rendered_params import RenderedQuery
from .urls import services_of
from .wado import rows_of

MOST = 2000  # frames of one state


async def pictures_of_state(
    request: Request, state: InstanceRow, query: RenderedQuery, look: Look, *, everything: bool
) -> list[Picture]:
    """The frames that the state is for, in its order: all, or the first that is held and in reach.

    Raises InvalidInput for a window beside a state, NoFrame when none of its images is held.
    """
    if query.window is not None or look.region is not None:
        raise InvalidInput("A presentation state says itself how it is windowed and what part is seen.")
    metadata = await with_tables(services_of(request), state)
    if is_blending_state(state.sop_class):
        return await blended_pictures(request, state, metadata, look, everything=everything)
    if state.sop_class == X_RAY and b'"00289422"' in metadata:
        raise NotAcceptable(
            "This state wants pixel values put into another relationship first, which is not made here."
        )
    wanted = references(metadata)[:MOST]
    rows = await _held(request, state, wanted)
    frames = (
        (row, number)
        for reference in wanted
        if (row := rows.get(reference.sop_uid)) is not None and row.series_uid == reference.series_uid
        for number in reference.frames or range(1, row.frame_count + 1)
        if 1 <= number <= row.frame_count
    )
    some = list(islice(frames, MOST if everything else 1))
    if not some:
        raise NoFrame("None of the images that this presentation state is for is held here.")
    kind = state.sop_class
    return [
        Picture(row, number, look, partial(state_of, metadata, kind, row.sop_uid, number))
        for row, number in some
    ]


async def whole(request: Request, picture: Picture) -> tuple[InstanceRow, int, Look]:
    """What drawing needs, made when the picture's turn comes: the header, the frame's place, the state, the layers.

    Raises NotFound when something of it is no longer in reach.
    """
    row, number, look, state = picture
    if not (row.metadata and row.table_first == number):
        of = (row.study_uid, row.series_uid, row.sop_uid)
        (row,) = await rows_of(request, Right.IMAGES, of=of, frames=(number, number), metadata=True)
    if state is not None:
        look = replace(look, state=await asyncio.to_thread(state))
    if look.blend is not None:
        look = replace(look, blend=await layers_again(request, look.blend))
    return row, number, look


async def _held(request: Request, state: InstanceRow, wanted: Sequence[Reference]) -> dict[str, InstanceRow]:
    """Of the images that are wanted, those of the state's study and patient that are held and in reach."""
    uids = [reference.sop_uid for reference in wanted]
    try:
        rows = await rows_of(
            request,
            Right.IMAGES,
            of=(state.study_uid, None, None),
            match=Where("instance.sop_uid = ANY(:images)", {"images": uids}),
        )
    except NotFound:
        return {}
    return {row.sop_uid: row for row in rows if has_frames(row) and row.patient_id == state.patient_id}


async def look_by_state(
    request: Request, study_uid: str, series_uid: str, state_uid: str, picture: Picture
) -> tuple[Picture, bytes]:
    """How the image looks by a state of its study, and the state's digest (PS3.18, 9.1.2.2.3: presentationUID).

    Raises NotFound when there is no such state in reach, InvalidInput when it is not for this image.
    """
    (state,) = await rows_of(request, Right.IMAGES, of=(study_uid, series_uid, state_uid), metadata=True)
    if not is_presentation_state(state.sop_class):
        raise InvalidInput("presentationUID does not name a presentation state.")
    row, number, look, _ = picture
    metadata = await with_tables(services_of(request), state)
    if is_blending_state(state.sop_class):
        found = await blended_pictures(request, state, metadata, look, everything=False, of=(row, number))
        if not found:
            raise InvalidInput("This presentation state lays nothing on this image.")
        return found[0], state.sha256
    if not any(each.sop_uid == row.sop_uid for each in references(metadata)):
        raise InvalidInput("This presentation state is not for this image.")
    later = partial(state_of, metadata, state.sop_class, row.sop_uid, number)
    return Picture(row, number, look, later), state.sha256


def tag_of(pictures: Sequence[Picture], *more: object) -> str:
    """The tag of pictures by one state, or by none: what is drawn, and how; `more` has the state's digest."""
    shown = replace(pictures[0].look, blend=None)
    drawn = [(row.sha256, number, look.blend and look.blend.facts) for row, number, look, _ in pictures]
    return etag(drawn, shown, *more)


async def seen(request: Request, pictures: Sequence[Picture]) -> None:
    """Tell the log of every study that is about to be shown, also of those whose images lie on others."""
    rows = [each.row for each in pictures]
    blended = [each.look.blend for each in pictures if each.look.blend]
    rows += [layer.row for blend in blended for layer in blend.layers.values()]
    for patient_id, study_uid in dict.fromkeys((row.patient_id, row.study_uid) for row in rows):
        await trail.viewed(request, patient_id, study_uid)
