"""imaging/codec_encode.py: what goes into an encoding comes out of it (PS3.5, 8.2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from server.imaging.codec import Array, Undecodable, decode
from server.imaging.codec_encode import (
    BASELINE,
    EXTENDED,
    J2K_LOSSY,
    LOSSY_METHODS,
    LS_NEAR,
    encode,
    may_hold,
    targets,
)
from server.imaging.description import Description
from tests.drawn import examples
from tests.unit.imaging.samples import PYDICOM

LOSSLESS = sorted(targets() - set(LOSSY_METHODS))
# allocated, stored, signed
DEPTHS = [
    (8, 8, 0),
    (8, 8, 1),
    (8, 5, 0),
    (16, 16, 0),
    (16, 16, 1),
    (16, 12, 0),
    (16, 12, 1),
    (16, 10, 0),
    (32, 20, 1),
]
COLOURS = ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"]


def pixels(
    depth: tuple[int, int, int], colour: str, rows: int, columns: int, seed: int
) -> tuple[Array, Description]:
    allocated, stored, signed = depth
    samples = 3 if colour == "RGB" else 1
    low, high = (-(1 << stored - 1), (1 << stored - 1) - 1) if signed else (0, (1 << stored) - 1)
    shape = (rows, columns, 3) if samples == 3 else (rows, columns)
    values = np.random.default_rng(seed).integers(low, high, shape, endpoint=True)
    array = values.astype(f"{'i' if signed else 'u'}{allocated // 8}")
    described = Description(
        "1.2.840.10008.1.2.1", rows, columns, samples, colour, allocated, stored, bool(signed)
    )
    return array, described


@pytest.mark.parametrize("target", LOSSLESS)
@settings(max_examples=examples(12))
@given(
    st.sampled_from(DEPTHS),
    st.sampled_from(COLOURS),
    st.integers(8, 40),
    st.integers(8, 40),
    st.integers(0, 2**32 - 1),
)
@example((16, 10, 0), "MONOCHROME1", 9, 23, 0)  # as long as it was uncompressed, in JPEG 2000
@example((16, 12, 0), "MONOCHROME1", 25, 20, 5817)  # and in JPEG-LS
def test_lossless_gives_every_value_back(target, depth, colour, rows, columns, seed):
    array, description = pixels(depth, colour, rows, columns, seed)
    if not may_hold(description, target):
        with pytest.raises(Undecodable):
            encode(array, description, target)
        return
    try:
        content, now = encode(array, description, target)
    except Undecodable:
        assert target.endswith("4.80")  # CharLS has no room for noise that does not shrink
        assert array.size < 512
        return
    back, found = decode(content, now)
    assert np.array_equal(back, array)
    assert back.dtype == array.dtype
    assert found.photometric == colour


@pytest.mark.parametrize("target", LOSSLESS)
def test_the_usual_images_are_held(target):
    """8, 12 and 16 bits, signed CT, colour: what people have."""
    plain = [(8, 8, 0), (16, 16, 0), (16, 16, 1)] if ".20" in target else DEPTHS[:8]
    if target.endswith("110"):
        plain = [depth for depth in DEPTHS[:8] if not depth[2]]
    assert all(may_hold(pixels(depth, "MONOCHROME2", 4, 4, 0)[1], target) for depth in plain)
    assert may_hold(pixels((8, 8, 0), "RGB", 4, 4, 0)[1], target)


@pytest.mark.parametrize("target", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80",
                                    "1.2.840.10008.1.2.4.90"])  # fmt: skip
def test_other_decoders_read_it(target):
    """pydicom's own choice of decoder, which is not ours."""
    array, description = pixels((16, 12, 0), "MONOCHROME2", 33, 17, 5)
    content, _ = encode(array, description, target)
    decoder = get_decoder(UID(target))
    options = {
        "rows": 33, "columns": 17, "samples_per_pixel": 1, "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": 16, "bits_stored": 12, "pixel_representation": 0, "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }  # fmt: skip
    for plugin in decoder.available_plugins:
        back, _ = decoder.as_array(
            encapsulate([content], has_bot=False), index=0, decoding_plugin=plugin, **options
        )
        assert np.array_equal(back, array), plugin


def real(name: str) -> tuple[Array, Description]:
    data = pydicom.dcmread(next(PYDICOM.rglob(name)))
    stored, signed = data.BitsStored, bool(data.PixelRepresentation)
    described = Description(
        "1.2.840.10008.1.2.1", data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation,
        data.BitsAllocated, stored, signed,
    )  # fmt: skip
    return data.pixel_array, described


@pytest.mark.parametrize(
    ("target", "name", "error"),
    [
        (BASELINE, "examples_rgb_color.dcm", 24),
        (LS_NEAR, "CT_small.dcm", 2),
        (J2K_LOSSY, "CT_small.dcm", 60),
        (J2K_LOSSY, "examples_rgb_color.dcm", 24),
    ],
)
def test_lossy_stays_near(target, name, error):
    array, description = real(name)
    content, now = encode(array, description, target)
    back, _ = decode(content, now)
    assert len(content) < array.nbytes / 1.5
    assert np.percentile(abs(back.astype(int) - array.astype(int)), 99) <= error


def test_jpeg_2000_part_2_is_read():
    array, description = pixels((16, 12, 1), "MONOCHROME2", 20, 30, 1)
    content, now = encode(array, description, "1.2.840.10008.1.2.4.90")
    back, _ = decode(content, replace(now, transfer_syntax="1.2.840.10008.1.2.4.92"))
    assert np.array_equal(back, array)


def test_a_high_bit_that_is_higher():
    """PS3.5, 8.1.1: the stored bits lie below High Bit, wherever that is."""
    values = np.arange(64, dtype="<u2").reshape(8, 8)
    description = Description("1.2.840.10008.1.2.1", 8, 8, 1, "MONOCHROME2", 16, 12, high_bit=15)
    back, now = decode((values << 4 | 0xF).astype("<u2").tobytes(), description)
    assert np.array_equal(back, values)
    assert now.high_bit is None


def test_twelve_bits_in_jpeg_extended():
    values = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    description = Description("1.2.840.10008.1.2.1", 64, 64, 1, "MONOCHROME2", 16, 12)
    content, now = encode(values, description, EXTENDED)
    assert content[:2] == b"\xff\xd8"
    back, _ = decode(content, now)
    assert back.max() > 4000
    assert abs(back.astype(int) - values).max() < 20


@pytest.mark.parametrize(
    ("description", "target"),
    [
        (Description("1.2.840.10008.1.2.1", 4, 4, 1, "MONOCHROME2", 1, 1), "1.2.840.10008.1.2.5"),
        (
            Description("1.2.840.10008.1.2.1", 4, 4, 1, "MONOCHROME2", 32, 32, kind="float"),
            "1.2.840.10008.1.2.5",
        ),
        (Description("1.2.840.10008.1.2.1", 4, 4, 1, "PALETTE COLOR", 8, 8), BASELINE),
        (Description("1.2.840.10008.1.2.1", 4, 4, 1, "MONOCHROME2", 16, 16), BASELINE),
        (Description("1.2.840.10008.1.2.1", 4, 4, 1, "MONOCHROME2", 8, 8, signed=True), BASELINE),
        (Description("1.2.840.10008.1.2.1", 4, 4), "1.2.840.10008.1.2.4.100"),
    ],
)
def test_what_the_standard_forbids_is_not_made(description, target):
    assert not may_hold(description, target)
