"""Pictures of what has no pixels: waveforms as they lie in the object, and a sign for all others.

DICOM PS3.18, 10.4.1.1.3 (rendered), 10.4.1.1.5 (thumbnail). Of a waveform only the seconds that are drawn are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from server.access.services import Services
from server.core.errors import NotAcceptable, NotFound

from . import bulk
from .annotation import patient_lines, technique_lines
from .catalogue import InstanceRow
from .description import model_of
from .drawing import Drawing, Line, Words, drawn
from .room import room
from .waveform import DATA, SEQUENCE, Group, Values, groups_of, values_of
from .waveform_sheet import SECONDS, sheet

_MOST_READ = 64 * 2**20  # bytes of all groups
_SIGN = 256
_SHOWN = 4  # bytes a pixel while it is drawn


class NotDrawn(NotAcceptable):
    """These waveforms cannot be drawn; they can be had as they are stored."""


async def tracing(
    services: Services,
    row: InstanceRow,
    kind: str,
    *,
    width: int | None = None,
    height: int | None = None,
    quality: int = 90,
    annotation: Sequence[str] = (),
) -> bytes:
    """The waveforms of the object as a picture of `kind`; the row was read with its metadata. Raises NotDrawn."""
    model = model_of(row.metadata)
    groups = groups_of(model)
    if not groups:
        raise NotDrawn()
    corners = [patient_lines(model) if "patient" in annotation else []]
    corners.append(technique_lines(model, 1, 1) if "technique" in annotation else [])
    size = sum(group.size(SECONDS) for group in groups)
    if size > _MOST_READ:
        raise NotDrawn("These waveforms are too large to be drawn; they can be had as they are stored.")
    async with room().taken(8 * size + _SHOWN * (width or 0) * (height or 0)):
        try:
            read = [(group, await _read(services, row, group)) for group in groups]
            return await asyncio.to_thread(lambda: drawn(sheet(read, corners), kind, width, height, quality))
        except (NotFound, ValueError, ArithmeticError, MemoryError) as error:  # numbers beyond all sense
            raise NotDrawn() from error


async def _read(services: Services, row: InstanceRow, group: Group) -> Values:
    value = await bulk.find(services, row, [SEQUENCE, str(group.number), DATA])
    pieces = [chunk async for chunk in value.chunks(0, min(value.size, group.size(SECONDS)))]
    return values_of(group, b"".join(pieces))


def sign(words: str, width: int, height: int) -> bytes:
    """A small JPEG that stands for something without pixels: a sheet with a word on it."""
    drawing = Drawing(_SIGN, _SIGN, "#30343a")
    edge = [(72.0, 40.0), (152.0, 40.0), (184.0, 72.0), (184.0, 216.0), (72.0, 216.0), (72.0, 40.0)]
    drawing.shapes.append(Line(edge, "#9aa4b0", 4))
    size = 36 if len(words) <= 5 else 20
    drawing.shapes.append(
        Words((128 - len(words) * size * 0.32, 128 - size / 2), words[:20], size, "#f2f4f6")
    )
    return drawn(drawing, "image/jpeg", width, height)
