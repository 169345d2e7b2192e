"""Where frames lie in the patient, which of them lie in the same plane, and how one's pixels fall on another's.

DICOM PS3.3, C.7.6.2 (Image Plane), C.7.6.16.2 (planes of multi-frame images), C.8.8.3.2 (Grid Frame Offset Vector),
C.7.4.1 (Frame of Reference). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .description import functional_groups
from .dicom_json import Json
from .model_values import items, numbers_in, values

Vector = NDArray[np.float64]
Affine = tuple[float, float, float, float, float, float]

_PARALLEL = 0.999  # cosine of the angle between two planes
_SAME = 1e-3  # millimetres
_LEAST = 0.5  # millimetres that two planes may be apart at least
_LEAST_SPACING, _MOST_SPACING = 1e-5, 1e4  # millimetres between pixels


@dataclass(frozen=True)
class Plane:
    """A frame in the patient's space, in millimetres."""

    reference: str  # Frame of Reference UID
    origin: Vector  # the middle of the first pixel
    across: Vector  # along a row
    down: Vector  # along a column
    spacing: tuple[float, float]  # between rows, between columns
    rows: int
    columns: int
    thickness: float

    @property
    def normal(self) -> Vector:
        """What stands upright on the plane."""
        found: Vector = np.cross(self.across, self.down)
        return found


def plane_of(model: Json, frame: int) -> Plane | None:
    """The plane of a frame (from 1); None where the object does not say where it lies."""
    groups = functional_groups(model, frame)
    measures, position, turn = (
        next(iter(items(groups, tag)), model) for tag in ("00289110", "00209113", "00209116")
    )  # pixel measures, plane position, plane orientation
    origin, turned = _lengths(position, "00200032"), _lengths(turn, "00200037")
    spacing, reference = _lengths(measures, "00280030"), values(model, "00200052")
    size = [*_lengths(model, "00280010")[:1], *_lengths(model, "00280011")[:1]]
    if len(origin) != 3 or len(turned) != 6 or len(spacing) != 2 or len(size) != 2 or not reference:
        return None
    across, down = np.array(turned[:3]), np.array(turned[3:])
    lengths = float(np.linalg.norm(across)), float(np.linalg.norm(down))
    if not all(_LEAST_SPACING < each < _MOST_SPACING for each in spacing) or min(size) <= 0:
        return None
    if not all(0.9 < length < 1.1 for length in lengths):
        return None
    at = np.array(origin)
    if position is model:
        shift = _shift(model, frame)
        if shift is None:
            return None
        at = at + shift * np.cross(across, down)
    thickness = max([0.0, *_lengths(measures, "00180050")[:1], *_lengths(measures, "00180088")[:1]])
    return Plane(
        str(reference[0]), at, across / lengths[0], down / lengths[1], (spacing[0], spacing[1]),
        int(size[0]), int(size[1]), thickness,
    )  # fmt: skip


def _shift(model: Json, frame: int) -> float | None:
    """How far from the image's position a frame lies: a dose says it of each, one image alone lies there."""
    offsets = _lengths(model, "3004000C")
    if offsets:
        return offsets[frame - 1] - offsets[0] if frame <= len(offsets) else None
    return 0.0 if (_lengths(model, "00280008") or [1.0])[0] <= 1 else None


class Stack:
    """Planes among which the one is sought that another plane lies in. Some may not say where they lie."""

    def __init__(self, planes: Sequence[Plane | None]) -> None:
        self.planes = planes
        held = [(number, plane) for number, plane in enumerate(planes) if plane is not None]
        self._numbers = np.array([number for number, _ in held], int)
        self._references = np.array([plane.reference for _, plane in held], object)
        self._origins = np.array([plane.origin for _, plane in held]).reshape(-1, 3)
        self._normals = np.array([plane.normal for _, plane in held]).reshape(-1, 3)
        self._thick = np.array([plane.thickness for _, plane in held], float)

    def __bool__(self) -> bool:
        """Whether any of them says where it lies."""
        return bool(self._numbers.size)

    def nearest(self, plane: Plane) -> list[int] | None:
        """Which of them the plane lies in: none, one, or several that lie at the same place.

        None: none of them is of its frame of reference and parallel to it.
        """
        normal = plane.normal
        fits = (self._references == plane.reference) & (np.abs(self._normals @ normal) > _PARALLEL)
        if not fits.any():
            return None
        heights = (self._origins[fits] - plane.origin) @ normal
        steps = np.diff(np.unique(np.round(heights, 3)))
        far = np.abs(heights)
        best = int(np.argmin(far))
        step = float(np.median(steps)) if steps.size else 0.0
        apart = max(step, float(self._thick[fits][best]), plane.thickness, 2 * _LEAST) / 2
        if far[best] > apart + _SAME:
            return []
        return [int(n) for n in self._numbers[fits][np.abs(heights - heights[best]) <= _SAME]]


def affine(plane: Plane, other: Plane) -> Affine:
    """From columns and rows of the plane (corners, not middles) to those of the other; as Pillow takes it."""
    scale = 1 / np.array([other.spacing[1], other.spacing[0]])
    axes = np.stack([other.across, other.down])
    turn = scale[:, None] * (
        axes @ np.stack([plane.across * plane.spacing[1], plane.down * plane.spacing[0]], 1)
    )
    move = scale * (axes @ (plane.origin - other.origin)) + 0.5 - turn @ np.array([0.5, 0.5])
    a, b, c, d, e, f = (float(x) for x in (*turn[0], move[0], *turn[1], move[1]))
    return a, b, c, d, e, f


def _lengths(model: Json, tag: str) -> list[float]:
    """Numbers that something in a patient may have; none of them where one is absurd."""
    found = numbers_in(model, tag)
    return found if all(abs(number) < 1e7 for number in found) else []
