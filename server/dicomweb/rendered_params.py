"""How a picture is to be made: the parameters of the rendered resources and of WADO-URI, parsed once.

DICOM PS3.18, 8.3.5 (rendering parameters): viewport, window, quality, annotation, iccprofile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from server.core.errors import InvalidInput

MAX_SIDE = 8192  # pixels of a viewport
_FUNCTIONS = ("linear", "linear-exact", "sigmoid")
_ANNOTATIONS = frozenset({"patient", "technique"})
_PROFILES = ("no", "yes", "srgb", "adobergb", "rommrgb", "displayp3")


@dataclass(frozen=True)
class Viewport:
    """The size of the picture, and the part of the image that is to be in it (PS3.18, 8.3.5.1.3)."""

    width: int
    height: int
    left: float = 0.0
    top: float = 0.0
    region_width: float | None = None  # None: to the right edge; below zero: mirrored
    region_height: float | None = None


@dataclass(frozen=True)
class Window:
    """Window Center, Window Width and the VOI LUT function (PS3.18, 8.3.5.1.4)."""

    center: float
    width: float
    function: str = "linear"


@dataclass(frozen=True)
class RenderedQuery:
    """What was asked of a rendered resource."""

    viewport: Viewport | None = None
    window: Window | None = None
    quality: int | None = None
    annotation: frozenset[str] = frozenset()
    iccprofile: str = "no"


def parse(parameters: Mapping[str, str]) -> RenderedQuery:
    """Raises InvalidInput with what the parameter wants."""
    return RenderedQuery(
        viewport=_viewport(parameters["viewport"]) if parameters.get("viewport") else None,
        window=_window(parameters["window"]) if parameters.get("window") else None,
        quality=quality(parameters["quality"]) if parameters.get("quality") else None,
        annotation=annotation(parameters.get("annotation", "")),
        iccprofile=_profile(parameters.get("iccprofile", "no")),
    )


def _viewport(text: str) -> Viewport:
    wanted = f"viewport wants vw,vh[,sx,sy,sw,sh]: sides of 1 to {MAX_SIDE}, and a region of the image."
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 6):
        raise InvalidInput(wanted)
    sides = [_number(part, wanted) for part in parts[:2]]
    if not all(side.is_integer() and 1 <= side <= MAX_SIDE for side in sides):
        raise InvalidInput(wanted)
    region = [_number(part, wanted) if part else None for part in parts[2:]] or [None] * 4
    left, top, width, height = region
    if width == 0 or height == 0 or (left or 0) < 0 or (top or 0) < 0:
        raise InvalidInput(wanted)
    return Viewport(int(sides[0]), int(sides[1]), left or 0.0, top or 0.0, width, height)


def _window(text: str) -> Window:
    wanted = "window wants center,width[,linear|linear-exact|sigmoid], the width above zero."
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 3):
        raise InvalidInput(wanted)
    return window(parts[0], parts[1], parts[2].lower() if len(parts) == 3 else "linear", wanted)


def window(center: str, width: str, function: str, wanted: str) -> Window:
    """A window of its numbers as text; `wanted` is the sentence when they are none."""
    found = Window(_number(center, wanted), _number(width, wanted), function)
    if found.width <= 0 or function not in _FUNCTIONS or (function == "linear" and found.width < 1):
        raise InvalidInput(wanted)
    return found


def quality(text: str) -> int:
    """PS3.18, 8.3.5.1.2: 1 to 100."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 100):
        raise InvalidInput("quality wants a whole number from 1 to 100.")
    return int(text)


def annotation(text: str) -> frozenset[str]:
    """PS3.18, 8.3.5.1.1; others than the two of the standard are left out, as it allows."""
    return frozenset(part.strip().lower() for part in text.split(",")) & _ANNOTATIONS


def _profile(text: str) -> str:
    if text.lower() not in _PROFILES:
        raise InvalidInput(f"iccprofile wants one of {', '.join(_PROFILES)}.")
    return text.lower()


def _number(text: str, wanted: str) -> float:
    try:
        value = float(text) if len(text) <= 32 and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > 1e9:
        raise InvalidInput(wanted)
    return value
