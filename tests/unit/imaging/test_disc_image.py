"""Images of discs for `lightbox import`: ISO 9660 and UDF; broken ones do no harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from server.core.errors import InvalidInput
from server.imaging.disc import survey
from server.imaging.disc_image import files_in, is_image
from tests.discs import SECTOR, iso_of, udf_of
from tests.drawn import examples

CT = Path(get_testdata_file("CT_small.dcm")).read_bytes()
MR = Path(get_testdata_file("MR_small.dcm")).read_bytes()
FILES = {"I0001": CT, "I0002": MR, "AUTORUN.INF": b"[autorun]", "I0003": CT[:-2]}
MADE = {"iso": iso_of(FILES), "udf": udf_of(FILES)}


async def _content(part) -> bytes:
    return b"".join([chunk async for chunk in part])


@pytest.mark.parametrize("kind", MADE)
async def test_the_images_of_a_disc_are_found_by_content(tmp_path, kind):
    """Interface, `lightbox import`: folders, files, .zip, and the disc itself as one file, whatever its name."""
    (tmp_path / "whole disc").write_bytes(MADE[kind])
    (tmp_path / "beside").write_bytes(MR)
    disc = survey([tmp_path])
    assert sorted(part.name for part in disc.parts) == ["I0001", "I0002", "I0003", "beside"]
    found = {part.name: await _content(part) for part in disc.parts}
    assert found == {"I0001": CT, "I0002": MR, "I0003": CT[:-2], "beside": MR}
    assert dict(disc.ignored) == {"other": 1}


def test_what_is_no_image_of_a_disc(tmp_path):
    for content in (b"", CT, bytes(40 * SECTOR)):
        (tmp_path / "file").write_bytes(content)
        assert not is_image(tmp_path / "file")


@pytest.mark.parametrize("kind", MADE)
@settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_damaged_or_hostile_image_is_refused_and_never_hangs(tmp_path, kind, data):
    """Cut anywhere, or with bytes changed where the structures lie: a sentence, or the files that are whole."""
    whole = bytearray(MADE[kind])
    first, last = (16 * SECTOR, 20 * SECTOR) if kind == "iso" else (256 * SECTOR, len(whole))
    for _ in range(data.draw(st.integers(0, 8))):
        whole[data.draw(st.integers(first, last - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(17 * SECTOR, len(whole)))
    file = tmp_path / "broken.iso"
    file.write_bytes(whole[:cut])
    if not is_image(file):
        return
    try:
        for found in files_in(file):
            assert found.size <= 4 * len(whole)
            with found.open() as stream:
                assert len(stream.read()) == found.size
    except InvalidInput:
        return


def test_two_names_for_the_same_bytes_do_not_make_a_bomb(tmp_path):
    image = bytearray(iso_of({f"I{number:04d}": CT for number in range(20)}))
    content = image[19 * SECTOR : 20 * SECTOR]
    first = content.index(b"I0000;1") - 33
    for number in range(20):  # every file is the whole disc
        at = 19 * SECTOR + content.index(f"I{number:04d};1".encode()) - 33
        image[at + 2 : at + 6] = image[19 * SECTOR + first + 2 : 19 * SECTOR + first + 6]
        image[at + 10 : at + 14] = (len(image) - 20 * SECTOR).to_bytes(4, "little")
    (tmp_path / "bomb.iso").write_bytes(image)
    with pytest.raises(InvalidInput, match="more than is sensible"):
        survey([tmp_path])
