"""Frames into an encoding: RLE, JPEG, JPEG-LS, JPEG 2000, HTJ2K, JPEG XL.

DICOM PS3.5, 8.2 (encodings and what each may hold), A.4 (transfer syntaxes), G (RLE). Lossless ones give back every
value; lossy ones say so in the header. Runs in the process apart (`codec_worker`), for the encoders are C and C++.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from . import transfer_syntax as syntaxes
from .codec import Array, Undecodable, to_bytes
from .codec_colour import rgb_of_ybr
from .description import Description

_JPEG = "1.2.840.10008.1.2.4."
BASELINE, EXTENDED = f"{_JPEG}50", f"{_JPEG}51"
LOSSLESS, LOSSLESS_SV1 = f"{_JPEG}57", f"{_JPEG}70"
LS, LS_NEAR = f"{_JPEG}80", f"{_JPEG}81"
J2K, J2K_LOSSY = f"{_JPEG}90", f"{_JPEG}91"
HTJ2K, HTJ2K_RPCL, HTJ2K_ANY, JXL = f"{_JPEG}201", f"{_JPEG}202", f"{_JPEG}203", f"{_JPEG}110"
FRAMED = (
    syntaxes.ENCAPSULATED,
    syntaxes.DEFLATED_FRAMES,
)  # the bytes of native frames: any integers, single bits too

# What Lossy Image Compression Method (0028,2114) says of each that loses something (PS3.3, C.7.6.1.1.5.1).
LOSSY_METHODS = {
    BASELINE: "ISO_10918_1",
    EXTENDED: "ISO_10918_1",
    LS_NEAR: "ISO_14495_1",
    J2K_LOSSY: "ISO_15444_1",
}
_QUALITY = 92
_NEAR = 2  # the most that a value of JPEG-LS near-lossless is off
_FINENESS = 400.0  # of lossy JPEG 2000: into so many steps the range of values is divided
_MOST_BITS = 24  # of JPEG 2000: the encoder cuts off what is above, without a word
_MOST_SEGMENTS = 15  # of RLE (PS3.5, G.4)


def targets() -> frozenset[str]:
    """The compressed transfer syntaxes that can be written."""
    return frozenset(_ENCODERS)


def may_hold(description: Description, target: str) -> bool:
    """Whether the standard lets this encoding hold such pixels, and an encoder here makes it (PS3.5, 8.2)."""
    if target not in _ENCODERS or description.kind != "integer":
        return False
    if target in FRAMED:  # PS3.5, 8.2.16 and A.4.11: whatever the numbers are
        return True
    if description.bits_allocated < 8:
        return False
    from pydicom.pixels.encoders.base import ENCODING_PROFILES

    if target in (HTJ2K, HTJ2K_RPCL, HTJ2K_ANY):
        return description.bits_stored == description.bits_allocated in (8, 16) and description.samples in (
            1,
            3,
        )
    if target == JXL:  # of what Supplement 232 allows, what has no sign
        colours = ("RGB",) if description.samples == 3 else ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
        return (
            not description.signed and description.bits_allocated <= 16 and description.photometric in colours
        )
    if target in (J2K, J2K_LOSSY) and not 2 <= description.bits_stored <= _MOST_BITS:
        return False
    if target in (LOSSLESS, LOSSLESS_SV1) and description.bits_stored < 2:
        return False
    photometric = _kept_colour(description.photometric, target)
    return any(
        (photometric, description.samples) == profile[:2]
        and int(description.signed) in profile[2]
        and description.bits_allocated in profile[3]
        and description.bits_stored in profile[4]
        for profile in ENCODING_PROFILES[target]
    )


def encode(array: Array, description: Description, target: str) -> tuple[bytes, Description]:
    """The frame in the target's encoding, and what is true of it then. Raises Undecodable."""
    if not may_hold(description, target):
        raise Undecodable("this encoding cannot hold such pixels")
    colour = _kept_colour(description.photometric, target)
    if colour != description.photometric and description.photometric.startswith("YBR"):
        array = rgb_of_ybr(array, description.photometric)
    # A copy has the strides that C expects, also where a side is one pixel.
    array = array.copy(order="C")
    try:
        content = _ENCODERS[target](array, replace(description, photometric=colour))
    except (ValueError, RuntimeError) as error:
        raise Undecodable(type(error).__name__) from error
    now = replace(description, transfer_syntax=target, photometric=colour, planar=0)
    return content, now


def _kept_colour(photometric: str, target: str) -> str:
    """The photometric interpretation once it is encoded."""
    if photometric in ("YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"):
        photometric = "YBR_FULL" if "FULL" in photometric else "RGB"  # as `decode` gives them
    if photometric in ("RGB", "YBR_FULL"):
        if target == BASELINE:
            return "YBR_FULL_422"
        if photometric == "RGB" and target in (J2K, J2K_LOSSY):
            return "YBR_RCT" if target == J2K else "YBR_ICT"
    return photometric


def _jpeg(array: Array, description: Description) -> bytes:
    if array.ndim == 3:
        out = io.BytesIO()
        Image.fromarray(array, "RGB").save(out, "JPEG", quality=_QUALITY, subsampling="4:2:2")
        return out.getvalue()
    return _imagecodecs_jpeg(array, level=_QUALITY)


def _jpeg_extended(array: Array, description: Description) -> bytes:
    return _imagecodecs_jpeg(array, level=_QUALITY, bitspersample=8 if description.bits_stored == 8 else 12)


