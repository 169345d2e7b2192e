"""Where one image's pixels fall on another's."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import orjson
import pytest

from server.imaging.blending import Input, NotBlended, fallen
from server.imaging.catalogue import InstanceRow
from server.imaging.geometry import Stack, affine, plane_of
from server.imaging.placing import candidates, frames_in, lying_of
from server.imaging.presentation import Reference


def model(
    position: list[float], turn: list[float], spacing: float = 1.0, side: int = 4, **more: Any
) -> dict[str, Any]:
    given = {
        "00200032": position, "00200037": turn, "00280030": [spacing, spacing], "00200052": ["1.2"],
        "00280010": [side], "00280011": [side], **more,
    }  # fmt: skip
    return {tag: {"vr": "DS", "Value": values} for tag, values in given.items()}


AXIAL = [1.0, 0, 0, 0, 1, 0]
BASE = plane_of(model([0, 0, 0], AXIAL), 1)


def laid(values: np.ndarray, held: dict[str, Any]) -> np.ndarray:
    """The gray values as they fall on four by four pixels of 1 mm; 0 where there is nothing."""
    over = plane_of(held, 1)
    assert BASE is not None
    assert over is not None
    pixels = np.dstack([values.astype(np.uint8)] * 3 + [np.full(values.shape, 255, np.uint8)])
    out = fallen(pixels, affine(BASE, over), 4, 4)
    return np.where(out[..., 3] > 128, out[..., 0], 0)


def test_turned_mirrored_moved_and_of_another_spacing():
    """PS3.3, C.7.6.2.1.1: a pixel's place by position, orientation and spacing."""
    ramp = np.arange(1, 17).reshape(4, 4)
    assert np.array_equal(laid(ramp, model([0, 0, 0], AXIAL)), ramp)
    assert np.array_equal(laid(ramp, model([3, 0, 0], [-1, 0, 0, 0, 1, 0])), ramp[:, ::-1])
    assert np.array_equal(laid(ramp, model([0, 0, 0], [0, 1, 0, 1, 0, 0])), ramp.T)
    assert np.array_equal(laid(ramp, model([1, 2, 0], AXIAL))[2:, 1:], ramp[:2, :3])
    coarse = laid(np.array([[10, 10], [200, 200]]), model([0.5, 0.5, 0], AXIAL, 2.0, 2))
    assert coarse[0].tolist() == [10] * 4
    assert coarse[3].tolist() == [200] * 4


def test_the_nearest_slice():
    slices = [plane_of(model([0, 0, 3.0 * n], AXIAL), 1) for n in range(3)]

    def near(z: float, turn: list[float] = AXIAL) -> list[int] | None:
        plane = plane_of(model([0, 0, z], turn), 1)
        assert plane is not None
        return Stack([*slices, None]).nearest(plane)

    assert [near(0.1), near(1.6), near(7.4), near(8.0)] == [[0], [1], [2], []]
    assert near(0, [-1, 0, 0, 0, 1, 0]) == [0]  # seen from behind it is the same plane
    assert near(0, [1, 0, 0, 0, 0, 1]) is None
    assert not Stack([None])


def test_frames_of_a_dose_and_of_what_does_not_say():
    """PS3.3, C.8.8.3.2: each plane of a dose by its offset; frames of others only by functional groups."""
    dose = model([0, 0, 10], AXIAL, **{"3004000C": [0, 2.5, 5], "00280008": [3]})
    heights = [found and found.origin[2] for found in (plane_of(dose, n) for n in (1, 2, 3, 4))]
    assert heights == [10, 12.5, 15, None]
    assert plane_of(model([0, 0, 0], AXIAL, **{"00280008": [3]}), 2) is None
    for junk in (["x"], [1e30, 0, 0], [], [0, 0]):
        assert plane_of(model(junk, AXIAL), 1) is None
    assert plane_of(model([0, 0, 0], [0.0] * 6), 1) is None
    with pytest.raises(NotBlended):
        fallen(np.zeros((2, 2, 4), np.uint8), None, 4, 4)


def row(sop: str, frames: int, metadata: dict[str, Any] | None = None) -> InstanceRow:
    names = {each.name: None for each in fields(InstanceRow)}
    given = {
        "series_uid": "1.4",
        "sop_uid": sop,
        "frame_count": frames,
        "metadata": orjson.dumps(metadata or {}),
    }
    return InstanceRow(**{**names, **given})  # type: ignore[arg-type]


def test_the_frames_of_a_set():
    """C.11.14: frames and segments that are named; a whole series; no more than can be looked at."""
    groups = [
        {"0062000A": {"vr": "SQ", "Value": [{"0062000B": {"vr": "US", "Value": [segment]}}]}}
        for segment in (1, 2, 2, 3)
    ]
    rows = {
        "1": row("1", 4, {"52009230": {"vr": "SQ", "Value": groups}}),
        "2": row("2", 2),
        "3": row("3", 10**9),
    }

    def named(*images: Reference, of: str | None = None) -> list[tuple[str, int]]:
        wanted = Input(1, "1.2", of, list(images), {}, None)
        lying = {
            uid: lying_of(rows[uid].metadata, numbers) for uid, numbers in candidates(wanted, rows).items()
        }
        return [(found.sop_uid, number) for found, number in frames_in(wanted, rows, lying)]

    assert named(Reference("1.4", "1", segments=(2,))) == [("1", 2), ("1", 3)]
    assert named(Reference("1.4", "2"), Reference("1.4", "1", (4, 9, 4))) == [
        ("2", 1),
        ("2", 2),
        ("1", 4),
    ]
    assert named(Reference("1.5", "2"), Reference("1.4", "missing")) == []
    for images, series in (((), "1.4"), ((Reference("1.4", "3"),), None)):
        with pytest.raises(NotBlended):
            named(*images, of=series)
    twice = (Reference("1.4", "2"), Reference("1.4", "2", (1,)))
    much = (Reference("1.4", "2", (9,) * 40_000),), (Reference("1.4", "3", segments=(1,)),)
    for images in (twice, *much):
        with pytest.raises(NotBlended):
            named(*images)
