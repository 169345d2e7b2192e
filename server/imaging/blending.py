"""Blending presentation states: which sets of images are laid over each other, and how.

DICOM PS3.3, A.33.4 and C.11.14 (two sets, one in colours over the other), A.33.7, C.11.33 and C.11.34 (any number of
inputs, step by step); PS3.4, N.2.4 and N.2.6 (what becomes of the pixels). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.core.errors import NotAcceptable

from .catalogue import InstanceRow
from .chosen import Chosen
from .description import Table, palette_of
from .dicom_json import Json
from .geometry import Affine
from .model_values import first, items, number_in
from .presentation import (
    ADVANCED_BLENDING,
    Reference,
    State,
    images_in,
    references_in,
    tones,
)

Array = NDArray[Any]

OVER, FOREGROUND, EQUAL = "OVER", "FOREGROUND", "EQUAL"  # the first is that of two sets
_MOST_INPUTS = 16
_YES = ("TRUE", "YES")


class NotBlended(NotAcceptable):
    """This blending is not made here; the images can be had one by one."""


@dataclass(frozen=True)
class Input:
    """A set of images: these, or all of a series."""

    number: int
    study_uid: str
    series_uid: str | None
    images: list[Reference]
    model: Json  # what says how they are windowed
    palette: list[Table] | None  # their colours

    def state(self, sop_uid: str, frame: int) -> State:
        """How one of the frames is toned; its pixels stay where they are."""
        voi, modality = self._chosen
        found = voi.item(sop_uid, frame) or {}
        return tones(found, modality.item(sop_uid, frame) or self.model, self.palette)

    @cached_property
    def _chosen(self) -> tuple[Chosen, Chosen]:
        return Chosen(self.model, "00283110"), Chosen(self.model, "00283001")


@dataclass(frozen=True)
class Step:
    """Inputs, or what came of earlier steps, become one."""

    mode: str
    inputs: list[int]
    opacity: float = 1.0  # of the first
    result: int | None = None  # its number for later steps; None: what is shown


@dataclass(frozen=True)
class Plan:
    """What a state wants to be blended. The base's pixels are those of the picture."""

    inputs: list[Input]
    base: int
    steps: list[Step]


@dataclass(frozen=True)
class Layer:
    """A frame that is laid on the base; how its pixels fall on it (None: as they are)."""

    row: InstanceRow
    frame: int
    affine: Affine | None
    burned: bool  # words may lie in its pixels


@dataclass(frozen=True)
class Blend:
    """One picture: which set is the base, what is laid on it, and in what order; how each set is toned."""

    base: int
    layers: Mapping[int, Layer]
    steps: Sequence[Step]
    inputs: Mapping[int, Input]

    @property
    def facts(self) -> list[tuple[int, bytes, int]]:
        """What tells this from another picture by the same state, beside its base."""
        return [(number, layer.row.sha256, layer.frame) for number, layer in sorted(self.layers.items())]


def plan_of(model: Json, sop_class: str) -> Plan:
    """Raises NotBlended for what the state does not say, or wants and is not made here."""
    return _advanced(model) if sop_class == ADVANCED_BLENDING else _of_two(model)


def _of_two(model: Json) -> Plan:
    """C.11.14: the superimposed set goes through the state's palette."""
    found: dict[str, Json] = {str(first(item, "00700405")): item for item in items(model, "00700402")}
    under, over = found.get("UNDERLYING"), found.get("SUPERIMPOSED")
    opacity = number_in(model, "00700403")
    colours = palette_of(model)
    if under is None or over is None or opacity is None or colours is None:
        raise NotBlended("This blending state lacks one of its sets, its opacity, or its palette.")
    inputs = [
        Input(n, str(first(item, "0020000D")), None, references_in(item), item, palette)
        for n, item, palette in ((1, under, None), (2, over, colours))
    ]
    if not all(each.images for each in inputs):
        raise NotBlended("This blending state does not say which images it is for.")
    return Plan(inputs, 1, [Step(OVER, [2, 1], _part(opacity))])


def _advanced(model: Json) -> Plan:
    """C.11.33 and C.11.34, without thresholds, series in time, and optical paths."""
    sets = items(model, "00701B01")
    steps = [_step(item) for item in items(model, "00701B04")]
    if not 0 < len(sets) <= _MOST_INPUTS or not 0 < len(steps) <= _MOST_INPUTS:
        raise NotBlended("This blending state says nothing of its inputs, or is for too many of them.")
    for item in sets:
        if items(item, "00701B11") or str(first(item, "00701B07")).upper() in _YES:
            raise NotBlended("Inputs that are cut at a threshold, or change in time, are not blended here.")
        if any("006A000E" in image for image in items(item, "00081140")) or "006A000E" in item:
            raise NotBlended("Optical paths of a microscope are not blended here.")
    inputs = [_input(item) for item in sets]
    shown = [each.number for each, item in zip(inputs, sets, strict=True) if _is_base(item)]
    plan = Plan(inputs, (shown or [inputs[0].number])[0], steps)
    _require_order(plan)
    return plan


