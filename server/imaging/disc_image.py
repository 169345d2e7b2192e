"""The files inside an image of a disc (.iso): ISO 9660 (ECMA-119) with its Joliet names, else UDF (ECMA-167).

Nothing is unpacked: a file is where it lies in the image, in one or several pieces, and read from there. Of UDF what
discs are written with is read: plain partitions, files in pieces or inside their entry; no virtual, sparable or
metadata partitions, which is said.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from server.core.errors import InvalidInput

SECTOR = 2048
FIRST_DESCRIPTOR = 16
MOST_DESCRIPTORS = 64
MOST_FILES = 200_000
MOST_DEPTH = 64
MOST_DIRECTORY = 64 * 2**20
# Two names may stand for the same bytes; a disc that holds much more than itself is made to do harm.
MOST_TIMES = 4
HIDDEN = ("\0", "\x01")  # a directory itself, and the one above it
_UDF_MARKS = (b"BEA01", b"NSR02", b"NSR03", b"TEA01", b"BOOT2")
_UDF_BLOCKS = (2048, 512, 4096)

Piece = tuple[int, int]  # where it begins, and how long it is
Read = Callable[[int, int], bytes]


class BrokenImage(InvalidInput):
    """This disc image cannot be read."""


@dataclass(frozen=True)
class ImageFile:
    """A file of the disc, as pieces of the image."""

    image: Path
    name: str
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        return sum(size for _, size in self.pieces)

    def open(self) -> io.BufferedReader:
        """The content, to be read from the beginning."""
        return io.BufferedReader(_Pieces(self.image, self.pieces))


def is_image(file: Path) -> bool:
    """Whether a file is an image of a disc."""
    if file.stat().st_size < (FIRST_DESCRIPTOR + 2) * SECTOR:
        return False
    with file.open("rb") as stream:
        stream.seek(FIRST_DESCRIPTOR * SECTOR + 1)
        return stream.read(5) in (b"CD001", b"BEA01")  # the second: UDF, maybe with ISO 9660 beside it


def files_in(image: Path) -> Iterator[ImageFile]:
    """Every file of the disc. Raises BrokenImage for one that is damaged, hostile, or written in a way not known."""
    size = image.stat().st_size
    count = total = 0
    with image.open("rb") as stream:

        def read(at: int, length: int) -> bytes:
            if at < 0 or at + length > size:
                raise BrokenImage(f"{image.name} ends too soon.")
            stream.seek(at)
            return stream.read(length)

        try:
            for name, pieces in _entries(read, size):
                count, total = count + 1, total + sum(length for _, length in pieces)
                if any(at + length > size for at, length in pieces):
                    raise BrokenImage(f"{image.name} ends too soon.")
                if count > MOST_FILES or total > MOST_TIMES * size:
                    raise BrokenImage(f"{image.name} holds more than is sensible.")
                yield ImageFile(image, name, tuple(pieces))
        except (struct.error, UnicodeDecodeError, IndexError) as exc:
            raise BrokenImage(f"{image.name} cannot be read.") from exc


def _entries(read: Read, size: int) -> Iterator[tuple[str, list[Piece]]]:
    found = _iso_volume(read)
    if found is not None:
        yield from _iso_files(read, *found)
    else:
        yield from _Udf(read, size).files()


# ---- ISO 9660


def _iso_volume(read: Read) -> tuple[Piece, bool] | None:
    """The root directory, and whether its names are Joliet's (ECMA-119, 8.4 and 8.5); None where it is UDF alone."""
    primary: Piece | None = None
    for number in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + MOST_DESCRIPTORS):
        block = read(number * SECTOR, SECTOR)
        kind, name = block[0], block[1:6]
        if name == b"CD001" and kind == 1 and primary is None:
            primary = _iso_root(block)
        elif name == b"CD001" and kind == 2 and block[88:91] in (b"%/@", b"%/C", b"%/E"):
            return _iso_root(block), True
        elif (name == b"CD001" and kind == 255) or (name != b"CD001" and name not in _UDF_MARKS):
            break
    return (primary, False) if primary is not None else None


def _iso_root(block: bytes) -> Piece:
    if struct.unpack_from("<H", block, 128)[0] != SECTOR:
        raise BrokenImage("The disc image has an unusual block size.")
    return _iso_extent(block, 156)


def _iso_extent(block: bytes, at: int) -> Piece:
    """ECMA-119, 9.1: where a file or directory lies."""
    begin, size = struct.unpack_from("<I4xI", block, at + 2)
    return (begin + block[at + 1]) * SECTOR, size


