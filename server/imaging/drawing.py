"""Lines and words as a picture: SVG, or PNG and JPEG through the same few shapes.

W3C SVG 1.1. Every text is escaped; nothing of an object is taken for markup. Pure, but for fonts.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from PIL import Image, ImageDraw

from .annotation import draw_text
from .png import png

Point = tuple[float, float]

TYPES = ("image/png", "image/jpeg", "image/svg+xml")


@dataclass(frozen=True)
class Line:
    """Points one after the other."""

    points: Sequence[Point]
    colour: str
    width: float = 1.0


@dataclass(frozen=True)
class Words:
    """A line of text; the point is its left top."""

    at: Point
    text: str
    size: int
    colour: str = "#202020"


@dataclass
class Drawing:
    """Shapes on a sheet, drawn in their order."""

    width: int
    height: int
    paper: str = "#ffffff"
    shapes: list[Line | Words] = field(default_factory=list)


def svg(drawing: Drawing, width: int | None = None, height: int | None = None) -> bytes:
    """The drawing as an SVG document, within the viewport."""
    wide, high = _fitted(drawing, width, height)
    body = "".join(_line(each) if isinstance(each, Line) else _words(each) for each in drawing.shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}"'
        f' viewBox="0 0 {drawing.width} {drawing.height}"><rect width="100%" height="100%" fill="{drawing.paper}"/>'
        f'<g fill="none" stroke-linejoin="round">{body}</g></svg>'
    ).encode()


def raster(
    drawing: Drawing, kind: str, width: int | None = None, height: int | None = None, quality: int = 90
) -> bytes:
    """The drawing as `image/png` or `image/jpeg`, within the viewport."""
    image = Image.new("RGB", (drawing.width, drawing.height), drawing.paper)
    draw = ImageDraw.Draw(image)
    for each in drawing.shapes:
        if isinstance(each, Words):
            draw_text(draw, *each.at, each.text, each.size, each.colour, drawing.paper)
        elif len(each.points) > 1:
            draw.line(list(each.points), fill=each.colour, width=max(1, round(each.width)), joint=None)
    if (size := _fitted(drawing, width, height)) != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    if kind == "image/png":
        return png(image, None)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def drawn(drawing: Drawing, kind: str, width: int | None, height: int | None, quality: int = 90) -> bytes:
    """The drawing in one of `TYPES`."""
    if kind == "image/svg+xml":
        return svg(drawing, width, height)
    return raster(drawing, kind, width, height, quality)


def _fitted(drawing: Drawing, width: int | None, height: int | None) -> tuple[int, int]:
    if width is None or height is None:
        return drawing.width, drawing.height
    scale = min(width / drawing.width, height / drawing.height)
    return max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale))


def _line(line: Line) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line.points)
    return f'<polyline points="{points}" stroke="{line.colour}" stroke-width="{line.width:g}"/>'


def _words(words: Words) -> str:
    x, y = words.at
    text = "".join(each if each.isprintable() else " " for each in words.text)
    style = f'font-family="sans-serif" font-size="{words.size}" fill="{words.colour}" stroke="none"'
    return f'<text x="{x:.1f}" y="{y + words.size:.1f}" {style}>{escape(text)}</text>'