def _jpeg_lossless(array: Array, description: Description) -> bytes:
    """With predictor 1, which both of its transfer syntaxes allow. JPEG knows no sign: the bits go as they are."""
    bits = description.bits_stored
    unsigned = array.view(f"u{array.dtype.itemsize}") & np.array((1 << bits) - 1, f"u{array.dtype.itemsize}")
    if bits <= 8:
        unsigned = unsigned.astype(np.uint8)
    # No conversion: the components go as they are, whatever colours they are said to be.
    options: dict[str, Any] = {"colorspace": "RGB", "outcolorspace": "RGB"} if array.ndim == 3 else {}
    return _imagecodecs_jpeg(unsigned, lossless=True, predictor=1, bitspersample=bits, **options)


def _imagecodecs_jpeg(array: Array, **options: Any) -> bytes:
    from imagecodecs import jpeg8_encode

    return bytes(jpeg8_encode(array, **options))


def _jpeg_ls(array: Array, description: Description) -> bytes:
    if description.bits_stored != description.bits_allocated or array.ndim != 2:
        return _by_pydicom(LS, array, description)
    from imagecodecs import jpegls_encode  # has room for what does not shrink; knows whole bytes only

    return bytes(jpegls_encode(array.view(f"u{array.dtype.itemsize}")))


def _jpeg_ls_near(array: Array, description: Description) -> bytes:
    return _by_pydicom(LS_NEAR, array, description, jls_error=_NEAR)


def _jpeg_2000(array: Array, description: Description) -> bytes:
    return _openjpeg(array, description, level=0, reversible=True)


def _jpeg_2000_lossy(array: Array, description: Description) -> bytes:
    """As far from the values as a small part of the range that they truly use, whatever Bits Stored allows."""
    spread = max(float(array.max()) - float(array.min()), 1.0)
    level = 20 * math.log10(((1 << description.bits_stored) - 1) * _FINENESS / spread)
    return _openjpeg(array, description, level=round(level), reversible=False)


def _openjpeg(array: Array, description: Description, **options: Any) -> bytes:
    from imagecodecs import jpeg2k_encode

    return bytes(
        jpeg2k_encode(
            array,
            codecformat="J2K",
            bitspersample=description.bits_stored,
            resolutions=min(6, min(array.shape[:2]).bit_length()),
            mct=description.photometric in ("YBR_RCT", "YBR_ICT"),
            **options,
        )
    )


def _by_pydicom(target: str, array: Array, description: Description, **options: Any) -> bytes:
    from pydicom.pixels import get_encoder
    from pydicom.uid import UID

    return bytes(
        get_encoder(UID(target)).encode(
            array,
            rows=array.shape[0],
            columns=array.shape[1],
            number_of_frames=1,
            samples_per_pixel=description.samples,
            bits_allocated=description.bits_allocated,
            bits_stored=description.bits_stored,
            pixel_representation=int(description.signed),
            photometric_interpretation=description.photometric,
            planar_configuration=0,
            **options,
        )
    )


def _htj2k(array: Array, description: Description) -> bytes:
    from imagecodecs import htj2k_encode

    planes = np.ascontiguousarray(np.moveaxis(array, -1, 0)) if array.ndim == 3 else array
    options: dict[str, Any] = {"planar": True, "rgb": False} if array.ndim == 3 else {}
    # Resolution first, lengths of the parts ahead, the least of 64 pixels: what .202 asks for (PS3.5, A.4.4.4), and
    # the other two allow.
    levels = max(5, math.ceil(math.log2(max(*array.shape[:2], 64) / 64)))
    return bytes(htj2k_encode(planes, reversible=True, tlm=True, resolutions=levels, **options))


def _native(array: Array, description: Description) -> bytes:
    if description.bits_allocated == 1:
        return np.packbits(array.ravel(), bitorder="little").tobytes()
    return to_bytes(array)


def _deflated(array: Array, description: Description) -> bytes:
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(_native(array, description)) + deflater.flush()


def _jpeg_xl(array: Array, description: Description) -> bytes:
    from imagecodecs import jpegxl_encode

    return bytes(jpegxl_encode(array, lossless=True, bitspersample=description.bits_stored))


def _rle(array: Array, description: Description) -> bytes:
    """PS3.5, G: the planes of bytes, the high one first, each row packed for itself."""
    from imagecodecs import packbits_encode

    size = array.dtype.itemsize
    planes = array[:, :, None] if array.ndim == 2 else array
    if planes.shape[2] * size > _MOST_SEGMENTS:
        raise Undecodable("RLE has fifteen segments at most")
    octets = planes.astype(planes.dtype.newbyteorder(">"), copy=False)
    octets = np.ascontiguousarray(octets).view(np.uint8).reshape(*planes.shape, size)
    segments = []
    for sample in range(planes.shape[2]):
        for byte in range(size):
            packed = bytes(packbits_encode(octets[:, :, sample, byte].copy()))
            segments.append(packed + b"\0" * (len(packed) % 2))
    offsets, at = [], 64
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    head = np.array([len(segments), *offsets, *[0] * (15 - len(offsets))], "<u4").tobytes()
    return head + b"".join(segments)


_ENCODERS: dict[str, Callable[[Array, Description], bytes]] = {
    syntaxes.RLE: _rle,
    BASELINE: _jpeg,
    EXTENDED: _jpeg_extended,
    LOSSLESS: _jpeg_lossless,
    LOSSLESS_SV1: _jpeg_lossless,
    LS: _jpeg_ls,
    LS_NEAR: _jpeg_ls_near,
    J2K: _jpeg_2000,
    J2K_LOSSY: _jpeg_2000_lossy,
    HTJ2K: _htj2k,
    HTJ2K_RPCL: _htj2k,
    HTJ2K_ANY: _htj2k,
    syntaxes.ENCAPSULATED: _native,
    syntaxes.DEFLATED_FRAMES: _deflated,
    JXL: _jpeg_xl,
}
