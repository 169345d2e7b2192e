"""Pixels as a picture for people: the grayscale and colour pipelines of DICOM, then JPEG, PNG or GIF.

DICOM PS3.4, N.2 (pixel transformation sequence); PS3.3, C.7.6.3.1.2 (photometric interpretation), C.11.1 (modality),
C.11.2.1.2 and C.11.2.1.3 (window, VOI LUT functions); PS3.18, 8.3.5 (viewport, window, quality). Pure.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .annotation import annotated
from .codec import Array, Undecodable
from .codec_colour import rgb_of_ybr
from .description import Description, Table
from .icc import profiled
from .overlays import burn
from .png import png
from .presentation import State, under
from .presented import presented, toned

if TYPE_CHECKING:
    from .blending import Blend

MAX_SIDE = 8192


@dataclass(frozen=True)
class Look:
    """How a picture is wanted."""

    format: str = "jpeg"  # jpeg, png, gif
    width: int | None = None  # of the viewport; None: as many pixels as the image
    height: int | None = None
    region: tuple[float, float, float | None, float | None] | None = None  # left, top, width, height
    center: float | None = None
    window: float | None = None
    function: str | None = None  # LINEAR, LINEAR_EXACT, SIGMOID
    quality: int = 85
    icc: str = "no"  # iccprofile: yes, srgb, adobergb, rommrgb, displayp3
    overlays: bool = True  # whether overlay planes are drawn
    nameless: bool = False  # as a thumbnail is: nothing on it may name the patient
    annotation: tuple[str, ...] = ()  # patient, technique: to be put into corners
    corners: tuple[tuple[str, ...], ...] = ()  # lines of words: top left, top right
    state: State | None = None  # a presentation state
    blend: Blend | None = None  # what is laid over the image, before the pixels travel

    def to_json(self) -> dict[str, Any]:
        """What orjson writes; the blend stays behind, for its pixels are mixed before they travel."""
        return {**vars(self), "blend": None}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Look:
        """The look that `to_json` gave away."""
        made = {
            "region": tuple(values["region"]) if values["region"] else None,
            "annotation": tuple(values["annotation"]),
            "corners": tuple(tuple(lines) for lines in values["corners"]),
            "state": State.from_json(values["state"]) if values["state"] else None,
            "blend": None,
        }
        return cls(**{**values, **made})


def picture(array: Array, description: Description, look: Look) -> bytes:
    """The frame as the bytes of an image file. Raises Undecodable."""
    if look.state is not None:
        description = under(description, look.state)
    pixels = shown(array, description, look)
    if look.state is not None:
        pixels = toned(pixels, look.state)
    if look.overlays:
        for overlay in description.overlays:
            pixels = burn(pixels, overlay)
    if look.state is not None:
        image = presented(pixels, description, look.state, look.width, look.height)
    else:
        image = _cut(Image.fromarray(pixels), description, look)
    if look.corners:
        image = annotated(image, look.corners)
    return _file(image, description, look)


def layer(array: Array, description: Description, state: State) -> Array:
    """The frame by the state's tones, as rows, columns and RGBA: padding is transparent (PS3.4, N.2.6)."""
    description = under(description, state)
    pixels = toned(shown(array, description, Look()), state)
    colours = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)
    alpha = np.full(colours.shape[:2], 255, np.uint8)
    if description.padding is not None and array.ndim == 2:
        alpha[array == description.padding] = 0
    return np.dstack([colours, alpha])


def _file(image: Image.Image, description: Description, look: Look) -> bytes:
    held = base64.b64decode(description.icc) if description.icc and look.icc != "no" else None
    image, profile = profiled(image, look.icc, held)
    if look.format == "png":
        return png(image, profile)
    out = io.BytesIO()
    if look.format == "gif":
        image.convert("P" if image.mode == "RGB" else "L").save(out, "GIF")
    else:
        image.save(out, "JPEG", quality=look.quality, icc_profile=profile)
    return out.getvalue()


