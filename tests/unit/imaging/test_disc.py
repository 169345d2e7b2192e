"""Files of a disc are told by content: DICOM with and without preamble, DICOMDIR, everything else."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from server.core.errors import InvalidInput
from server.imaging.disc import HEAD, kind_of, survey


def _head(name: str) -> bytes:
    return Path(get_testdata_file(name)).read_bytes()[:HEAD]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CT_small.dcm", "dicom"),
        ("ExplVR_BigEndNoMeta.dcm", "dicom"),
        ("ExplVR_LitEndNoMeta.dcm", "dicom"),
        ("rtplan.dcm", "dicom"),
        ("DICOMDIR", "directory"),
        ("zipMR.gz", "other"),
    ],
)
def test_real_files(name, kind):
    assert kind_of(_head(name)) == kind


@pytest.mark.parametrize(
    "head",
    [b"", b"MZ\x90\x00", b"\xff\xd8\xff\xe0", b"II*\x00", b"%PDF-1.7", b"[autorun]", b"\x89PNG\r\n\x1a\n"],
)
def test_what_is_no_dicom(head):
    assert kind_of(head.ljust(200, b"\0")) == "other"


@given(st.binary(max_size=400))
def test_any_bytes_have_a_kind(head):
    assert kind_of(head) in ("dicom", "directory", "other")


async def _content(part) -> bytes:
    return b"".join([chunk async for chunk in part])


async def test_a_folder_with_a_zip_in_it(tmp_path):
    image = Path(get_testdata_file("CT_small.dcm")).read_bytes()
    (tmp_path / "IMAGES").mkdir()
    (tmp_path / "IMAGES" / "I0001").write_bytes(image)
    (tmp_path / "AUTORUN.INF").write_text("[autorun]")
    (tmp_path / "scan.dcm").write_bytes(b"\xff\xd8\xff\xe0 a photo")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("a/b/../I0002", image)
        archive.writestr("README.TXT", "hello")
    disc = survey([tmp_path])
    assert [await _content(part) for part in disc.parts] == [image, image]
    assert disc.ignored == {"other": 3}


@pytest.mark.parametrize("content", [b"PK\x03\x04 broken", b"PK\x03\x04"])
def test_a_broken_zip_is_refused_in_a_sentence(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"x\.zip cannot be unpacked"):
        survey([tmp_path / "x.zip"])


def test_a_zip_bomb_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * 20_000_000)
    with pytest.raises(InvalidInput, match="more than is sensible"):
        survey([tmp_path / "bomb.zip"])


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="nowhere"):
        survey([tmp_path / "nowhere"])
