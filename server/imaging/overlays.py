"""Overlay planes: graphics of one bit a pixel that lie over an image.

DICOM PS3.3, C.9.2 (Overlay Plane), C.9.3 (Multi-frame Overlay); PS3.5, 8.1.2. Those within unused bits of the pixels
are retired (PS3.3 of 2004, C.9.2) and found in old images. Pure.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dicom_json import Json

Array = NDArray[Any]

_GROUPS = tuple(f"{group:04X}" for group in range(0x6000, 0x6020, 2))
_MOST_BITS = 1 << 26  # of one plane


@dataclass(frozen=True)
class Overlay:
    """One plane as it lies over one frame."""

    group: str  # "6000"
    rows: int
    columns: int
    top: int  # of its first row on the image, from 0
    left: int
    bits: str  # Base64, eight pixels a byte, the first in the lowest bit


def overlays_of(model: Json, frame: int) -> list[Overlay]:
    """The planes that lie over this frame (from 1), by the DICOM JSON with their data in it."""
    return [found for group in _GROUPS if (found := _overlay(model, group, frame))]


def hidden_in(model: Json) -> list[tuple[str, int]]:
    """Group and bit of each plane that lies in the pixels: it has a position there, and no data of its own."""
    allocated, stored = _number(model, "00280100", 8), _number(model, "00280101", 8)
    found = []
    for group in _GROUPS:
        bit = _number(model, f"{group}0102", 0)
        within = _number(model, f"{group}0100", 1) == allocated and 0 < bit < allocated
        if within and f"{group}3000" not in model and f"{group}0010" in model and stored < allocated:
            found.append((group, bit))
    return found


def revealed(pixels: Array, hidden: list[tuple[str, int]]) -> list[Overlay]:
    """The planes that lie in bits of these pixels (rows, columns), as large as the image."""
    raw = pixels.view(f"u{pixels.dtype.itemsize}")
    found = []
    for group, bit in hidden:
        plane = ((raw >> np.array(bit, raw.dtype)) & np.array(1, raw.dtype)).astype(bool)
        packed = base64.b64encode(np.packbits(plane.ravel(), bitorder="little").tobytes()).decode()
        found.append(Overlay(group, pixels.shape[0], pixels.shape[1], 0, 0, packed))
    return found


def _overlay(model: Json, group: str, frame: int) -> Overlay | None:
    rows, columns = _number(model, f"{group}0010", 0), _number(model, f"{group}0011", 0)
    data = (model.get(f"{group}3000") or {}).get("InlineBinary")
    if not data or not 0 < rows * columns <= _MOST_BITS:
        return None
    count = max(1, _number(model, f"{group}0015", 1))
    index = frame - _number(model, f"{group}0051", 1) if f"{group}0015" in model else 0
    if not 0 <= index < count:
        return None
    origin = [value for value in _values(model, f"{group}0050") if isinstance(value, int)]
    top, left = (origin[0] - 1, origin[1] - 1) if len(origin) >= 2 else (0, 0)
    packed = np.frombuffer(base64.b64decode(data), np.uint8)
    size = rows * columns
    bits = np.unpackbits(packed[index * size // 8 :], bitorder="little")[index * size % 8 :][:size]
    if len(bits) < size:
        return None
    again = base64.b64encode(np.packbits(bits, bitorder="little").tobytes()).decode()
    return Overlay(group, rows, columns, top, left, again)


def burn(image: Array, overlay: Overlay, colour: tuple[int, int, int] = (255, 255, 255)) -> Array:
    """The 8 bit image, gray or RGB, with the plane drawn into a copy of it."""
    packed = np.frombuffer(base64.b64decode(overlay.bits), np.uint8)
    plane = np.unpackbits(packed, bitorder="little")[: overlay.rows * overlay.columns]
    plane = plane.reshape(overlay.rows, overlay.columns).astype(bool)
    top, left = max(0, overlay.top), max(0, overlay.left)
    bottom = min(image.shape[0], overlay.top + overlay.rows)
    right = min(image.shape[1], overlay.left + overlay.columns)
    if bottom <= top or right <= left:
        return image
    seen = plane[top - overlay.top : bottom - overlay.top, left - overlay.left : right - overlay.left]
    out = image.copy()
    ink = colour if out.ndim == 3 else _luminance(colour)
    out[top:bottom, left:right][seen] = ink
    return out


def _luminance(colour: tuple[int, int, int]) -> int:
    red, green, blue = colour
    return round(0.299 * red + 0.587 * green + 0.114 * blue)


def _values(model: Json, tag: str) -> list[Any]:
    return list((model.get(tag) or {}).get("Value") or [])


def _number(model: Json, tag: str, otherwise: int) -> int:
    values = _values(model, tag)
    return values[0] if values and isinstance(values[0], int) else otherwise
