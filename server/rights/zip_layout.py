"""A ZIP whose every byte is known before the first is sent: stored, Zip64 where it must be (APPNOTE.TXT 6.3.3).

Sizes and checksums are known beforehand, so a download that was cut goes on anywhere without what lies before it being
read again. `zipstream-ng` makes one from its beginning only, with the checksums behind the files.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from struct import pack

_FOUR_GIGABYTES = 0xFFFFFFFF
_MOST_ENTRIES = 0xFFFF
_UTF_8 = 0x0800  # general purpose bit 11: names are UTF-8
_UNIX_FILE = 0o100644 << 16


@dataclass(frozen=True)
class Entry:
    """One file: its name in the ZIP, its size, its CRC-32."""

    path: str
    size: int
    crc: int


@dataclass(frozen=True)
class Piece:
    """Bytes to send: some of the ZIP's own, or start..stop of an entry's content."""

    own: bytes = b""
    entry: int = -1
    start: int = 0
    stop: int = 0


class Layout:
    """Where everything lies in the ZIP of these entries."""

    def __init__(self, entries: Sequence[Entry], at: datetime) -> None:
        self._entries = entries
        self._stamp = _dos_time(at)
        self._starts: list[int] = []
        end = 0
        for entry in entries:
            self._starts.append(end)
            end += len(self._header(entry)) + entry.size
        self._directory_at = end
        self._tail = self._directory()
        self.size = end + len(self._tail)

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """What bytes start..stop are made of."""
        first = max(0, bisect_right(self._starts, start) - 1)
        for number in range(first, len(self._entries)):
            begin = self._starts[number]
            if begin >= stop:
                return
            yield from self._of_entry(number, begin, start, stop)
        if stop > max(start, self._directory_at):
            yield Piece(self._tail[max(0, start - self._directory_at) : stop - self._directory_at])

    def _of_entry(self, number: int, begin: int, start: int, stop: int) -> Iterator[Piece]:
        entry, header = self._entries[number], self._header(self._entries[number])
        if own := header[max(0, start - begin) : max(0, stop - begin)]:
            yield Piece(own)
        content = begin + len(header)
        low, high = max(0, start - content), min(entry.size, stop - content)
        if low < high:
            yield Piece(entry=number, start=low, stop=high)

    def _header(self, entry: Entry) -> bytes:
        """Local file header, 4.3.7; with the extended sizes of 4.5.3 for a large file."""
        large = entry.size >= _FOUR_GIGABYTES
        extra = pack("<HHQQ", 1, 16, entry.size, entry.size) if large else b""
        size = _FOUR_GIGABYTES if large else entry.size
        name = entry.path.encode()
        return (
            pack("<4sHHH", b"PK\3\4", 45 if large else 20, _UTF_8, 0)
            + pack("<IIIIHH", self._stamp, entry.crc, size, size, len(name), len(extra))
            + name
            + extra
        )

    def _directory(self) -> bytes:
        """Central directory, 4.3.12, and its end, 4.3.14 to 4.3.16."""
        listed = b"".join(
            self._listed(entry, start) for entry, start in zip(self._entries, self._starts, strict=True)
        )
        count, at = len(self._entries), self._directory_at
        long = b""
        if count >= _MOST_ENTRIES or at >= _FOUR_GIGABYTES or len(listed) >= _FOUR_GIGABYTES:
            long = pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(listed), at)
            long += pack("<4sIQI", b"PK\6\7", 0, at + len(listed), 1)
        few = min(count, _MOST_ENTRIES)
        end = pack("<4sHHHH", b"PK\5\6", 0, 0, few, few)
        end += pack("<IIH", min(len(listed), _FOUR_GIGABYTES), min(at, _FOUR_GIGABYTES), 0)
        return listed + long + end

    def _listed(self, entry: Entry, start: int) -> bytes:
        long = []
        if entry.size >= _FOUR_GIGABYTES:
            long += [entry.size, entry.size]
        if start >= _FOUR_GIGABYTES:
            long.append(start)
        extra = pack(f"<HH{len(long)}Q", 1, 8 * len(long), *long) if long else b""
        size, name = min(entry.size, _FOUR_GIGABYTES), entry.path.encode()
        needed = 45 if long else 20
        return (
            pack("<4sHHHH", b"PK\1\2", 3 << 8 | needed, needed, _UTF_8, 0)
            + pack("<IIII", self._stamp, entry.crc, size, size)
            + pack("<HHHHHII", len(name), len(extra), 0, 0, 0, _UNIX_FILE, min(start, _FOUR_GIGABYTES))
            + name
            + extra
        )


def _dos_time(at: datetime) -> int:
    day = max(at.year - 1980, 0) << 9 | at.month << 5 | at.day
    return day << 16 | at.hour << 11 | at.minute << 5 | at.second // 2
