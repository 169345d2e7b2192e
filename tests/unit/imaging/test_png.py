"""PNG files that others read as they were meant."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageCms

from server.imaging.png import png


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)))
def test_gray(pixels: np.ndarray) -> None:
    read = Image.open(io.BytesIO(png(Image.fromarray(pixels))))
    assert read.mode == "L"
    assert np.array_equal(np.asarray(read), pixels)


@given(st.integers(1, 30), st.integers(1, 30), st.randoms(use_true_random=False))
def test_colour(width: int, height: int, random) -> None:
    pixels = np.frombuffer(random.randbytes(width * height * 3), np.uint8).reshape(height, width, 3)
    read = Image.open(io.BytesIO(png(Image.fromarray(pixels))))
    assert read.mode == "RGB"
    assert np.array_equal(np.asarray(read), pixels)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_profile_is_kept(mode: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    read = Image.open(io.BytesIO(png(Image.new(mode, (4, 3), 7 if mode == "L" else (1, 2, 3)), profile)))
    read.load()
    assert read.info["icc_profile"] == profile
