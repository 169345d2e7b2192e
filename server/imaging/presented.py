"""An image as a presentation state wants it: shutters, the displayed area, turned, with what was drawn on it.

DICOM PS3.4, N.2 (pixel transformation sequence; the order of its steps); PS3.3, C.7.6.11, C.10.4 to C.10.6. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .annotation import draw_text
from .description import Description, Table
from .overlays import burn
from .presentation import Graphic, Shutter, State

Array = NDArray[Any]
MAX_SIDE = 8192
_MAGNIFIED = 4096  # of a side, where a state says how large it wants to be

_Point = tuple[float, float]
_TURNS = {
    90: Image.Transpose.ROTATE_270,  # Pillow counts the other way round
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}


def presented(
    pixels: Array, description: Description, state: State, width: int | None, height: int | None
) -> Image.Image:
    """The 8 bit image (gray or RGB) as the state wants it, within the viewport."""
    for overlay in state.overlays:
        pixels = burn(pixels, overlay)
    image = Image.fromarray(_shut(pixels, state))
    area = state.area or (1, 1, image.width, image.height)
    left, top, right, bottom = _bounded(area, image)
    image = image.crop((left, top, right, bottom))  # beyond the image it is black
    turned = state.rotation in (90, 270)
    size = _size(image, description.aspect, *((height, width) if turned else (width, height)), state.scale)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    if state.rotation in _TURNS:
        image = image.transpose(_TURNS[state.rotation])
    if state.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if any(len(set(graphic.colour)) > 1 for graphic in state.graphics):
        image = image.convert("RGB")
    scale = size[0] / (right - left), size[1] / (bottom - top)
    _draw(image, state, _placed(state, (left, top), scale, size))
    return image


def toned(pixels: Array, state: State) -> Array:
    """Gray values through the presentation LUT or a palette (PS3.3, C.11.6; C.7.9 for pseudo-colour)."""
    if pixels.ndim != 2:
        return pixels
    if state.lut is not None:
        pixels = _through(pixels, state.lut)
    if state.palette is not None:
        return np.stack([_through(pixels, table) for table in state.palette], axis=-1)
    return pixels


def _through(pixels: Array, table: Table) -> Array:
    entries = np.asarray(table.entries, float)
    top = float((1 << table.bits) - 1)
    index = np.rint(np.arange(256) / 255.0 * (len(entries) - 1)).astype(int)
    levels = np.clip(np.rint(entries[index] * 255.0 / top), 0, 255).astype(np.uint8)
    found: Array = levels[pixels]
    return found


def _shut(pixels: Array, state: State) -> Array:
    """Cover what lies outside of every shutter."""
    for shutter in state.shutters:
        open_ = _open(pixels.shape[0], pixels.shape[1], shutter)
        pixels = pixels.copy()
        pixels[~open_] = state.shutter_value
    return pixels


def _open(rows: int, columns: int, shutter: Shutter) -> NDArray[np.bool_]:
    numbers = [max(-1e6, min(1e6, number)) for number in shutter.numbers]
    mask = Image.new("1", (columns, rows))
    draw = ImageDraw.Draw(mask)
    if shutter.shape == "RECTANGULAR":
        left, top, right, bottom = numbers
        if right > left and bottom > top:  # edges are the first columns and rows that are covered
            draw.rectangle((left, top, right - 2, bottom - 2), fill=1)
    elif shutter.shape == "CIRCULAR":
        x, y, radius = numbers
        y_, x_ = np.ogrid[1 : rows + 1, 1 : columns + 1]
        inside: NDArray[np.bool_] = (x_ - x) ** 2 + (y_ - y) ** 2 <= radius**2
        return inside
    else:
        draw.polygon([number - 1 for number in numbers], fill=1)
    return np.asarray(mask, bool)


def _bounded(area: tuple[int, int, int, int], image: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right and bottom as Pillow counts them; an absurd area is the image."""
    left, top, right, bottom = area
    sides = right - left + 1, bottom - top + 1
    if (
        sides[0] * sides[1] > MAX_SIDE**2
        or right < 1
        or bottom < 1
        or left > image.width
        or top > image.height
    ):
        return 0, 0, image.width, image.height
    return left - 1, top - 1, right, bottom


