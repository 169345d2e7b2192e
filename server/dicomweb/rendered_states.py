"""Presentation states, rendered: the images that a state is for, as it wants them.

DICOM PS3.18, 10.4.1.1.3 (rendered: presentation states are applied to the images that they reference), 8.3.5.
"""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request

from server.access.action import Right
from server.core.errors import InvalidInput, NotFound
from server.imaging.catalogue import InstanceRow
from server.imaging.frames import NoFrame, has_frames, with_tables
from server.imaging.picture import Look
from server.imaging.presentation import is_presentation_state, references, state_of

from .rendered_params import RenderedQuery
from .urls import services_of
from .wado import rows_of

MOST = 2000  # frames of one state

Picture = tuple[InstanceRow, int, Look]


async def pictures_of_state(
    request: Request, state: InstanceRow, query: RenderedQuery, look: Look, *, everything: bool
) -> list[Picture]:
    """The frames that the state is for, in its order: all, or the first that is held and in reach.

    Raises InvalidInput for a window beside a state, NoFrame when none of its images is held.
    """
    if query.window is not None or look.region is not None:
        raise InvalidInput("A presentation state says itself how it is windowed and what part is seen.")
    metadata = await with_tables(services_of(request), state)
    found: list[Picture] = []
    for reference in references(metadata):
        of = (state.study_uid, reference.series_uid, reference.sop_uid)
        try:
            (row,) = await rows_of(request, Right.IMAGES, of=of)
        except NotFound:
            continue  # not sent to us yet, or deleted
        if not has_frames(row) or row.patient_id != state.patient_id:
            continue
        for number in reference.frames or range(1, row.frame_count + 1):
            if 1 <= number <= row.frame_count and len(found) < MOST:
                seen = state_of(metadata, state.sop_class, row.sop_uid, number)
                found.append((row, number, replace(look, state=seen)))
                if not everything:
                    return found
    if not found:
        raise NoFrame("None of the images that this presentation state is for is held here.")
    return found


async def look_by_state(
    request: Request, study_uid: str, series_uid: str, state_uid: str, picture: Picture
) -> tuple[Look, bytes]:
    """How the image looks by a state of its study, and the digest of the state (PS3.18, 9.1.2.2.3: presentationUID).

    Raises NotFound when there is no such state in reach, InvalidInput when it is not for this image.
    """
    (state,) = await rows_of(request, Right.IMAGES, of=(study_uid, series_uid, state_uid), metadata=True)
    if not is_presentation_state(state.sop_class):
        raise InvalidInput("presentationUID does not name a presentation state.")
    row, number, look = picture
    metadata = await with_tables(services_of(request), state)
    if not any(each.sop_uid == row.sop_uid for each in references(metadata)):
        raise InvalidInput("This presentation state is not for this image.")
    return replace(look, state=state_of(metadata, state.sop_class, row.sop_uid, number)), state.sha256
