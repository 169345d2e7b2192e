"""Images of discs, made block by block: ISO 9660 (ECMA-119) and UDF (ECMA-167)."""

from __future__ import annotations

import struct

SECTOR = 2048


def _record(name: bytes, sector: int, size: int, flags: int) -> bytes:
    length = 33 + len(name) + (33 + len(name)) % 2
    head = struct.pack("<BBI4xI4x7xBBBHH", length, 0, sector, size, flags, 0, 0, 1, 256)
    return (head + bytes([len(name)]) + name).ljust(length, b"\0")


def iso_of(files: dict[str, bytes]) -> bytes:
    """A disc image (ECMA-119) with these files at its top."""
    place, body, records = 20, b"", _record(b"\0", 19, SECTOR, 2) + _record(b"\1", 19, SECTOR, 2)
    for name, content in files.items():
        records += _record(name.encode() + b";1", place, len(content), 0)
        padded = content + bytes(-len(content) % SECTOR)
        body += padded
        place += len(padded) // SECTOR
    volume = bytearray(SECTOR)
    volume[:6] = b"\1CD001"
    struct.pack_into("<H", volume, 128, SECTOR)
    root = _record(b"\0", 19, SECTOR, 2)
    volume[156 : 156 + len(root)] = root
    end = (b"\xffCD001").ljust(SECTOR, b"\0")
    return bytes(16 * SECTOR) + bytes(volume) + end + bytes(SECTOR) + records.ljust(SECTOR, b"\0") + body


def udf_of(files: dict[str, bytes]) -> bytes:
    """A disc image of UDF alone, with a directory for the files, each kept in another of the ways there are."""
    disc = _Disc()
    disc.put(0, 256, {400: struct.pack("<IIH", SECTOR, 1, 0)})  # the file set: where the root is
    disc.free = 3
    entries = [_identifier(b"", 0b1010, 1), _identifier(_dstring("BILDER"), 0b10, 2)]
    inner = [_identifier(b"", 0b1010, 1), _identifier(_dstring("gone"), 0b100, 1)]
    for number, (name, content) in enumerate(files.items()):
        inner.append(_identifier(_dstring(name), 0, disc.keep(content, how=number % 3)))
    disc.put(1, 261, _entry(4, *disc.lay(b"".join(entries))))
    disc.put(2, 261, _entry(4, *disc.lay(b"".join(inner))))
    return disc.image()


def udf_that_repeats_itself(directories: int = 40, pieces: int = 200) -> bytes:
    """A small image whose directories are one block again and again: deleted names, and one of no ordinary kind."""
    disc = _Disc()
    disc.put(0, 256, {400: struct.pack("<IIH", SECTOR, 1, 0)})
    disc.put(2, 261, _entry(12, b"", 3, 0))
    name = _dstring("a" * 12) + b"\0"
    disc.free = 3
    same = [_identifier(name, 0, 2), *[_identifier(name, 0b100, 2)] * 31]
    short, _, size = disc.lay(b"".join(same))
    first = disc.free
    for number in range(directories):
        disc.put(first + number, 261, _entry(4, short * pieces, 0, size * pieces))
    disc.free += directories
    names = [_identifier(name, 0b10, first + number) for number in range(directories)]
    disc.put(1, 261, _entry(4, *disc.lay(b"".join(names))))
    return disc.image()


class _Disc:
    """Blocks of a partition, by their number."""

    START = 270

    def __init__(self) -> None:
        self.blocks: dict[int, bytes] = {}
        self.free = 0

    def put(self, block: int, kind: int, parts: dict[int, bytes]) -> None:
        self.blocks[block] = _descriptor(kind, parts)

    def lay(self, content: bytes) -> tuple[bytes, int, int]:
        """The content in blocks of its own: a short address, how that is told, the size."""
        first = self.free
        for at in range(0, max(1, len(content)), SECTOR):
            self.blocks[self.free] = content[at : at + SECTOR].ljust(SECTOR, b"\0")
            self.free += 1
        return struct.pack("<II", len(content), first), 0, len(content)

    def keep(self, content: bytes, how: int) -> int:
        """The block of the entry of a file: in two pieces, with long addresses, or within the entry."""
        block, self.free = self.free, self.free + 1
        if how == 2 and len(content) < 1500:
            self.put(block, 261, _entry(5, content, 3, len(content)))
        elif how == 1:
            short, _, size = self.lay(content)
            self.put(block, 266, _entry(5, short + struct.pack("<H6x", 0), 1, size, header=216))
        else:
            cut = len(content) // SECTOR // 2 * SECTOR
            one, _, _ = self.lay(content[:cut]) if cut else (b"", 0, 0)
            self.free += 1  # a gap
            two, _, _ = self.lay(content[cut:])
            self.put(block, 261, _entry(5, one + two, 0, len(content)))
        return block

    def image(self) -> bytes:
        volume = struct.pack("<IIH6x", SECTOR, 0, 0)
        whole = {16 + number: b"\0" + name for number, name in enumerate((b"BEA01", b"NSR02", b"TEA01"))}
        whole[32] = _descriptor(5, {22: struct.pack("<H", 0), 188: struct.pack("<I", self.START)})
        plain = struct.pack("<BBHH", 1, 6, 1, 0)
        whole[33] = _descriptor(6, {248: volume, 264: struct.pack("<II", 6, 1), 440: plain})
        whole[34] = _descriptor(8, {})
        whole[256] = _descriptor(2, {16: struct.pack("<II", 3 * SECTOR, 32)})
        whole |= {self.START + number: block for number, block in self.blocks.items()}
        return b"".join(whole.get(number, b"").ljust(SECTOR, b"\0") for number in range(max(whole) + 1))


def _descriptor(kind: int, parts: dict[int, bytes]) -> bytes:
    block = bytearray(SECTOR)
    struct.pack_into("<HH", block, 0, kind, 2)
    for at, content in parts.items():
        block[at : at + len(content)] = content
    block[4] = sum(block[:4] + block[5:16]) & 0xFF
    return bytes(block)


def _entry(kind: int, listed: bytes, how: int, size: int, header: int = 176) -> dict[int, bytes]:
    return {
        27: bytes([kind]),
        34: struct.pack("<H", how),
        56: struct.pack("<Q", size),
        header - 8: struct.pack("<II", 0, len(listed)),
        header: listed,
    }


def _dstring(name: str) -> bytes:
    return b"\x10" + name.encode("utf-16-be")


def _identifier(name: bytes, marks: int, block: int) -> bytes:
    """A file identifier (ECMA-167 4/14.4)."""
    parts = {18: bytes([marks, len(name)]), 20: struct.pack("<IIH", SECTOR, block, 0), 38: name}
    return _descriptor(257, parts)[: (38 + len(name) + 3) // 4 * 4]
