"""A frame with its mask taken away: contrast before and after it came.

DICOM PS3.3, C.7.6.10 (Mask), C.11.13 (Presentation State Mask); PS3.4, N.2.1.1. The frames are decoded as for everybody
else, in a process apart, and what is left is an image of fractions with a sign.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.access.services import Services
from server.storage.sql import load

from .catalogue import InstanceRow
from .codec import Undecodable, native
from .description import Description
from .dicom_json import from_column
from .frames import NoFrame, NotDecoded, decoded_frame, description_of, frame_as_stored, is_encapsulated
from .presentation import Mask, State
from .transfer_syntax import EXPLICIT

QUERIES = load(__package__)

Array = NDArray[Any]


async def subtracted(
    services: Services, row: InstanceRow, number: int, state: State, mask: Mask
) -> tuple[bytes, Description, State]:
    """The pixels that are left, what is true of them, and the state with no mask. Raises NoFrame, NotDecoded."""
    row = await with_all_frames(services, row)
    description = await description_of(services, row, number, drawn=True)
    if description.samples != 1 or description.kind != "integer":
        raise NotDecoded("A mask is taken away from gray images only.")
    if state.modality_table or (description.modality_table and state.slope is None):
        raise NotDecoded("A mask cannot be taken away where values go through a table first.")
    last = min(row.frame_count, number + mask.averaged - 1)
    contrast = await _mean(services, row, range(number, last + 1))
    before = await _mean(services, row, mask.frames)
    left = await asyncio.to_thread(_difference, contrast, before, mask.shift)
    now = replace(
        description,
        transfer_syntax=EXPLICIT,
        photometric="MONOCHROME2",
        bits_allocated=32,
        bits_stored=32,
        kind="float",
        high_bit=None,
        padding=None,
        intercept=0.0,
        big=False,
        hidden=[],
    )
    return left.tobytes(), now, replace(state, mask=None, intercept=0.0)


async def with_all_frames(services: Services, row: InstanceRow) -> InstanceRow:
    """The row with its metadata and the place of each of its frames; its holder was given it within their reach."""
    values = {"patient_id": row.patient_id, "sop_uid": row.sop_uid}
    found = await services.db.fetch_one(QUERIES["frames_of"], values)
    if found is None:
        raise NoFrame()
    table = found["frame_table"] or b""
    return replace(row, metadata=from_column(found["metadata"]), frame_table=table, table_first=1)


async def _mean(services: Services, row: InstanceRow, numbers: Sequence[int]) -> Array:
    """The mean of frames, one held at a time beside their sum."""
    total: Array | None = None
    for number in numbers:
        frame = (await _values(services, row, number)).astype(np.float64)
        total = frame if total is None else total + frame
    if total is None:
        raise NoFrame("This mask names no frames.")
    mean: Array = total / len(numbers)
    return mean


async def _values(services: Services, row: InstanceRow, number: int) -> Array:
    try:
        if is_encapsulated(row):
            content, description = await decoded_frame(services, row, number)
        else:
            content = await frame_as_stored(services, row, number)
            description = await description_of(services, row, number)
        return (await asyncio.to_thread(native, content, description))[0]
    except Undecodable as error:
        raise NotDecoded() from error


def _difference(contrast: Array, mask: Array, shift: tuple[int, int]) -> Array:
    """What is beyond the edge of a mask that was moved stays as it is at the edge."""
    if shift != (0, 0):
        rows = np.clip(np.arange(mask.shape[0]) - shift[0], 0, mask.shape[0] - 1)
        columns = np.clip(np.arange(mask.shape[1]) - shift[1], 0, mask.shape[1] - 1)
        mask = mask[np.ix_(rows, columns)]
    left: Array = (contrast - mask).astype("<f4")
    return left
