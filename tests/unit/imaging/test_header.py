"""Reading headers: real files, odd ones, and bytes that were meant to hurt."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from server.imaging.elements import TooDeep, Truncated, Unreadable
from server.imaging.entry import entry_of
from server.imaging.header import Header, HeaderReader, NoUid, header_of, is_uid, read_header
from server.imaging.prologue import NotAnObject
from tests.drawn import examples

from .samples import all_samples, dataset, made, sample, written


def in_pieces(content: bytes, size: int) -> Header:
    reader = HeaderReader()
    for start in range(0, len(content), size):
        reader.feed(content[start : start + size])
    return reader.finish()


def shape(header: Header) -> object:
    """What two ways of reading the same object must agree on."""
    elements = [(tag, each.vr, each.offset, each.length, each.value) for tag, each in header.data.items()]
    table = header.fragments and (list(header.fragments.starts), list(header.fragments.lengths))
    return elements, table, header.warnings, header.size, header.transfer_syntax, header.sop_instance_uid


@pytest.mark.parametrize("path", all_samples(), ids=lambda path: path.name)
def test_all_ways_of_reading_agree(path: object) -> None:
    content = path.read_bytes()  # type: ignore[attr-defined]
    try:
        whole = header_of(content)
    except Unreadable as error:
        with pytest.raises(type(error), match=r"\w+ \w+"):
            in_pieces(content, 1000)
        return
    assert shape(in_pieces(content, 997)) == shape(whole) == shape(in_pieces(content, 65_536))
    assert shape(read_header(io.BytesIO(content))) == shape(whole)


_ODD = {
    "OT-PAL-8-face.dcm": "1.2.840.10008.1.2",
    "ExplVR_BigEndNoMeta.dcm": "1.2.840.10008.1.2.2",
    "ExplVR_LitEndNoMeta.dcm": "1.2.840.10008.1.2.1",
    "image_dfl.dcm": "1.2.840.10008.1.2.1.99",
    "SC_rgb_jpeg.dcm": "1.2.840.10008.1.2.4.50",  # implicit VR under a JPEG transfer syntax
    "rtstruct.dcm": "1.2.840.10008.1.2",
}


@pytest.mark.parametrize(("name", "syntax"), _ODD.items())
def test_the_true_transfer_syntax(name: str, syntax: str) -> None:
    assert header_of(sample(name)).transfer_syntax == syntax


def test_a_file_without_its_preamble() -> None:
    content = made()
    assert header_of(content[128:]).warnings == ("no preamble",)
    assert header_of(content[132:]).warnings == ("no preamble",)


def test_a_directory_is_told_apart() -> None:
    with pytest.raises(NotAnObject):
        header_of(sample("DICOMDIR"))


@pytest.mark.parametrize(
    "uid", ["../../etc/passwd", "1.2/3", "1.2\\3", "1" * 65, "", " ", "1..2", "1.2;", "1.2.", "é"]
)
def test_what_is_no_uid(uid: str) -> None:
    assert not is_uid(uid)


def test_uids_that_are_only_odd_are_noted() -> None:
    header = header_of(made().replace(b"1.2.3.4\0", b"1.02.34\0"))
    assert header.study_uid == "1.02.34"
    assert "the Study Instance UID is not written as the standard demands" in header.warnings


def _raw(tag: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def _raw_long(tag: int, vr: bytes, length: int) -> bytes:
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, length)


START = b"\0" * 128 + b"DICM" + _raw(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0")
UIDS = (
    _raw(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.7\0")
    + _raw(0x00080018, b"UI", b"1.2.3\0")
    + _raw(0x0020000D, b"UI", b"1.2\0")
    + _raw(0x0020000E, b"UI", b"1.2.\x30\0")
)


def test_ten_thousand_sequences_in_each_other_are_refused() -> None:
    opened = (_raw_long(0x00400275, b"SQ", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * 10_000
    with pytest.raises(TooDeep):
        header_of(START + UIDS + opened)
    implicit = (
        struct.pack("<HHL", 0x0040, 0x0275, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    ) * 10_000
    with pytest.raises(TooDeep):
        header_of(UIDS[:8] + UIDS[8:34] + implicit)


def test_a_length_that_lies_is_refused_without_memory() -> None:
    lie = START + UIDS + _raw_long(0x00420011, b"OB", 0xFFFFFFF0) + b"little"
    tracemalloc.start()
    with pytest.raises(Truncated):
        header_of(lie)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_cut_off_pixels_are_kept_for_what_they_are() -> None:
    content = made()
    header = header_of(content[:-10])
    assert header.cut
    assert "the pixel data are cut off" in header.warnings
    assert entry_of(header).pixels.length == 118


def test_a_deflate_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.imaging.header.MAX_INFLATED", 64 << 20)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = b"\0" * (1 << 20)
    packed = deflater.compress(UIDS + _raw_long(0x7FE00010, b"OW", 0xFFFFFF00))
    packed += b"".join(deflater.compress(zeros) for _ in range(80)) + deflater.flush()
    start = START.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    start = start[:138] + struct.pack("<H", 22) + start[140:]
    tracemalloc.start()
    with pytest.raises(Unreadable):
        in_pieces(start + packed, 65_536)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_damaged_deflate() -> None:
    content = written(dataset(), DeflatedExplicitVRLittleEndian)
    start = header_of(content).start
    damaged = content[:start] + b"\xff" * 40 + content[start + 40 :]
    with pytest.raises(Unreadable):
        header_of(damaged)


def test_an_unknown_sequence_in_implicit_encoding() -> None:
    """PS3.5 6.2.2, note 2: UN of undefined length is a sequence in implicit little endian."""
    inner = struct.pack("<HHL", 0x0008, 0x0104, 4) + b"Code"
    unknown = (
        _raw_long(0x00091011, b"UN", 0xFFFFFFFF)
        + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        + inner
        + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    )
    element = header_of(START + UIDS + unknown).data[0x00091011]
    assert element.items is not None
    assert element.items[0][0x00080104].value == b"Code"


def test_the_uids_of_what_is_refused_are_known() -> None:
    reader = HeaderReader()
    reader.feed(START + UIDS + _raw_long(0x00420011, b"OB", 0xFFFFFFF0))
    with pytest.raises(Truncated):
        reader.finish()
    assert reader.uids() == ("1.2.840.10008.5.1.4.1.1.7", "1.2.3")


def test_missing_identifiers() -> None:
    with pytest.raises(NoUid, match="Study Instance UID"):
        header_of(made(StudyInstanceUID=None))
    with pytest.raises(NoUid, match="not a UID"):
        header_of(START + UIDS.replace(b"1.2\0", b"../\0", 1))


def test_more_elements_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.imaging.walker.MAX_ELEMENTS", 3000)
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + _raw(0x00080104, b"LO", b"ab") + b"\xfe\xff\x0d\xe0\0\0\0\0"
    many = _raw_long(0x00400275, b"SQ", 0xFFFFFFFF) + item * 3500 + b"\xfe\xff\xdd\xe0\0\0\0\0"
    header = header_of(START + UIDS + many)
    assert header.partial
    assert len(header.data[0x00400275].items or ()) <= 3001


def test_more_elements_at_the_top_than_there_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.imaging.walker.MAX_ELEMENTS", 3000)
    groups = b"".join(
        _raw(group << 16 | number, b"SH", b"")
        for group in range(0x0021, 0x002D, 2)
        for number in range(1, 600)
    )
    with pytest.raises(Unreadable, match="too large"):
        header_of(START + UIDS + groups)


def test_a_large_header_keeps_its_small_values() -> None:
    """Contours of a radiotherapy structure set come in hundreds of kilobytes, many times."""
    contour = b"1.5\\" * 150_000
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    item += struct.pack("<HHL", 0x3006, 0x0050, len(contour)) + contour + b"\xfe\xff\x0d\xe0\0\0\0\0"
    implicit = START.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0")
    uids = b"".join(
        struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value
        for tag, value in (
            (0x00080016, b"1.2 "),
            (0x00080018, b"1.3 "),
            (0x0020000D, b"1.4 "),
            (0x0020000E, b"1.5 "),
        )
    )
    many = struct.pack("<HHL", 0x3006, 0x0039, 0xFFFFFFFF) + item * 80 + b"\xfe\xff\xdd\xe0\0\0\0\0"
    header = header_of(implicit + uids + many)
    items = header.data[0x30060039].items or []
    kept = [item[0x30060050].value is not None for item in items]
    assert len(kept) == 80
    assert 40 < sum(kept) < 60


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"garbage at the end", b"\xff" * 333, b" " * 9])
def test_what_follows_the_pixels(tail: bytes) -> None:
    """Files padded to a block, or with something else behind: the object is read all the same."""
    header = header_of(made() + tail)
    assert entry_of(header).pixels.frame_count == 1
    compressed = sample("MR_small_jp2klossless.dcm")
    assert entry_of(header_of(compressed + tail)).pixels.frame_count == 1


def read_or_refuse(content: bytes) -> None:
    """Nothing but our own refusal may come out of any bytes."""
    for size in (1 << 20, 61):
        try:
            entry_of(in_pieces(content, size))
        except Unreadable:
            continue


@settings(max_examples=examples(100))
@given(st.binary(max_size=2000))
def test_random_bytes(content: bytes) -> None:
    read_or_refuse(content)
    read_or_refuse(START + content)
    read_or_refuse(START + UIDS + content)


_SEEDS = [
    made(),
    sample("MR_small_jp2klossless.dcm")[:6000],
    sample("rtplan.dcm"),
    sample("test-SR.dcm"),
    sample("image_dfl.dcm")[:4000],
    sample("ExplVR_BigEndNoMeta.dcm")[:3000],
    sample("chrH31.dcm")[:1500],
    sample("emri_small_RLE.dcm")[:20000],
]


@settings(max_examples=examples(100))
@given(st.sampled_from(_SEEDS), st.data())
def test_damaged_files(seed: bytes, data: st.DataObject) -> None:
    content = bytearray(seed)
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=8))
    read_or_refuse(bytes(content[: data.draw(st.integers(0, len(content)))]))


def test_an_item_dataset_is_not_lost() -> None:
    data = dataset()
    inner = Dataset()
    inner.CodeValue = "X"
    data.ProcedureCodeSequence = [inner, Dataset()]
    found = header_of(written(data)).data[0x00081032]
    assert [len(item) for item in found.items or ()] == [1, 0]
