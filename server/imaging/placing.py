"""Which image of one set lies on which of another: the frames of a blending, put together.

DICOM PS3.3, C.11.14.1.1: the standard leaves to the receiver how the sets are related. They are here by their frame of
reference and their planes; images that do not say where they lie only when each set is a single one. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .blending import Blend, Input, Layer, NotBlended, Plan
from .catalogue import InstanceRow
from .description import functional_groups, model_of
from .geometry import Plane, Stack, affine, plane_of
from .model_values import first, items, number_in

MOST = 2000  # frames of one set
MOST_LOOKED = 32_000  # frames that are looked at for one state, in all of its sets together

_TOO_MANY = f"A set of this blending state is for more than {MOST} frames, or too many are to be looked at."

Frame = tuple[InstanceRow, int]


@dataclass(frozen=True)
class Lying:
    """What an object says of some of its frames, by their numbers: where they lie, and of which segment they are."""

    planes: Mapping[int, Plane | None]
    segments: Mapping[int, float | None]
    burned: bool  # words may lie in its pixels: it does not say that there are none


def candidates(wanted: Input, rows: Mapping[str, InstanceRow]) -> dict[str, list[int]]:
    """Which frames of which held images a set may be for, in its order; segments are not looked at yet.

    Raises NotBlended when they are too many to be looked at, or one image is named twice.
    """
    uids = [each.sop_uid for each in wanted.images]
    if len(set(uids)) < len(uids):
        raise NotBlended("A set of this blending state names one image twice.")
    found: dict[str, list[int]] = {}
    looked, chosen = 0, 0
    for row, numbers, of_segments in _named(wanted, rows):
        every = range(1, row.frame_count + 1)
        kept: dict[int, None] = {}
        for number in numbers:
            if number in every:
                kept[number] = None
            looked, most = looked + 1, MOST - chosen
            if looked > MOST_LOOKED or (not of_segments and len(kept) > most):
                raise NotBlended(_TOO_MANY)
        chosen += 0 if of_segments else len(kept)
        found[row.sop_uid] = list(kept)
    return found


def _named(
    wanted: Input, rows: Mapping[str, InstanceRow]
) -> Iterator[tuple[InstanceRow, Iterable[int], bool]]:
    """Which frames of which images; of a range of a thousand million, no more are made than are looked at."""
    if not wanted.images:
        yield from ((row, range(1, row.frame_count + 1), False) for row in rows.values())
    for each in wanted.images:
        row = rows.get(each.sop_uid)
        if row is not None and row.series_uid == each.series_uid:
            every = range(1, row.frame_count + 1)
            yield row, (each.frames or every) if not each.segments else every, bool(each.segments)


def all_candidates(plan: Plan, held: Mapping[int, Mapping[str, InstanceRow]]) -> dict[str, list[int]]:
    """The frames of every image that any set may be for, each once. Raises NotBlended when they are too many."""
    found: dict[str, dict[int, None]] = {}
    for wanted in plan.inputs:
        for sop_uid, numbers in candidates(wanted, held[wanted.number]).items():
            found.setdefault(sop_uid, {}).update(dict.fromkeys(numbers))
        if sum(map(len, found.values())) > MOST_LOOKED:
            raise NotBlended(_TOO_MANY)
    return {sop_uid: list(numbers) for sop_uid, numbers in found.items()}


def lying_of(metadata: bytes, numbers: Iterable[int]) -> Lying:
    """What is needed of an object's header, and no more of it is held."""
    model = model_of(metadata)
    planes, segments = {}, {}
    for number in numbers:
        planes[number] = plane_of(model, number)
        named = items(functional_groups(model, number), "0062000A")
        segments[number] = number_in(named[0], "0062000B") if named else None
    return Lying(planes, segments, first(model, "00280301") != "NO")


def frames_in(wanted: Input, rows: Mapping[str, InstanceRow], lying: Mapping[str, Lying]) -> list[Frame]:
    """The frames of a set that are held, in the set's order. Raises NotBlended when they are too many."""
    segments = {each.sop_uid: frozenset(each.segments) for each in wanted.images if each.segments}
    found = [
        (rows[sop_uid], number)
        for sop_uid, numbers in candidates(wanted, rows).items()
        if sop_uid in lying
        for number in numbers
        if sop_uid not in segments or lying[sop_uid].segments.get(number) in segments[sop_uid]
    ]
    if len(found) > MOST:
        raise NotBlended(_TOO_MANY)
    return found


def blends(
    plan: Plan, sets: Mapping[int, list[Frame]], lying: Mapping[str, Lying]
) -> Iterator[tuple[InstanceRow, int, Blend]]:
    """Each frame of the base with what lies on it. Raises NotBlended where that cannot be told."""
    inputs = {each.number: each for each in plan.inputs}
    planes = {number: _planes(frames, lying) for number, frames in sets.items()}
    stacks = {number: Stack(found) for number, found in planes.items() if number != plan.base}
    for (row, frame), plane in zip(sets[plan.base], planes[plan.base], strict=True):
        layers = {}
        for number, stack in stacks.items():
            at = _nearest(plane, stack, alone=len(sets[plan.base]) == 1 == len(sets[number]))
            if at is None:
                continue
            (over, over_frame), other = sets[number][at], stack.planes[at]
            laid = affine(plane, other) if plane is not None and other is not None else None
            layers[number] = Layer(over, over_frame, laid, lying[over.sop_uid].burned)
        yield row, frame, Blend(plan.base, layers, plan.steps, inputs)


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


def _planes(frames: Sequence[Frame], lying: Mapping[str, Lying]) -> list[Plane | None]:
    return [lying[row.sop_uid].planes.get(frame) for row, frame in frames]
