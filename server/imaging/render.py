"""Frames as pictures, and the small pictures that lists show.

DICOM PS3.18, 10.4.1.1.3 (rendered) and 10.4.1.1.5 (thumbnail). Uncompressed frames are drawn in a thread; what needs
a codec is decoded and drawn in a process apart.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from server.access.reach import Reach
from server.access.services import Services
from server.core import clock
from server.core.errors import NotFound
from server.storage.sql import load
from server.storage.where import Where

from . import catalogue
from .annotation import patient_lines, technique_lines
from .blended import LAYER, blended
from .blending import Blend
from .catalogue import InstanceRow
from .codec import Undecodable, native
from .description import Description, model_of
from .frames import (
    NoFrame,
    NotDecoded,
    description_of,
    done,
    frame_bytes,
    has_frames,
    is_encapsulated,
    stored_frame,
)
from .picture import MAX_SIDE, Look, animated, picture
from .presentation import Mask
from .room import inflated_room, room
from .subtraction import subtracted

QUERIES = load(__package__)

KEPT_SIDE = 256  # of the thumbnails that are kept
UNREADABLE_SIDE = 128  # of an image with words in its pixels: a line of them is about two pixels high
_WITH_PIXELS = Where("instance.frame_count > 0")
_SUBTRACTED = 40  # bytes a pixel while a mask is taken away: sums, means and what is left
_LARGE = 16 * 2**20  # bytes of a frame and of its picture
_DEFAULT_TIME = 100  # milliseconds that a frame of a moving picture is seen
_MOST = 5000  # instances of a series that are looked at for its picture


async def rendered(services: Services, row: InstanceRow, number: int, look: Look) -> bytes:
    """Frame `number` (from 1) as a picture; the row was read with its metadata and this frame's place.

    Raises NoFrame, NotDecoded.
    """
    if look.annotation:
        look = _with_words(look, row, number)
    if look.nameless:
        look = _without_names(look, row)
    if look.blend is not None:
        return await _blended(services, row, number, look, look.blend)
    if look.state is not None and look.state.mask is not None:
        return await _subtracted(services, row, number, look, look.state.mask)
    description = await description_of(services, row, number, drawn=True, profile=look.icc != "no")
    drawn = 4 * (look.width or 0) * (look.height or 0)
    async with room().taken(frame_bytes(row, number) + drawn):
        content = await stored_frame(services, row, number)
        if not is_encapsulated(row) and len(content) + drawn <= _LARGE and _is_plain(description, look):
            return await asyncio.to_thread(_draw, content, description, look)
        return await _drawn_apart(content, description, look)


async def _drawn_apart(content: bytes, description: Description, look: Look) -> bytes:
    """In the process apart, which has a bound of memory and of time; a crash there is one picture's."""
    header = {"job": "picture", "description": description.to_json(), "look": look.to_json()}
    return (await done(header, content))[1]


async def _subtracted(services: Services, row: InstanceRow, number: int, look: Look, mask: Mask) -> bytes:
    """A frame with its mask taken away. Its room is not that of the frames, which ask for theirs within."""
    assert look.state is not None  # it says that there is a mask
    async with inflated_room().taken(_SUBTRACTED * _area(row)):
        content, description, state = await subtracted(services, row, number, look.state, mask)
        async with room().taken(len(content) + 4 * (look.width or 0) * (look.height or 0)):
            return await _drawn_apart(content, description, replace(look, state=state))


async def _blended(services: Services, row: InstanceRow, number: int, look: Look, blend: Blend) -> bytes:
    """Images laid over each other; each asks for the room of its frame within."""
    size = LAYER * _area(row) * (1 + len(blend.layers) + len(blend.steps)) + sum(
        4 * _area(layer.row) for layer in blend.layers.values()
    )
    async with inflated_room().taken(size):
        content, description = await blended(services, row, number, blend)
        async with room().taken(len(content) + 4 * (look.width or 0) * (look.height or 0)):
            return await _drawn_apart(content, description, replace(look, blend=None))


def _area(row: InstanceRow) -> int:
    return (row.pixel_rows or 1) * (row.pixel_columns or 1)


def _is_plain(description: Description, look: Look) -> bool:
    """Whether nothing of somebody's making is drawn or read by a library in C: a state's graphics, a profile."""
    return look.state is None and not (description.icc and look.icc != "no")


def _with_words(look: Look, row: InstanceRow, number: int) -> Look:
    """The look with the words in the corners that were asked for."""
    model = model_of(row.metadata)
    patient = patient_lines(model) if "patient" in look.annotation else []
    technique = technique_lines(model, number, row.frame_count) if "technique" in look.annotation else []
    return replace(look, corners=(tuple(patient), tuple(technique)))


