"""Which image of one set lies on which of another: the frames of a blending, put together.

DICOM PS3.3, C.11.14.1.1: the standard leaves to the receiver how the sets are related. They are here by their frame of
reference and their planes; images that do not say where they lie only when each set is a single one. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from .blending import Blend, Input, Layer, NotBlended, Plan
from .catalogue import InstanceRow
from .description import functional_groups, model_of
from .geometry import Plane, Stack, affine, plane_of
from .model_values import items, number_in

MOST = 2000  # frames of one set

Frame = tuple[InstanceRow, int]


def frames_in(wanted: Input, rows: Mapping[str, InstanceRow]) -> list[Frame]:
    """The frames of a set that are held, in the set's order. Raises NotBlended when they are too many."""
    found: dict[tuple[str, int], Frame] = {}
    for row, numbers in _named(wanted, rows):
        for number in numbers:
            found[row.sop_uid, number] = row, number
            if len(found) > MOST:
                raise NotBlended(f"This blending state is for more than {MOST} frames.")
    return list(found.values())


def _named(wanted: Input, rows: Mapping[str, InstanceRow]) -> Iterator[tuple[InstanceRow, Iterable[int]]]:
    """Which frames of which images; of a range of a thousand million, no more are made than are looked at."""
    if not wanted.images:
        yield from ((row, range(1, row.frame_count + 1)) for row in rows.values())
    for each in wanted.images:
        row = rows.get(each.sop_uid)
        if row is None or row.series_uid != each.series_uid:
            continue
        every = range(1, row.frame_count + 1)
        if each.segments:
            yield row, _of_segments(row, every[: MOST + 1], each.segments)
        else:
            yield row, (number for number in each.frames if number in every) if each.frames else every


def _of_segments(row: InstanceRow, frames: Iterable[int], segments: Sequence[int]) -> Iterator[int]:
    model = model_of(row.metadata)
    for number in frames:
        groups = functional_groups(model, number)
        found = [number_in(item, "0062000B") for item in items(groups, "0062000A")]
        if found and found[0] in segments:
            yield number


def blends(plan: Plan, sets: Mapping[int, list[Frame]]) -> Iterator[tuple[InstanceRow, int, Blend]]:
    """Each frame of the base with what lies on it. Raises NotBlended where that cannot be told."""
    inputs = {each.number: each for each in plan.inputs}
    planes = {number: _planes(frames) for number, frames in sets.items()}
    stacks = {number: Stack(found) for number, found in planes.items() if number != plan.base}
    for (row, frame), plane in zip(sets[plan.base], planes[plan.base], strict=True):
        layers = {}
        for number, stack in stacks.items():
            at = _nearest(plane, stack, alone=len(sets[plan.base]) == 1 == len(sets[number]))
            if at is None:
                continue
            over, other = sets[number][at], stack.planes[at]
            state = inputs[number].state(over[0].sop_uid, over[1])
            laid = affine(plane, other) if plane is not None and other is not None else None
            layers[number] = Layer(replace(over[0], metadata=b""), over[1], state, laid)
        base = inputs[plan.base].state(row.sop_uid, frame)
        yield row, frame, Blend(plan.base, base, layers, plan.steps)


def _nearest(plane: Plane | None, stack: Stack, *, alone: bool) -> int | None:
    """The place in the set of what lies on the plane; None: nothing does."""
    if plane is None or not stack:
        if alone:
            return 0
        raise NotBlended(
            "These images do not say where in the patient they lie; nobody knows what lies on what."
        )
    found = stack.nearest(plane)
    if found is None:
        raise NotBlended(
            "The sets to be blended lie in different frames of reference, or in planes that are not parallel;"
            " registrations and other planes are not computed here."
        )
    if len(found) > 1:
        raise NotBlended("Several images of one set lie at the same place; which is meant cannot be told.")
    return found[0] if found else None


def _planes(frames: Sequence[Frame]) -> list[Plane | None]:
    found: list[Plane | None] = []
    for row, group in groupby(frames, key=lambda frame: frame[0]):
        model = model_of(row.metadata)
        found += [plane_of(model, number) for _, number in group]
    return found
