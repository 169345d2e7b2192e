"""Frames out of their encoding: numbers in an array, colours as RGB.

DICOM PS3.5, 8.2 (native and encapsulated encodings). The decoders are pydicom's plugins over Pillow, GDCM, OpenJPEG,
CharLS, and libjpeg-turbo by imagecodecs for JPEG of more than 8 bits: each is C or C++ that met bad input before, so
this runs in a process of its own (`codec_worker`).
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import transfer_syntax as syntaxes
from .description import Description
from .overlays import revealed

Array = NDArray[Any]

MAX_PIXELS = 400_000_000  # of one frame

# Which plugin first; those not named are not asked (pylibjpeg-libjpeg is not used: it is under the GPL).
_JPEG = "1.2.840.10008.1.2.4."
_TURBO, _PART_2, _XL = "libjpeg-turbo", "openjpeg", "libjxl"  # by imagecodecs: no plugins of pydicom's
_DEFLATE, _NONE = "zlib", "none"
_PLUGINS: dict[str, tuple[str, ...]] = {
    syntaxes.DEFLATED_FRAMES: (_DEFLATE,),
    syntaxes.ENCAPSULATED: (_NONE,),
    "1.2.840.10008.1.2.5": ("gdcm", "pydicom"),
    f"{_JPEG}50": ("pillow", "gdcm"),
    f"{_JPEG}51": (_TURBO, "gdcm", "pillow"),
    f"{_JPEG}57": (_TURBO, "gdcm"),
    f"{_JPEG}70": (_TURBO, "gdcm"),
    f"{_JPEG}80": ("pyjpegls", "gdcm"),
    f"{_JPEG}81": ("pyjpegls", "gdcm"),
    f"{_JPEG}90": ("pylibjpeg", "gdcm", "pillow"),
    f"{_JPEG}91": ("pylibjpeg", "gdcm", "pillow"),
    f"{_JPEG}92": (_PART_2,),
    f"{_JPEG}93": (_PART_2,),
    **{f"{_JPEG}{n}": (_XL,) for n in (110, 111, 112)},
    f"{_JPEG}201": ("pylibjpeg",),
    f"{_JPEG}202": ("pylibjpeg",),
    f"{_JPEG}203": ("pylibjpeg",),
}


class Undecodable(Exception):
    """No decoder could read this frame."""


def can_decode(transfer_syntax: str) -> bool:
    """Whether there is a decoder for it."""
    return transfer_syntax in _PLUGINS


def decode(frame: bytes, description: Description) -> tuple[Array, Description]:
    """The frame as an array (rows, columns[, samples]) and what is true of it now. Raises Undecodable."""
    _require_size(description)
    if can_decode(description.transfer_syntax):
        return _compressed(frame, description)
    return native(frame, description)


def native(frame: bytes, description: Description) -> tuple[Array, Description]:
    """An uncompressed frame in little endian."""
    _require_size(description)
    if description.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
        return _shaped(bits[: description.rows * description.columns], description)
    dtype = _dtype(description)
    if description.photometric == "YBR_FULL_422":
        return _half_chroma(np.frombuffer(frame, dtype), description)
    usable = len(frame) // dtype.itemsize * dtype.itemsize
    return _shaped(np.frombuffer(frame[:usable], dtype), description)


def _require_size(description: Description) -> None:
    if not 0 < description.rows * description.columns * description.samples <= MAX_PIXELS:
        raise Undecodable("the frame has no size, or too large a one")


def _dtype(description: Description) -> np.dtype[Any]:
    if description.kind != "integer":
        return np.dtype("<f4" if description.kind == "float" else "<f8")
    size = {8: 1, 16: 2, 32: 4, 64: 8}.get(description.bits_allocated)
    if size is None:
        raise Undecodable("the pixels have an odd number of bits")
    return np.dtype(f"<{'i' if description.signed else 'u'}{size}")


def _shaped(values: Array, description: Description) -> tuple[Array, Description]:
    rows, columns, samples = description.rows, description.columns, description.samples
    wanted = rows * columns * samples
    if len(values) * 2 < wanted:
        raise Undecodable("most of the frame is missing")
    if len(values) < wanted:  # cut off: what is missing is black
        values = np.concatenate([values, np.zeros(wanted - len(values), values.dtype)])
    values = values[:wanted]
    array: Array
    if samples == 1:
        array = values.reshape(rows, columns)
    elif description.planar == 1:
        array = values.reshape(samples, rows, columns).transpose(1, 2, 0)
    else:
        array = values.reshape(rows, columns, samples)
    now = replace(description, planar=0, high_bit=None)
    if description.hidden and array.ndim == 2 and description.kind == "integer":
        now = replace(now, overlays=[*now.overlays, *revealed(array, description.hidden)], hidden=[])
    return _stored_bits(array, description), now


def _stored_bits(array: Array, description: Description) -> Array:
    """The bits above Bits Stored are not part of the value: some hold overlays, some the sign twice (PS3.5, 8.1.1)."""
    spare = description.bits_allocated - description.bits_stored
    if description.kind != "integer" or spare <= 0 or description.bits_allocated == 1:
        return array
    high = description.high_bit
    above = spare if high is None else max(0, description.bits_allocated - 1 - high)
    trimmed: Array = np.right_shift(np.left_shift(array, min(above, spare)), spare)
    return trimmed


def _half_chroma(values: Array, description: Description) -> tuple[Array, Description]:
    """PS3.3, C.7.6.3.1.2: Y1 Y2 Cb Cr for each two pixels of a row."""
    rows, columns = description.rows, description.columns
    if len(values) < rows * columns * 2:
        raise Undecodable("the frame is cut off")
    groups = values[: rows * columns * 2].reshape(-1, 4)
    array = np.empty((len(groups), 2, 3), values.dtype)
    array[:, 0, 0], array[:, 1, 0] = groups[:, 0], groups[:, 1]
    array[:, :, 1] = groups[:, 2:3]
    array[:, :, 2] = groups[:, 3:4]
    return array.reshape(rows, columns, 3), replace(description, photometric="YBR_FULL", planar=0)


def _compressed(frame: bytes, description: Description) -> tuple[Array, Description]:
    trouble: Exception | None = None
    for plugin in _PLUGINS[description.transfer_syntax]:
        try:
            if plugin in _OWN:
                return _OWN[plugin](frame, description)
            return _by_pydicom(plugin, frame, description)
        except Exception as error:
            trouble = error
    raise Undecodable(type(trouble).__name__ if trouble else "there is no decoder for it")


def _by_pydicom(plugin: str, frame: bytes, description: Description) -> tuple[Array, Description]:
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    decoder = get_decoder(description.transfer_syntax)
    if plugin not in decoder.available_plugins:
        raise Undecodable("this decoder is not installed")
    source = encapsulate([frame], has_bot=False)
    with warnings.catch_warnings():
        # A compressed frame may happen to be as long as it was uncompressed; that says nothing.
        warnings.filterwarnings("ignore", "The number of bytes of compressed pixel data matches")
        array, said = decoder.as_array(source, index=0, decoding_plugin=plugin, **_options(description))
    return _read(array, said, description)


def _by_turbo(frame: bytes, description: Description) -> tuple[Array, Description]:
    """JPEG of up to 16 bits by libjpeg-turbo. JPEG knows no sign: the bits are what they were before."""
    from imagecodecs import jpeg8_decode

    is_lossy = description.transfer_syntax == f"{_JPEG}51"
    if description.samples != 1 and is_lossy:
        raise Undecodable("its colours are another decoder's")
    raw: dict[str, Any] = {"colorspace": "RGB", "outcolorspace": "RGB"} if description.samples == 3 else {}
    array = np.asarray(jpeg8_decode(frame, **raw))
    return _fitted(array, description)


def _by_openjpeg(frame: bytes, description: Description) -> tuple[Array, Description]:
    """JPEG 2000 Part 2, of which single images are as those of Part 1; colours come as RGB."""
    from imagecodecs import jpeg2k_decode

    return _fitted(np.asarray(jpeg2k_decode(frame)), _as_rgb(description))


def _by_libjxl(frame: bytes, description: Description) -> tuple[Array, Description]:
    """JPEG XL; colours come as RGB."""
    from imagecodecs import jpegxl_decode

    return _fitted(np.asarray(jpegxl_decode(frame)), _as_rgb(description))


def _as_rgb(description: Description) -> Description:
    return replace(description, photometric="RGB") if description.samples == 3 else description


def _fitted(array: Array, description: Description) -> tuple[Array, Description]:
    """The array as the header says it is. Raises Undecodable where it is not."""
    wanted = (description.rows, description.columns, *([3] if description.samples == 3 else []))
    if array.shape != wanted or array.dtype.itemsize * 8 > max(8, description.bits_allocated):
        raise Undecodable("the frame is not what its header says")
    if array.dtype.kind == "i":
        array = array.astype(_dtype(description))
    else:
        array = array.astype(_dtype(replace(description, signed=False))).view(_dtype(description))
    now = replace(description, transfer_syntax="1.2.840.10008.1.2.1", planar=0, high_bit=None)
    return _stored_bits(array, now), now


def _by_zlib(frame: bytes, description: Description) -> tuple[Array, Description]:
    """PS3.5, 8.2.16: the bytes of a native frame, deflated; no more of them than a frame has."""
    bits = description.rows * description.columns * description.samples * description.bits_allocated
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, max(1, -(-bits // 8)))
    return native(inflated, replace(description, transfer_syntax=syntaxes.EXPLICIT))


_OWN: dict[str, Callable[[bytes, Description], tuple[Array, Description]]] = {
    _TURBO: _by_turbo,
    _PART_2: _by_openjpeg,
    _XL: _by_libjxl,
    _DEFLATE: _by_zlib,
    _NONE: lambda frame, description: native(frame, replace(description, transfer_syntax=syntaxes.EXPLICIT)),
}


def _options(description: Description) -> dict[str, Any]:
    return {
        "rows": description.rows,
        "columns": description.columns,
        "samples_per_pixel": description.samples,
        "photometric_interpretation": description.photometric,
        "bits_allocated": description.bits_allocated,
        "bits_stored": description.bits_stored,
        "pixel_representation": int(description.signed),
        "planar_configuration": description.planar,
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }


def _read(array: Array, said: dict[str, Any], description: Description) -> tuple[Array, Description]:
    now = replace(
        description,
        transfer_syntax="1.2.840.10008.1.2.1",
        rows=array.shape[0],
        columns=array.shape[1],
        photometric=str(said.get("photometric_interpretation", description.photometric)),
        bits_allocated=array.dtype.itemsize * 8,
        bits_stored=min(int(said.get("bits_stored", description.bits_stored)), array.dtype.itemsize * 8),
        planar=0,
        high_bit=None,
    )
    return array, now


def packed(array: Array, description: Description) -> bytes:
    """`to_bytes`, single bits eight to a byte. Raises Undecodable where a frame of bits does not end with a byte."""
    if description.bits_allocated != 1:
        return to_bytes(array)
    if array.size % 8:
        raise Undecodable("frames of single bits do not begin with a byte each")
    return np.packbits(array.ravel(), bitorder="little").tobytes()


def to_bytes(array: Array) -> bytes:
    """The array as native little endian pixels, colour by pixel."""
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).tobytes()
