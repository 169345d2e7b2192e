"""Blending presentation states, rendered: sets of images, perhaps of several studies, laid over each other.

DICOM PS3.18, 10.4.1.1.3; PS3.3, A.33.4 and A.33.7. Each set is asked for by the caller's own reach: when one of them
has nothing in it, there is no picture, as if it were not held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import NamedTuple

from starlette.requests import Request

from server.access.action import Right
from server.core.errors import NotFound
from server.imaging.blending import Blend, Input, NotBlended, Plan, plan_of
from server.imaging.catalogue import InstanceRow
from server.imaging.description import model_of
from server.imaging.frames import NoFrame, has_frames
from server.imaging.lying import lying_of_these
from server.imaging.picture import Look
from server.imaging.placing import MOST, Frame, Lying, all_candidates, blends, frames_in
from server.imaging.presentation import State, state_of
from server.storage.where import TRUE, Where

from .urls import is_identifier, services_of
from .wado import rows_of


class Picture(NamedTuple):
    """A frame that is to be drawn. What a state says of it is made when its turn comes: it may be many megabytes."""

    row: InstanceRow
    number: int
    look: Look
    state: Callable[[], State] | None = None


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
    held: dict[int, dict[str, InstanceRow]] = {}
    for wanted in plan.inputs:
        held[wanted.number] = await _held(request, state, wanted)
        if not held[wanted.number]:
            raise NoFrame(_MISSING)
    numbers = await asyncio.to_thread(all_candidates, plan, held)
    lying = await lying_of_these(services_of(request), state.patient_id, numbers)
    found = await asyncio.to_thread(_found, plan, held, lying, everything, of)
    kind = state.sop_class
    return [
        Picture(
            row, number, replace(look, blend=blend), partial(state_of, metadata, kind, row.sop_uid, number)
        )
        for row, number, blend in found
    ]


def _found(
    plan: Plan,
    held: dict[int, dict[str, InstanceRow]],
    lying: dict[str, Lying],
    everything: bool,
    of: Frame | None,
) -> list[tuple[InstanceRow, int, Blend]]:
    sets = {each.number: frames_in(each, held[each.number], lying) for each in plan.inputs}
    if not all(sets.values()):
        raise NoFrame(_MISSING)
    found = blends(plan, sets, lying)
    if of is not None:
        wanted = (of[0].sop_uid, of[1])
        return [each for each in found if (each[0].sop_uid, each[1]) == wanted]
    if everything:
        return list(found)
    first = next(found)
    every = (each for each in chain([first], found) if len(each[2].layers) == len(plan.inputs) - 1)
    return [next(every, first)]


async def layers_again(request: Request, blend: Blend) -> Blend:
    """The blend with its layers asked for by the caller's reach of this moment, each with its header and place.

    Raises NotFound when one of them is no longer in reach.
    """
    layers = {}
    for name, layer in blend.layers.items():
        row, number = layer.row, layer.frame
        (now,) = await rows_of(
            request,
            Right.IMAGES,
            of=(row.study_uid, row.series_uid, row.sop_uid),
            frames=(number, number),
            metadata=True,
            match=Where("study.patient_id = :patient", {"patient": row.patient_id}),
        )
        layers[name] = replace(layer, row=now)
    return replace(blend, layers=layers)


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
            match=match,
            limit=MOST + 1,
        )
    except NotFound:
        return {}
    if len(rows) > MOST:
        raise NotBlended(_TOO_MANY)
    return {row.sop_uid: row for row in rows if has_frames(row)}
