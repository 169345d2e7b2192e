"""A small film for tests: H.264 of uncompressed macroblocks in an MP4 container, made here for want of an encoder.

ITU-T H.264, 7.3 (syntax; I_PCM, 7.3.5), Annex A.2.1 (baseline profile); ISO/IEC 14496-12 (boxes), 14496-15 (avcC).
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import pack

import numpy as np

_RATE = 10  # frames a second


def film(frames: int = 5, side: int = 64) -> bytes:
    """An MP4 of gray frames with a pattern, brighter and brighter; every browser that plays H.264 plays it."""
    sets = [_parameters(side), _nal(0x68, "1" + "1" + "0" * 2 + "1" * 3 + "000" + "11" + "1" + "000")]
    pictures = [_picture(number, frames, side) for number in range(frames)]
    samples = [pack(">I", len(each)) + each for each in pictures]
    head = _box("ftyp", b"mp42\0\0\0\0mp42isom")
    size = len(_movie(samples, sets, side, 0))
    return head + _movie(samples, sets, side, len(head) + size + 8) + _box("mdat", *samples)


def _parameters(side: int) -> bytes:
    """7.3.2.1: profile 66, level 2.0; each picture is a key frame, whose order is that of decoding."""
    blocks = _ue(side // 16 - 1)
    return _nal(
        0x67, "010000101100000000010100" + _ue(0) + _ue(0) + _ue(2) + _ue(0) + "0" + blocks * 2 + "1100"
    )


def _picture(number: int, frames: int, side: int) -> bytes:
    """7.3.3: an IDR slice (type 7: all I) with a bare macroblock for every 16 by 16 pixels."""
    bits = _ue(0) + _ue(7) + _ue(0) + "0000" + _ue(number % 2) + "00" + _se(0)
    light = 100 * (number + 1) // frames
    body = (
        np.concatenate([np.arange(256) // 2 + 16 + light, np.full(128, 128)]).clip(16, 235).astype(np.uint8)
    )
    pieces = []
    for _ in range((side // 16) ** 2):
        bits += _ue(25)  # I_PCM
        bits += "0" * (-len(bits) % 8)
        pieces.append(bits)
        bits = ""
    coded = b"".join(_octets(each) + body.tobytes() for each in pieces)
    return b"\x65" + _escaped(coded + b"\x80")


def _nal(kind: int, bits: str) -> bytes:
    bits += "1"
    return bytes([kind]) + _escaped(_octets(bits + "0" * (-len(bits) % 8)))


def _octets(bits: str) -> bytes:
    return int("1" + bits, 2).to_bytes(len(bits) // 8 + 1, "big")[1:] if bits else b""


def _ue(value: int) -> str:
    """9.1: unsigned Exp-Golomb."""
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def _se(value: int) -> str:
    return _ue(2 * value - 1 if value > 0 else -2 * value)


def _escaped(content: bytes) -> bytes:
    """7.4.1: three bytes that could be taken for a start code are kept apart."""
    out, zeros = bytearray(), 0
    for byte in content:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def _box(name: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return pack(">I4s", len(body) + 8, name.encode()) + body


def _full(name: str, *content: bytes, flags: int = 0) -> bytes:
    return _box(name, pack(">I", flags), *content)


def _movie(samples: Iterable[bytes], sets: list[bytes], side: int, first: int) -> bytes:
    sizes = [len(each) for each in samples]
    count, matrix = len(sizes), pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    config = pack(">6B", 1, 66, 0xC0, 20, 0xFF, 0xE1) + pack(">H", len(sets[0])) + sets[0]
    config += pack(">BH", 1, len(sets[1])) + sets[1]
    entry = _box(
        "avc1",
        bytes(6)
        + pack(">H", 1)
        + bytes(16)
        + pack(">HHIIIH", side, side, 0x480000, 0x480000, 0, 1)
        + bytes(32),
        pack(">Hh", 24, -1),
        _box("avcC", config),
    )
    table = _box(
        "stbl",
        _full("stsd", pack(">I", 1), entry),
        _full("stts", pack(">III", 1, count, 1)),
        _full("stsc", pack(">IIII", 1, 1, count, 1)),
        _full("stsz", pack(">II", 0, count), *(pack(">I", size) for size in sizes)),
        _full("stco", pack(">II", 1, first)),
    )
    data = _box("dinf", _full("dref", pack(">I", 1), _full("url ", flags=1)))
    media = _box(
        "mdia",
        _full("mdhd", pack(">IIIIHH", 0, 0, _RATE, count, 0x55C4, 0)),
        _full("hdlr", pack(">I", 0), b"vide", bytes(12), b"film\0"),
        _box("minf", _full("vmhd", bytes(8), flags=1), data, table),
    )
    header = pack(">IIIIII", 0, 0, 1, 0, count, 0) + bytes(4) + pack(">HHHH", 0, 0, 0, 0) + matrix
    track = _full("tkhd", header, pack(">II", side << 16, side << 16), flags=3)
    movie = (
        pack(">IIIIIH", 0, 0, _RATE, count, 0x10000, 0x100) + bytes(10) + matrix + bytes(24) + pack(">I", 2)
    )
    return _box("moov", _full("mvhd", movie), _box("trak", track, media))
