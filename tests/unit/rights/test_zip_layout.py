"""A ZIP whose bytes are known beforehand: what any reader takes, whole and from any place on."""

from __future__ import annotations

import io
import zipfile
import zlib
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from server.rights.zip_layout import Entry, Layout
from tests.drawn import examples

AT = datetime(2026, 11, 22, 1, 2, 4, tzinfo=UTC)
CONTENTS = st.lists(st.binary(max_size=300), max_size=8)


def written(layout: Layout, contents: list[bytes], start: int = 0, stop: int | None = None) -> bytes:
    pieces = layout.pieces(start, layout.size if stop is None else stop)
    return b"".join(each.own or contents[each.entry][each.start : each.stop] for each in pieces)


def laid_out(contents: list[bytes]) -> Layout:
    return Layout(
        [Entry(f"DICOM/IM{n:06}", len(each), zlib.crc32(each)) for n, each in enumerate(contents)], AT
    )


@given(CONTENTS)
def test_any_reader_takes_it(contents: list[bytes]) -> None:
    layout = laid_out(contents)
    content = written(layout, contents)
    assert len(content) == layout.size
    with zipfile.ZipFile(io.BytesIO(content)) as read:
        assert read.testzip() is None
        assert [read.read(name) for name in read.namelist()] == contents


@settings(max_examples=examples(100))
@given(CONTENTS, st.data())
def test_any_range_is_that_range_of_the_whole(contents: list[bytes], data: st.DataObject) -> None:
    layout = laid_out(contents)
    start = data.draw(st.integers(0, layout.size))
    stop = data.draw(st.integers(start, layout.size))
    assert written(layout, contents, start, stop) == written(layout, contents)[start:stop]


def test_more_than_four_gigabytes() -> None:
    """APPNOTE 4.5.3: sizes and places beyond 32 bits, read back from the directory alone."""
    large, small = 5 << 30, b"after"
    layout = Layout([Entry("large", large, 0), Entry("small", len(small), zlib.crc32(small))], AT)
    tail_at = large

    class Sparse(io.RawIOBase):
        """The ZIP without its large content in memory."""

        def __init__(self) -> None:
            self._at = 0

        def seekable(self) -> bool:
            return True

        def readable(self) -> bool:
            return True

        def tell(self) -> int:
            return self._at

        def seek(self, offset: int, whence: int = 0) -> int:
            self._at = offset + {0: 0, 1: self._at, 2: layout.size}[whence]
            return self._at

        def readinto(self, into: memoryview) -> int:  # type: ignore[override]
            stop = min(self._at + len(into), layout.size)
            part = b"".join(
                each.own or (small[each.start : each.stop] if each.entry else bytes(each.stop - each.start))
                for each in layout.pieces(self._at, stop)
            )
            into[: len(part)] = part
            self._at += len(part)
            return len(part)

    assert layout.size > tail_at
    with zipfile.ZipFile(Sparse()) as read:  # type: ignore[type-var]
        assert [each.file_size for each in read.infolist()] == [large, len(small)]
        assert read.read("small") == small


def test_more_than_65535_files() -> None:
    contents = [b""] * 65_536
    with zipfile.ZipFile(io.BytesIO(written(laid_out(contents), contents))) as read:
        assert len(read.namelist()) == 65_536