def _size(
    image: Image.Image,
    aspect: tuple[float, float],
    width: int | None,
    height: int | None,
    wanted: float | None = None,
) -> tuple[int, int]:
    across, down = float(image.width), image.height * aspect[0] / aspect[1]
    if width is None or height is None:
        larger = min(wanted, max(1.0, _MAGNIFIED / max(across, down))) if wanted else 1.0
        scale = min(larger, MAX_SIDE / across, MAX_SIDE / down)
    else:
        scale = min(width / across, height / down)
    return max(1, round(across * scale)), max(1, round(down * scale))


def _placed(
    state: State, origin: tuple[int, int], scale: tuple[float, float], size: tuple[int, int]
) -> Callable[[float, float, bool], _Point]:
    """Where a point of the image, or of the displayed area, lies on the picture."""
    wide, high = (size[1], size[0]) if state.rotation in (90, 270) else size

    def place(x: float, y: float, in_pixels: bool) -> _Point:
        if not in_pixels:
            return x * wide, y * high
        x, y = (x - origin[0]) * scale[0], (y - origin[1]) * scale[1]
        match state.rotation:
            case 90:
                x, y = size[1] - y, x
            case 180:
                x, y = size[0] - x, size[1] - y
            case 270:
                x, y = y, size[0] - x
        return (wide - x if state.flip else x), y

    return place


def _draw(image: Image.Image, state: State, place: Callable[[float, float, bool], _Point]) -> None:
    draw = ImageDraw.Draw(image)
    width = max(1, min(image.size) // 300)
    for graphic in state.graphics:
        flat = graphic.points
        points = [
            place(x, y, graphic.in_pixels) for x, y in zip(flat[::2], flat[1::2], strict=True) if _sane(x, y)
        ]
        if points:
            ink: Any = graphic.colour if image.mode == "RGB" else graphic.colour[0]
            _draw_one(draw, graphic, points, ink, width, max(10, min(image.size) // 32))


def _sane(x: float, y: float) -> bool:
    return abs(x) < 1e6 and abs(y) < 1e6


def _draw_one(
    draw: ImageDraw.ImageDraw, graphic: Graphic, points: list[_Point], ink: Any, width: int, size: int
) -> None:
    match graphic.kind:
        case "TEXT":
            x, y = points[0]
            edge = 0 if isinstance(ink, int) else (0, 0, 0)
            for number, line in enumerate(graphic.text.splitlines()[:50]):
                draw_text(draw, x, y + number * size * 1.3, line[:200], size, ink, edge)
        case "POINT":
            x, y = points[0]
            draw.line((x - 4 * width, y, x + 4 * width, y), fill=ink, width=width)
            draw.line((x, y - 4 * width, x, y + 4 * width), fill=ink, width=width)
        case "CIRCLE" if len(points) >= 2:
            (x, y), edge_point = points[0], points[1]
            radius = math.dist((x, y), edge_point)
            box = (x - radius, y - radius, x + radius, y + radius)
            draw.ellipse(box, outline=ink, width=width, fill=ink if graphic.filled else None)
        case "ELLIPSE" if len(points) >= 4:
            _outline(draw, _ellipse(points), ink, width, graphic.filled)
        case _ if len(points) >= 2:
            _outline(draw, points, ink, width, graphic.filled)


def _outline(draw: ImageDraw.ImageDraw, points: list[_Point], ink: Any, width: int, filled: bool) -> None:
    if filled and len(points) >= 3:
        draw.polygon(points, fill=ink)
    else:
        draw.line(points, fill=ink, width=width, joint="curve")


def _ellipse(points: list[_Point]) -> list[_Point]:
    """The four points are the ends of the long and of the short axis (PS3.3, C.10.5.1.2)."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points[:4]
    x, y = (ax + bx) / 2, (ay + by) / 2
    ux, uy, vx, vy = (bx - ax) / 2, (by - ay) / 2, (dx - cx) / 2, (dy - cy) / 2
    turns = [2 * math.pi * step / 72 for step in range(73)]
    return [(x + ux * math.cos(t) + vx * math.sin(t), y + uy * math.cos(t) + vy * math.sin(t)) for t in turns]