def _without_names(look: Look, row: InstanceRow) -> Look:
    """PS3.18, 10.4.3.3.4: a thumbnail names no patient. Words that somebody drew are left out; those burned into the
    pixels, where the object says that there are any, are made too small to be read.
    """
    burned = (model_of(row.metadata).get("00280301") or {}).get("Value") == ["YES"]
    if look.blend is not None:  # what lies on it shows its own words, and of it less is known
        burned = burned or any(layer.burned for layer in look.blend.layers.values())
    side = UNREADABLE_SIDE if burned else MAX_SIDE
    state = look.state and replace(look.state, graphics=[], overlays=[], active=[])
    width, height = min(look.width or side, side), min(look.height or side, side)
    return replace(look, width=width, height=height, state=state, overlays=False)


def thumbnail_look(width: int, height: int) -> Look:
    """How the picture of a thumbnail is drawn."""
    return Look(width=width, height=height, quality=80, nameless=True)


def _draw(content: bytes, description: Description, look: Look) -> bytes:
    try:
        return picture(*native(content, description), look)
    except (Undecodable, ValueError, IndexError, TypeError, ArithmeticError, MemoryError) as error:
        raise NotDecoded("These pixels cannot be shown; they can be had as they are stored.") from error


async def moving(stills: Sequence[bytes], metadata: bytes) -> bytes:
    """Pictures one after the other as a GIF, as fast as the header of the first of them says."""
    width, height = Image.open(io.BytesIO(stills[0])).size
    async with room().taken(4 * width * height * len(stills)):
        return await asyncio.to_thread(animated, stills, _milliseconds(metadata))


def _milliseconds(metadata: bytes) -> int:
    """How long a frame is seen (PS3.3, C.7.6.5 Cine: Frame Time, or the rate recommended)."""
    model = model_of(metadata)
    for tag, is_rate in (("00181063", False), ("00082144", True), ("00180040", True)):
        value = next(iter((model.get(tag) or {}).get("Value") or []), None)
        if isinstance(value, int | float) and value > 0:
            return max(20, min(5000, round(1000 / value if is_rate else value)))
    return _DEFAULT_TIME


async def thumbnail(
    services: Services,
    study_uid: str,
    series_uid: str | None = None,
    *,
    reach: Reach,
    width: int = KEPT_SIDE,
    height: int = KEPT_SIDE,
) -> tuple[str, bytes]:
    """The small JPEG of a series, or of a study's first series with pixels; and whose it is.

    It is made when it is first asked for, and kept, sealed. Raises NotFound, NoFrame when there are no pixels.
    """
    row = await services.db.fetch_one(
        QUERIES["thumbnail_of"], {}, reach=reach.studies(), of=catalogue.these(study_uid, series_uid)
    )
    if row is None:
        raise NotFound()
    patient_id = row["patient_id"]
    if max(width, height) > KEPT_SIDE:
        return patient_id, await _make(
            services, study_uid, row["series_uid"], reach.at(patient_id), width, height
        )
    context = _context(row["series_uid"])
    if row["sealed"]:
        image = services.keyring.open(row["wrapped"], row["sealed"], context)
    else:
        image = await _make(
            services,
            study_uid,
            row["series_uid"],
            reach.at(patient_id),
            KEPT_SIDE,
            KEPT_SIDE,
            keep=row["wrapped"],
        )
    if (width, height) != (KEPT_SIDE, KEPT_SIDE):
        image = await asyncio.to_thread(_smaller, image, width, height)
    return patient_id, image


async def _make(
    services: Services,
    study_uid: str,
    series_uid: str,
    reach: Reach,
    width: int,
    height: int,
    *,
    keep: bytes | None = None,
) -> bytes:
    rows = await catalogue.instances_of(
        services.db, study_uid, series_uid, reach=reach, match=_WITH_PIXELS, limit=_MOST
    )
    rows = [row for row in rows if has_frames(row)]  # a film is none of them
    if not rows:
        raise NoFrame("This series has no pixels.")
    middle = rows[len(rows) // 2]
    number = (middle.frame_count + 1) // 2
    (row,) = await catalogue.instances_of(
        services.db,
        study_uid,
        series_uid,
        middle.sop_uid,
        reach=reach,
        metadata=True,
        frames=(number, number),
    )
    image = await rendered(services, row, number, thumbnail_look(width, height))
    if keep is not None:
        sealed = services.keyring.seal(keep, image, _context(series_uid))
        values = {
            "patient_id": row.patient_id,
            "study_uid": study_uid,
            "series_uid": series_uid,
            "sop_uid": row.sop_uid,
            "width": KEPT_SIDE,
            "sealed": sealed,
            "now": clock.now(),
        }
        await services.db.execute(QUERIES["keep_thumbnail"], values)
    return image


def _context(series_uid: str) -> bytes:
    return f"thumbnail {series_uid}".encode()


def _smaller(image: bytes, width: int, height: int) -> bytes:
    picture = Image.open(io.BytesIO(image))
    picture.thumbnail((width, height))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80)
    return out.getvalue()


__all__ = ["KEPT_SIDE", "Look", "moving", "rendered", "thumbnail", "thumbnail_look"]
