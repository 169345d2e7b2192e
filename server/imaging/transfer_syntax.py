"""What each transfer syntax means for reading and sending (PS3.5, 10 and A; PS3.18, 8.7.3)."""

from __future__ import annotations

from typing import NamedTuple

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
ENCAPSULATED = "1.2.840.10008.1.2.1.98"  # uncompressed frames, each a fragment (PS3.5, A.4.11)
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"  # PS3.5, A.4.13

ANY = "*"


class Encoding(NamedTuple):
    """How the data set is written."""

    implicit: bool
    big: bool
    deflated: bool


_NATIVE = {
    IMPLICIT: Encoding(True, False, False),
    EXPLICIT: Encoding(False, False, False),
    DEFLATED: Encoding(False, False, True),
    BIG_ENDIAN: Encoding(False, True, False),
    "1.2.840.113619.5.2": Encoding(True, False, False),  # GE private: big endian pixels
    ENCAPSULATED: Encoding(False, False, False),
}


def encoding(uid: str) -> Encoding:
    """The encoding of the data set; every syntax that is not named here is Explicit VR Little Endian."""
    return _NATIVE.get(uid, Encoding(False, False, False))


def is_native(uid: str) -> bool:
    """Whether the pixels are uncompressed."""
    return uid in (IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN)


# The media type of one frame's bytes as stored (PS3.18, Table 8.7.3-5).
_MEDIA = {
    RLE: "image/dicom-rle",
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70)), "image/jpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (80, 81)), "image/jls"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (90, 91)), "image/jp2"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (92, 93)), "image/jpx"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203)), "image/jphc"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (110, 111, 112)), "image/jxl"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (100, 101)), "video/mpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (102, 103, 104, 105, 106)), "video/mp4"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (107, 108)), "video/mp4"),
}


def media_type(uid: str) -> str:
    """The media type of one frame as it is stored."""
    return _MEDIA.get(uid, "application/octet-stream")


def video_types(uid: str) -> tuple[str, ...]:
    """What a film may be called, the default first: MPEG-2 has two names, HEVC one of its own."""
    default = media_type(uid)
    if default == "video/mpeg":
        return default, "video/mpeg2"
    return (default, "video/h265") if uid.endswith((".107", ".108")) else (default,)


def is_video(uid: str) -> bool:
    """Whether the pixel data are one stream, not frames that could be told apart."""
    return media_type(uid).startswith("video/")