def _iso_files(read: Read, root: Piece, joliet: bool) -> Iterator[tuple[str, list[Piece]]]:
    waiting, seen = [(root, 0)], set()
    while waiting:
        directory, depth = waiting.pop()
        if directory[0] in seen:  # a directory that leads back to itself
            continue
        seen.add(directory[0])
        _require_sane(directory[1], depth, len(seen))
        for name, is_directory, pieces in _iso_records(read(*directory), joliet):
            if is_directory:
                waiting.append((pieces[0], depth + 1))
            else:
                yield name, pieces


def _iso_records(block: bytes, joliet: bool) -> Iterator[tuple[str, bool, list[Piece]]]:
    unfinished: list[Piece] = []  # a file of several extents: all but its last record say so
    place = 0
    while place + 34 <= len(block):
        length = block[place]
        if length == 0:  # records do not cross sectors: the rest of this one is empty
            place = (place // SECTOR + 1) * SECTOR
            continue
        named = block[place + 32]
        if length < 33 + named or place + length > len(block):
            raise BrokenImage("A directory of the disc image is broken.")
        if block[place + 26] or block[place + 27]:
            raise BrokenImage("The disc image has interleaved files.")
        name = _iso_name(block[place + 33 : place + 33 + named], joliet)
        if name not in HIDDEN:
            unfinished.append(_iso_extent(block, place))
            if not block[place + 25] & 0x80:
                yield name, bool(block[place + 25] & 2), unfinished
                unfinished = []
        place += length


def _iso_name(raw: bytes, joliet: bool) -> str:
    if len(raw) == 1 and raw[0] < 2:
        return chr(raw[0])
    return raw.decode("utf-16-be" if joliet else "latin-1", "replace").partition(";")[0]


# ---- UDF


class _Udf:
    """A UDF volume (ECMA-167; OSTA UDF 2.01): anchor, volume descriptors, file set, then entry by entry."""

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self._block, main = self._anchor(size)
        self._starts: dict[int, int] = {}  # partition: its first block
        self._maps: list[int] = []  # references of addresses: the partition each means
        self._file_set: tuple[int, int, int] | None = None
        self._describe(*main)

    def files(self) -> Iterator[tuple[str, list[Piece]]]:
        if self._file_set is None:
            raise BrokenImage("The disc image has no file set.")
        set_ = self._descriptor(self._at(self._file_set[1], self._file_set[2]), 256)
        waiting, seen = [(struct.unpack_from("<IIH", set_, 400), 0)], set()
        while waiting:
            (_, block, reference), depth = waiting.pop()
            if (block, reference) in seen:
                continue
            seen.add((block, reference))
            _, pieces = self._entry(block, reference)
            _require_sane(sum(size for _, size in pieces), depth, len(seen))
            for name, is_directory, address in self._names(b"".join(self._read(*each) for each in pieces)):
                if is_directory:
                    waiting.append((address, depth + 1))
                else:
                    kind, found = self._entry(address[1], address[2])
                    if kind == 5:  # an ordinary file
                        yield name, found

    def _anchor(self, size: int) -> tuple[int, tuple[int, int]]:
        """The block size, and where the volume descriptors lie (ECMA-167 3/10.2)."""
        for block in _UDF_BLOCKS:
            for place in (256 * block, size - block, size - 257 * block):
                if place < 0 or place + 512 > size:
                    continue
                found = self._read(place, 512)
                if _is_descriptor(found, 2):
                    length, where = struct.unpack_from("<II", found, 16)
                    return block, (where * block, length)
        raise BrokenImage("The disc image is neither ISO 9660 nor a UDF that is known.")

    def _describe(self, at: int, length: int) -> None:
        for place in range(at, at + min(length, MOST_DESCRIPTORS * self._block), self._block):
            found = self._read(place, self._block)
            if _is_descriptor(found, 5):
                number, start = (
                    struct.unpack_from("<H", found, 22)[0],
                    struct.unpack_from("<I", found, 188)[0],
                )
                self._starts[number] = start
            elif _is_descriptor(found, 6):
                self._file_set = struct.unpack_from("<IIH", found, 248)
                self._maps = list(self._read_maps(found))
            elif _is_descriptor(found, 8):
                return

    def _read_maps(self, volume: bytes) -> Iterator[int]:
        place = 440
        for _ in range(min(struct.unpack_from("<I", volume, 268)[0], 16)):
            if volume[place] != 1:
                raise BrokenImage("The disc image has a virtual, sparable or metadata partition.")
            yield struct.unpack_from("<H", volume, place + 4)[0]
            place += max(6, volume[place + 1])

    def _at(self, block: int, reference: int) -> int:
        """An address within a partition as a place in the image."""
        if reference >= len(self._maps) or self._maps[reference] not in self._starts:
            raise BrokenImage("The disc image names a partition that it does not have.")
        return int((self._starts[self._maps[reference]] + block) * self._block)

    def _descriptor(self, at: int, *kinds: int) -> bytes:
        found = self._read(at, self._block)
        if not any(_is_descriptor(found, kind) for kind in kinds):
            raise BrokenImage("The disc image is damaged.")
        return found

    def _entry(self, block: int, reference: int) -> tuple[int, list[Piece]]:
        """What kind of file an entry is, and its pieces (ECMA-167 4/14.9 and 4/14.17)."""
        at = self._at(block, reference)
        found = self._descriptor(at, 261, 266)
        header = 176 if _is_descriptor(found, 261) else 216
        extended, allocated = struct.unpack_from("<II", found, header - 8)
        (size,) = struct.unpack_from("<Q", found, 56)
        begin = header + extended
        if begin + allocated > self._block:
            raise BrokenImage("The disc image is damaged.")
        how = struct.unpack_from("<H", found, 34)[0] & 7
        if how == 3:  # the content stands in the entry itself
            return found[27], [(at + begin, min(size, allocated))]
        if how not in (0, 1):
            raise BrokenImage("The disc image has files kept in a way that is not known.")
        return found[27], self._pieces(found[begin : begin + allocated], how, reference, size)

    def _pieces(self, listed: bytes, how: int, reference: int, size: int) -> list[Piece]:
        pieces, left, turns = [], size, 0
        width = 8 if how == 0 else 16
        place = 0
        while left > 0 and place + width <= len(listed):
            length, block = struct.unpack_from("<II", listed, place)
            if how == 1:
                (reference,) = struct.unpack_from("<H", listed, place + 8)
            kind, length, place = length >> 30, length & 0x3FFFFFFF, place + width
            if kind == 3:  # the list goes on elsewhere (ECMA-167 4/14.5)
                turns += 1
                more = self._descriptor(self._at(block, reference), 258)
                listed, place = more[24 : 24 + struct.unpack_from("<I", more, 20)[0]], 0
                if turns > MOST_DESCRIPTORS:
                    raise BrokenImage("The disc image is damaged.")
            elif length == 0:
                break
            elif kind != 0:
                raise BrokenImage("The disc image has a file with parts that were never written.")
            else:
                taken = min(length, left)
                pieces.append((self._at(block, reference), taken))
                left -= taken
        if left > 0:
            raise BrokenImage("The disc image ends too soon.")
        return pieces

    def _names(self, directory: bytes) -> Iterator[tuple[str, bool, tuple[int, int, int]]]:
        """What a directory holds, without what was deleted (ECMA-167 4/14.4)."""
        place = 0
        while place + 38 <= len(directory):
            if not _is_descriptor(directory[place:], 257):
                raise BrokenImage("A directory of the disc image is broken.")
            marks, named = directory[place + 18], directory[place + 19]
            (used,) = struct.unpack_from("<H", directory, place + 36)
            begin = place + 38 + used
            if not marks & 0b1100:  # deleted, or the directory above
                address: tuple[int, int, int] = struct.unpack_from("<IIH", directory, place + 20)
                yield _udf_name(directory[begin : begin + named]), bool(marks & 2), address
            place += (38 + used + named + 3) // 4 * 4


def _is_descriptor(block: bytes, kind: int) -> bool:
    """A descriptor tag of this kind, with its check sum (ECMA-167 3/7.2)."""
    if len(block) < 16 or struct.unpack_from("<H", block)[0] != kind:
        return False
    return sum(block[:4] + block[5:16]) & 0xFF == block[4]


def _udf_name(raw: bytes) -> str:
    return raw[1:].decode("utf-16-be" if raw[:1] == b"\x10" else "latin-1", "replace")


def _require_sane(size: int, depth: int, directories: int) -> None:
    if size > MOST_DIRECTORY or depth > MOST_DEPTH or directories > MOST_FILES:
        raise BrokenImage("The disc image holds more than is sensible.")


class _Pieces(io.RawIOBase):
    """The pieces of a file as one stream."""

    def __init__(self, image: Path, pieces: tuple[Piece, ...]) -> None:
        self._stream = image.open("rb")
        self._left = [*reversed(pieces)]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while self._left:
            at, size = self._left.pop()
            if size == 0:
                continue
            self._stream.seek(at)
            found = self._stream.read(min(size, len(buffer)))
            if not found:
                raise EOFError("the image became shorter")
            buffer[: len(found)] = found
            self._left.append((at + len(found), size - len(found)))
            return len(found)
        return 0

    def close(self) -> None:
        self._stream.close()
        super().close()