def animated(frames: Sequence[bytes], milliseconds: int) -> bytes:
    """Still GIFs as one that moves."""
    images = [Image.open(io.BytesIO(frame)) for frame in frames]
    out = io.BytesIO()
    images[0].save(out, "GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0)
    return out.getvalue()


def shown(array: Array, description: Description, look: Look) -> Array:
    """8 bits a sample, gray or RGB, as it is to be seen."""
    match description.photometric:
        case "PALETTE COLOR" if description.palette:
            return _palette(array, description.palette)
        case "RGB" if array.ndim == 3:
            return _to_eight(array, description)
        case "YBR_FULL" | "YBR_FULL_422" | "YBR_PARTIAL_422" | "YBR_PARTIAL_420" if array.ndim == 3:
            return rgb_of_ybr(_to_eight(array, description), description.photometric)
        case "YBR_ICT" | "YBR_RCT" if array.ndim == 3:
            return _to_eight(array, description)  # the decoder has turned it into RGB
    if array.ndim == 3:
        array = array[:, :, 0]
    return _gray(array, description, look)


def _gray(array: Array, description: Description, look: Look) -> Array:
    center, width, function = _window(array, description, look)
    inverse = (description.photometric == "MONOCHROME1") != description.inverse
    if description.voi_table is not None and look.center is None and not description.windows:
        out = _voi_table(_modality(array, description), description.voi_table)
        return 255 - out if inverse else out
    if description.modality_table is None and array.dtype.itemsize <= 2 and array.dtype.kind in "iu":
        # Few values, many pixels: each value goes through the window once.
        kind = f"{array.dtype.kind}{array.dtype.itemsize}"
        table = _table(kind, description.slope, description.intercept, center, width, function, inverse)
        return np.take(table, np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}"))
    out = _windowed(_modality(array, description), center, width, function)
    return 255 - out if inverse else out


@lru_cache(maxsize=64)
def _table(
    kind: str, slope: float, intercept: float, center: float, width: float, function: str, inverse: bool
) -> Array:
    """What each value of an integer type becomes, in the order of its bits read as unsigned."""
    size = int(kind[1:])
    values = np.arange(1 << 8 * size, dtype=f"u{size}").view(kind).astype(float)
    table = _windowed(values * slope + intercept, center, width, function)
    return 255 - table if inverse else table


def _modality(array: Array, description: Description) -> Array:
    if description.modality_table is not None:
        return _looked_up(array, description.modality_table).astype(float)
    return array.astype(float) * description.slope + description.intercept


def _looked_up(array: Array, table: Table) -> Array:
    entries = np.asarray(table.entries)
    index = np.clip(array.astype(np.int64) - table.first, 0, len(entries) - 1)
    found: Array = entries[index]
    return found


def _voi_table(values: Array, table: Table) -> Array:
    out = _looked_up(np.rint(values), table).astype(float)
    top = float(max(table.entries)) or 1.0
    return np.clip(out * 255.0 / top, 0, 255).astype(np.uint8)


def _window(array: Array, description: Description, look: Look) -> tuple[float, float, str]:
    """The window that was asked for, the first of the object, or one that shows all values there are."""
    if look.center is not None and look.window is not None:
        return look.center, look.window, look.function or "LINEAR"
    if description.windows:
        center, width = description.windows[0]
        return center, width, description.function
    values = array
    if description.padding is not None:
        kept = array[array != description.padding]
        values = kept if kept.size else array
    low, high = float(values.min()), float(values.max())
    if description.modality_table is not None:
        ends = _looked_up(np.array([low, high]), description.modality_table)
        low, high = float(ends.min()), float(ends.max())
    else:
        low, high = sorted(
            (
                low * description.slope + description.intercept,
                high * description.slope + description.intercept,
            )
        )
    if not np.isfinite([low, high]).all():
        raise Undecodable("the pixels are no numbers")
    if low == high:
        return low + 0.5, 1.0, "LINEAR_EXACT"  # one value everywhere is shown black
    return (low + high) / 2, high - low, "LINEAR_EXACT"


def _windowed(values: Array, center: float, width: float, function: str) -> Array:
    """PS3.3, C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2, to 0..255."""
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            out = 255.0 / (1.0 + np.exp(-4.0 * (values - center) / width))
    elif function == "LINEAR_EXACT" or width <= 1:
        out = ((values - center) / max(width, 1e-9) + 0.5) * 255.0
    else:
        out = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255.0
    scaled: Array = np.clip(np.nan_to_num(out) + 0.5, 0, 255).astype(np.uint8)
    return scaled


def _palette(array: Array, palette: list[Table]) -> Array:
    channels = [_looked_up(array, table) for table in palette]
    # Entries of 16 bits, or of 8 bits that some write in the high or the low half (PS3.3, C.7.6.3.1.5).
    wide = any(max(table.entries) > 255 for table in palette)
    shifted = [np.right_shift(channel, 8) if wide else channel for channel in channels]
    return np.stack(shifted, axis=-1).astype(np.uint8)


def _to_eight(array: Array, description: Description) -> Array:
    if array.dtype == np.uint8:
        return array
    shift = max(0, description.bits_stored - 8)
    return np.clip(np.right_shift(array, shift), 0, 255).astype(np.uint8)


def _cut(image: Image.Image, description: Description, look: Look) -> Image.Image:
    """The region that is wanted, as large as the viewport allows without changing its shape (PS3.18, 8.3.5.1.3)."""
    left, top, width, height = look.region or (0.0, 0.0, None, None)
    right = left + abs(width) if width is not None else float(image.width)
    bottom = top + abs(height) if height is not None else float(image.height)
    if look.region is not None:
        image = image.crop(_inside(image, left, top, right, bottom))
    if width is not None and width < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if height is not None and height < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    size = _fitted(image.width, image.height * description.aspect[0] / description.aspect[1], look)
    if size != image.size:
        way = Image.Resampling.BILINEAR if size[0] >= image.width else Image.Resampling.BOX
        image = image.resize(size, way)
    return image


def _inside(
    image: Image.Image, left: float, top: float, right: float, bottom: float
) -> tuple[int, int, int, int]:
    x, y = min(int(left), image.width - 1), min(int(top), image.height - 1)
    return x, y, max(x + 1, min(round(right), image.width)), max(y + 1, min(round(bottom), image.height))


def _fitted(width: float, height: float, look: Look) -> tuple[int, int]:
    if look.width is None or look.height is None:
        scale = min(1.0, MAX_SIDE / width, MAX_SIDE / height)
    else:
        scale = min(look.width / width, look.height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))
