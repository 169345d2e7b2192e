"""Images laid over each other, as a blending presentation state wants them to be seen.

DICOM PS3.4, N.2.4 and N.2.6. Each is decoded and toned in the process apart, then they are mixed; what is left to do
(area, turn, graphics) is done to the mixture as to any image.
"""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from server.access.services import Services

from .blending import Blend, Input, fallen, mixed
from .catalogue import InstanceRow
from .description import Description
from .frames import NotDecoded, description_of, done, frame_bytes, stored_frame
from .room import room
from .transfer_syntax import EXPLICIT

Pixels = NDArray[np.uint8]

LAYER = 24  # bytes a pixel of one layer while it is mixed


async def blended(
    services: Services, row: InstanceRow, number: int, blend: Blend
) -> tuple[bytes, Description]:
    """RGB pixels of the mixture and what is true of them; all rows were read with metadata and their frame's place.

    Raises NoFrame, NotDecoded, NotBlended.
    """
    base, description = await _toned(services, row, number, blend.inputs[blend.base])
    layers = {blend.base: base}
    rows, columns = base.shape[:2]
    for name, layer in blend.layers.items():
        pixels, _ = await _toned(services, layer.row, layer.frame, blend.inputs[name])
        layers[name] = await asyncio.to_thread(fallen, pixels, layer.affine, rows, columns)
    mixture = await asyncio.to_thread(mixed, layers, blend.steps)
    now = Description(EXPLICIT, rows, columns, samples=3, photometric="RGB", aspect=description.aspect)
    return mixture.tobytes(), now


async def _toned(services: Services, row: InstanceRow, number: int, of: Input) -> tuple[Pixels, Description]:
    """The frame as rows, columns and RGBA."""
    state = await asyncio.to_thread(of.state, row.sop_uid, number)
    description = await description_of(services, row, number, drawn=True)
    async with room().taken(frame_bytes(row, number)):
        header = {"job": "layer", "description": description.to_json(), "state": state.to_json()}
        answer, made = await done(header, await stored_frame(services, row, number))
    shape = answer["rows"], answer["columns"], 4
    pixels = np.frombuffer(made, np.uint8)
    if pixels.size != shape[0] * shape[1] * shape[2]:
        raise NotDecoded()
    return pixels.reshape(shape), description
