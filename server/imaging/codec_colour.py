"""Colours: YBR of its kinds as RGB.

DICOM PS3.3, C.7.6.3.1.2 (photometric interpretation).
"""

from __future__ import annotations

import numpy as np

from .codec import Array


def rgb_of_ybr(array: Array, photometric: str) -> Array:
    """8 bits a sample, three samples a pixel."""
    y, cb, cr = (array[:, :, n].astype(np.float32) for n in range(3))
    if "PARTIAL" in photometric:
        y, scale = (y - 16.0) * (255.0 / 219.0), 255.0 / 224.0
        cb, cr = (cb - 128.0) * scale, (cr - 128.0) * scale
    else:
        cb, cr = cb - 128.0, cr - 128.0
    rgb = np.stack((y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb), axis=-1)
    out: Array = np.clip(rgb + 0.5, 0, 255).astype(np.uint8)
    return out
