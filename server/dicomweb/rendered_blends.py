"""Blending presentation states, rendered: sets of images, perhaps of several studies, laid over each other.

DICOM PS3.18, 10.4.1.1.3; PS3.3, A.33.4 and A.33.7. Each set is asked for by the caller's own reach: when one of them
has nothing in it, there is no picture, as if it were not held.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import chain

from starlette.requests import Request

from server.access.action import Right
from server.core.errors import NotFound
from server.imaging.blending import Input, NotBlended, Plan, plan_of
from server.imaging.catalogue import InstanceRow
from server.imaging.description import model_of
from server.imaging.frames import NoFrame, has_frames
from server.imaging.picture import Look
from server.imaging.placing import MOST, Frame, blends, frames_in
from server.imaging.presentation import state_of
from server.storage.where import TRUE, Where

from .urls import is_identifier
from .wado import rows_of

Picture = tuple[InstanceRow, int, Look]

_MISSING = "None of the images that this presentation state is for is held here."
_TOO_MANY = f"This blending state is for more than {MOST} images."


async def blended_pictures(
    request: Request,
    state: InstanceRow,
    metadata: bytes,
    look: Look,
    *,
    everything: bool,
    of: Frame | None = None,
) -> list[Picture]:
    """The frames of the base with what lies on them: all, or the first on which something of every set lies; or `of`.

    Raises NoFrame when a set has no image in reach, NotBlended for what is not made here.
    """
    plan = await asyncio.to_thread(lambda: plan_of(model_of(metadata), state.sop_class))
    sets: dict[int, list[Frame]] = {}
    for wanted in plan.inputs:
        rows = await _held(request, state, wanted)
        sets[wanted.number] = await asyncio.to_thread(frames_in, wanted, rows)
        if not sets[wanted.number]:
            raise NoFrame(_MISSING)
    return await asyncio.to_thread(_pictures, state, metadata, plan, sets, look, everything, of)


def _pictures(
    state: InstanceRow,
    metadata: bytes,
    plan: Plan,
    sets: dict[int, list[Frame]],
    look: Look,
    everything: bool,
    of: Frame | None,
) -> list[Picture]:
    found = blends(plan, sets)
    if of is not None:
        wanted = (of[0].sop_uid, of[1])
        chosen = [each for each in found if (each[0].sop_uid, each[1]) == wanted]
    elif everything:
        chosen = list(found)
    else:
        first = next(found)
        whole = (each for each in chain([first], found) if len(each[2].layers) == len(plan.inputs) - 1)
        chosen = [next(whole, first)]
    return [
        (
            replace(row, metadata=b""),
            number,
            replace(look, blend=blend, state=state_of(metadata, state.sop_class, row.sop_uid, number)),
        )
        for row, number, blend in chosen
    ]


async def _held(request: Request, state: InstanceRow, wanted: Input) -> dict[str, InstanceRow]:
    """Of a set, what the state's patient holds of it and is in reach."""
    uids = [each.sop_uid for each in wanted.images]
    if len(uids) > MOST:
        raise NotBlended(_TOO_MANY)
    match = Where("study.patient_id = :patient", {"patient": state.patient_id})
    match &= Where("instance.sop_uid = ANY(:images)", {"images": uids}) if uids else TRUE
    if not is_identifier(wanted.study_uid) or not (uids or is_identifier(wanted.series_uid or "")):
        return {}
    try:
        rows = await rows_of(
            request,
            Right.IMAGES,
            of=(wanted.study_uid, None if uids else wanted.series_uid, None),
            metadata=True,
            match=match,
            limit=MOST + 1,
        )
    except NotFound:
        return {}
    if len(rows) > MOST:
        raise NotBlended(_TOO_MANY)
    return {row.sop_uid: row for row in rows if has_frames(row)}
