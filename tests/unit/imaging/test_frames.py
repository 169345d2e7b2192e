"""Frames: every sample's frames come out as pydicom has them; places, pieces, bits, words."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import JPEG2000Lossless

from server.imaging import catalogue, frames, render
from server.imaging.catalogue import InstanceRow
from server.imaging.codec import native, to_bytes
from server.imaging.elements import Unreadable
from server.imaging.header import header_of
from server.imaging.picture import Look

from .conftest import Holder
from .samples import all_samples, dataset, made, sample, written


async def stored(holder: Holder, content: bytes, number: int = 1) -> InstanceRow:
    report = await holder.store(content, mine=True)
    assert report.stored, report.failed
    each = report.stored[0]
    (row,) = await catalogue.instances_of(
        holder.services.db,
        each.study_uid,
        each.series_uid,
        each.sop_instance_uid,
        reach=holder.reading,
        metadata=True,
        frames=(number, number),
    )
    return row


async def test_frames_of_a_native_multi_frame(holder: Holder) -> None:
    pixels = np.arange(3 * 64, dtype="<u2")
    row = await stored(holder, made(NumberOfFrames=3, PixelData=pixels.tobytes()))
    assert row.frame_count == 3
    for number in (1, 2, 3):
        assert (
            await frames.stored_frame(holder.services, row, number)
            == pixels[(number - 1) * 64 : number * 64].tobytes()
        )
    with pytest.raises(frames.NoFrame):
        frames.frame_location(row, 4)
    with pytest.raises(frames.NoFrame):
        frames.frame_location(row, 0)


async def test_frames_of_single_bits(holder: Holder) -> None:
    """9 pixels a frame: the second one begins in the middle of a byte."""
    bits = np.random.default_rng(1).integers(0, 2, 3 * 9).astype(np.uint8)
    packed = np.packbits(bits, bitorder="little").tobytes()
    row = await stored(
        holder,
        made(Rows=3, Columns=3, NumberOfFrames=3, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed),
    )
    for number in range(1, 4):
        got = await frames.stored_frame(holder.services, row, number)
        found = np.unpackbits(np.frombuffer(got, np.uint8), bitorder="little")[:9]
        assert found.tolist() == bits[(number - 1) * 9 : number * 9].tolist()


@pytest.mark.parametrize("with_table", [True, False])
async def test_frames_in_several_pieces(holder: Holder, with_table: bool) -> None:
    """PS3.5, A.4: a frame may be several fragments; the offset table, or how they begin, tells them apart."""
    codestreams = [b"\xff\x4f\xff\x51" + bytes([number]) * 100 for number in range(3)]
    data = dataset(NumberOfFrames=3)
    data.PixelData = encapsulate(codestreams, fragments_per_frame=2, has_bot=with_table)
    content = written(data, JPEG2000Lossless)
    for number in (1, 2, 3):
        row = await stored(holder, content, number)
        assert row.pieced
        got = await frames.stored_frame(holder.services, row, number)
        assert got.rstrip(b"\0") == codestreams[number - 1].rstrip(b"\0")


@pytest.mark.parametrize(
    "name",
    ["MR_small_bigendian.dcm", "rtdose_expb.dcm", "emri_small_big_endian.dcm"],
)
async def test_big_endian_pixels_come_in_little_endian(holder: Holder, name: str) -> None:
    content = sample(name)
    row = await stored(holder, content)
    data = pydicom.dcmread(io.BytesIO(content))
    first = data.pixel_array if row.frame_count == 1 else data.pixel_array[0]
    got = await frames.stored_frame(holder.services, row, 1)
    assert got == first.astype(first.dtype.newbyteorder("<")).tobytes()


async def test_frames_of_a_deflated_object(holder: Holder) -> None:
    content = sample("image_dfl.dcm")
    row = await stored(holder, content)
    expected = pydicom.dcmread(io.BytesIO(content)).pixel_array
    assert await frames.stored_frame(holder.services, row, 1) == expected.tobytes()


_PICTURES = [
    path
    for path in all_samples()
    if path.name not in {"no_meta.dcm"} and not path.parent.name.startswith(("7", "9", "T"))
]


def sop_uid_of(path: Path) -> str:
    try:
        return header_of(path.read_bytes()).sop_instance_uid
    except Unreadable:
        return ""


async def test_every_sample_with_pixels_is_decoded_like_pydicom_and_shown(holder: Holder) -> None:
    """What pydicom can read comes out the same; whatever holds pixels becomes a picture or says why not."""
    shown, refused = 0, []
    report = await holder.store(*(path.read_bytes() for path in _PICTURES), mine=True)
    paths = {sop_uid_of(path): path for path in reversed(_PICTURES)}
    for each in report.stored:
        path = paths[each.sop_instance_uid]
        (row,) = await catalogue.instances_of(
            holder.services.db,
            each.study_uid,
            each.series_uid,
            each.sop_instance_uid,
            reach=holder.reading,
            metadata=True,
            frames=(1, 1),
        )
        if not row.frame_count:
            continue
        try:
            image = await render.rendered(holder.services, row, 1, Look(format="png"))
        except (frames.NotDecoded, frames.NoFrame) as error:
            refused.append((path.name, str(error)))
            continue
        shown += 1
        assert Image.open(io.BytesIO(image)).size[0] > 0
        await _same_as_pydicom(holder, row, path)
    assert shown > 90  # several are the same instance in another transfer syntax
    assert {name for name, _ in refused} <= _NOT_SHOWN


# JPEG with 12 bits a sample, which no decoder under a permissive licence reads, and a frame that is none.
_NOT_SHOWN = {"JPEG-lossy.dcm", "JPGExtended.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"}


async def _same_as_pydicom(holder: Holder, row: InstanceRow, path: Path) -> None:
    if row.bits_allocated == 1 or (row.samples or 1) > 1:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = pixel_array(pydicom.dcmread(path, force=True), index=0)
        except Exception:  # pydicom cannot: nothing to compare
            return
    got = await frames.native_frame(holder.services, row, 1)
    if not frames.is_encapsulated(row):
        description = await frames.description_of(holder.services, row, 1)
        got = to_bytes(native(got, description)[0])
    assert got == expected.astype(expected.dtype.newbyteorder("<")).tobytes(), path.name


async def test_thumbnail_is_kept(holder: Holder) -> None:
    await holder.store(sample("CT_small.dcm"), mine=True)
    data = pydicom.dcmread(io.BytesIO(sample("CT_small.dcm")))
    study = data.StudyInstanceUID
    _, first = await render.thumbnail(holder.services, study, reach=holder.reading)
    _, again = await render.thumbnail(holder.services, study, data.SeriesInstanceUID, reach=holder.reading)
    assert first == again
    assert Image.open(io.BytesIO(first)).size == (256, 256)
    _, small = await render.thumbnail(holder.services, study, reach=holder.reading, width=64, height=64)
    assert Image.open(io.BytesIO(small)).size == (64, 64)