def _is_base(item: Json) -> bool:
    return str(first(item, "00701B08")).upper() in _YES  # Geometry for Display


def _input(item: Json) -> Input:
    number, series = number_in(item, "00701B02"), first(item, "0020000E")
    if number is None or not isinstance(series, str):
        raise NotBlended("An input of this blending state has no number, or no series.")
    palette = palette_of(next(iter(items(item, "00480120")), item))
    images = images_in(item, series)
    return Input(int(number), str(first(item, "0020000D")), series, images, item, palette)


def _step(item: Json) -> Step:
    inputs = [number_in(each, "00701B02") for each in items(item, "00701B03")][:_MOST_INPUTS]
    mode, opacity, result = (
        str(first(item, "00701B06")),
        number_in(item, "00700403"),
        number_in(item, "00701B02"),
    )
    whole = [int(number) for number in inputs if number is not None]
    if mode not in (FOREGROUND, EQUAL) or not whole or (mode == FOREGROUND and len(whole) != 2):
        raise NotBlended(
            "A step of this blending state is of an unknown mode, or has the wrong number of inputs."
        )
    return Step(mode, whole, _part(opacity), None if result is None else int(result))


def _require_order(plan: Plan) -> None:
    """Each step takes what is there by then; the last, and it alone, has no number and is what is shown."""
    numbers = [each.number for each in plan.inputs]
    numbers += [step.result for step in plan.steps if step.result is not None]
    if len(set(numbers)) < len(numbers):
        raise NotBlended("A number stands for two inputs or results of this blending state.")
    there = {each.number for each in plan.inputs}
    for step in plan.steps:
        if not set(step.inputs) <= there:
            raise NotBlended("A step of this blending state takes what is not there.")
        there |= {step.result} if step.result is not None else set()
    if [step.result is None for step in plan.steps] != [False] * (len(plan.steps) - 1) + [True]:
        raise NotBlended("Not the last step alone of this blending state is the one that is shown.")


def _part(opacity: float | None) -> float:
    return max(0.0, min(1.0, opacity if opacity is not None else 1.0))


def fallen(pixels: Array, affine: Affine | None, rows: int, columns: int) -> Array:
    """A layer's pixels (rows, columns, RGBA) as they fall on the base; transparent beyond their edge."""
    if affine is None and pixels.shape[:2] == (rows, columns):
        return pixels
    if affine is None:
        raise NotBlended("These images are not of one size, and do not say where they lie.")
    image = Image.fromarray(pixels, "RGBA")
    way = Image.Resampling.BILINEAR
    return np.asarray(image.transform((columns, rows), Image.Transform.AFFINE, affine, way))


def mixed(layers: Mapping[int, Array], steps: Sequence[Step]) -> Array:
    """The layers (rows, columns, RGBA) as one RGB image (PS3.4, N.2.4.3 and N.2.6); what is nowhere is black."""
    there = dict(layers)
    for step in steps:
        inputs = [there[number] for number in step.inputs if number in there]
        if not inputs:
            continue
        made = inputs[0] if len(inputs) == 1 and step.mode != OVER else _mix(inputs, step)
        if step.result is None:
            return _shown(made)
        there[step.result] = made
    return _shown(next(iter(layers.values())))


def _shown(made: Array) -> Array:
    return np.where(made[..., 3:] >= 128, made[..., :3], 0).astype(np.uint8)


def _mix(inputs: Sequence[Array], step: Step) -> Array:
    if step.mode == OVER:
        under = inputs[-1][..., :3].astype(np.float32)
        part = (inputs[0][..., 3:] * np.float32(step.opacity / 255)) if len(inputs) == 2 else np.float32(0)
        colours = inputs[0][..., :3] * part + under * (1 - part)
        return _with_alpha(colours, np.full(under.shape[:2], True))
    held = [each[..., 3] >= 128 for each in inputs]
    if step.mode == FOREGROUND:
        one, other = (each[..., :3].astype(np.float32) for each in inputs)
        both = one * np.float32(step.opacity) + other * np.float32(1 - step.opacity)
        alone = np.where(held[0][..., None], one, other)
        return _with_alpha(np.where((held[0] & held[1])[..., None], both, alone), held[0] | held[1])
    count: Array = np.stack(held).sum(axis=0, dtype=np.float32)
    total = sum(
        (each[..., :3] * mask[..., None].astype(np.float32)) for each, mask in zip(inputs, held, strict=True)
    )
    mean = np.asarray(total) / np.maximum(count, 1)[..., None]
    return _with_alpha(mean, np.greater(count, 0))


def _with_alpha(colours: Array, held: Array) -> Array:
    eight = np.clip(np.rint(colours), 0, 255).astype(np.uint8)
    return np.dstack([eight, np.where(held, 255, 0).astype(np.uint8)])
