"""Pictures: the pipelines of PS3.3 and PS3.4, on arrays whose outcome is known."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from server.imaging.codec import Undecodable, native
from server.imaging.description import Description, Table
from server.imaging.picture import Look, picture, shown

RAMP = np.arange(256, dtype="<u2").reshape(16, 16)
GRAY = Description("1.2.840.10008.1.2.1", 16, 16, bits_allocated=16, bits_stored=16)


def gray(description: Description = GRAY, **look: object) -> np.ndarray:
    array, now = native(RAMP.tobytes(), description)
    return shown(array, now, Look(**look)).ravel()  # type: ignore[arg-type]


def test_without_a_window_all_values_are_seen() -> None:
    assert gray().tolist() == list(range(256))


def test_linear_window() -> None:
    """PS3.3, C.11.2.1.2.1: center 2048 and width 4096 take 0 to 0 and 4095 to 255."""
    described = replace(GRAY, slope=16.0, windows=[(2048.0, 4096.0)])
    out = gray(described)
    assert (out[0], out[-1]) == (0, 254)
    narrow = gray(center=100.0, window=1.0)
    assert set(narrow[:99]) == {0}
    assert set(narrow[101:]) == {255}


def test_linear_exact_and_sigmoid() -> None:
    exact = gray(center=128.0, window=256.0, function="LINEAR_EXACT")
    assert (exact[0], exact[128], exact[255]) == (0, 128, 254)
    sigmoid = gray(center=128.0, window=256.0, function="SIGMOID")
    assert sigmoid[128] == 128
    assert 0 < sigmoid[0] < sigmoid[64] < 128 < sigmoid[255] < 255


def test_monochrome1_and_presentation_lut_shape() -> None:
    assert gray(replace(GRAY, photometric="MONOCHROME1"))[0] == 255
    assert gray(replace(GRAY, inverse=True))[0] == 255
    assert gray(replace(GRAY, photometric="MONOCHROME1", inverse=True))[0] == 0


def test_voi_and_modality_tables() -> None:
    halves = Table(0, 8, [0] * 128 + [255] * 128)
    assert gray(replace(GRAY, voi_table=halves)).tolist() == [0] * 128 + [255] * 128
    turned = Table(0, 16, list(range(255, -1, -1)))
    assert gray(replace(GRAY, modality_table=turned)).tolist() == list(range(255, -1, -1))


def test_bits_that_are_not_stored_do_not_count() -> None:
    noisy = (RAMP | 0xF000).tobytes()
    array, _ = native(noisy, replace(GRAY, bits_stored=12))
    assert array.max() == 255
    signed, _ = native((RAMP | 0x0800).tobytes(), replace(GRAY, bits_stored=12, signed=True))
    assert signed.min() == -2048


def test_palette() -> None:
    tables = [
        Table(0, 16, [n << 8 for n in range(256)]),
        Table(0, 16, [0] * 256),
        Table(0, 16, [65535] * 256),
    ]
    described = replace(GRAY, photometric="PALETTE COLOR", palette=tables)
    array, now = native(RAMP.tobytes(), described)
    out = shown(array, now, Look())
    assert out[0, 5].tolist() == [5, 0, 255]


@pytest.mark.parametrize("planar", [0, 1])
def test_colours(planar: int) -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[..., 0] = 200
    stored = pixels.transpose(2, 0, 1) if planar else pixels
    described = Description("x", 2, 2, samples=3, photometric="RGB", planar=planar)
    array, now = native(np.ascontiguousarray(stored).tobytes(), described)
    assert shown(array, now, Look())[0, 0].tolist() == [200, 0, 0]


def test_ybr() -> None:
    """PS3.3, C.7.6.3.1.2: Y=76, Cb=85, Cr=255 is red."""
    described = Description("x", 1, 2, samples=3, photometric="YBR_FULL")
    array, now = native(bytes([76, 85, 255] * 2), described)
    assert shown(array, now, Look())[0, 0].tolist() == [254, 0, 0]
    half = replace(described, photometric="YBR_FULL_422")
    array, now = native(bytes([76, 76, 85, 255]), half)
    assert shown(array, now, Look())[0, 1].tolist() == [254, 0, 0]


def size_of(look: Look, description: Description = GRAY) -> tuple[int, int]:
    array, now = native(RAMP.tobytes(), description)
    return Image.open(io.BytesIO(picture(array, now, look))).size


def test_viewport() -> None:
    """PS3.18, 8.3.5.1.3: as large as the viewport allows, the shape kept."""
    assert size_of(Look()) == (16, 16)
    assert size_of(Look(width=64, height=32)) == (32, 32)
    assert size_of(Look(width=8, height=8)) == (8, 8)
    assert size_of(Look(width=32, height=32, region=(0.0, 0.0, 8.0, 4.0))) == (32, 16)
    assert size_of(Look(region=(14.0, 14.0, 500.0, 500.0))) == (2, 2)
    assert size_of(Look(region=(100.0, 100.0, 5.0, -5.0))) == (1, 1)


def test_pixels_that_are_not_square() -> None:
    assert size_of(Look(width=64, height=64), replace(GRAY, aspect=(2.0, 1.0))) == (32, 64)


@pytest.mark.parametrize("format", ["jpeg", "png", "gif"])
def test_formats(format: str) -> None:
    array, now = native(RAMP.tobytes(), GRAY)
    found = Image.open(io.BytesIO(picture(array, now, Look(format=format))))
    assert str(found.format).lower() == format


def test_what_cannot_be_shown() -> None:
    with pytest.raises(Undecodable):
        native(b"\0" * 10, GRAY)
    with pytest.raises(Undecodable):
        native(b"\0" * 1000, replace(GRAY, bits_allocated=12))


def test_floats() -> None:
    pixels = np.linspace(-1, 1, 256, dtype="<f4")
    described = replace(GRAY, kind="float", bits_allocated=32)
    array, now = native(pixels.tobytes(), described)
    out = shown(array, now, Look()).ravel()
    assert (out[0], out[255]) == (0, 255)
