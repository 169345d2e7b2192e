"""Objects of a thousand frames and slides: read by range, never whole (DICOM PS3.18, 10.4.1.1.6; PS3.5, A.4)."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, encapsulate_extended

from server.storage.objects import ObjectStore
from tests.conformance.dicomweb.samples import Sample, instance, multiframe, parts, store, written

FRAMES = 1000
AROUND = 700_000  # bytes: a frame, its neighbours in the chunk, the chunk of the header
OCTETS = {"Accept": "application/octet-stream"}


class Reads:
    """How many bytes of objects were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        read, at_once = ObjectStore._read, ObjectStore._read_at_once

        def counted(store: ObjectStore, address: Any, wanted: list[Any]) -> bytes:
            content = read(store, address, wanted)
            self.bytes += len(content)
            return content

        def counted_at_once(store: ObjectStore, address: Any, piece: Any) -> bytes | None:
            content = at_once(store, address, piece)
            self.bytes += len(content or b"")
            return content

        monkeypatch.setattr(ObjectStore, "_read", counted)
        monkeypatch.setattr(ObjectStore, "_read_at_once", counted_at_once)


def slide(table: str) -> Sample:
    """A thousand JPEG tiles of a slide; `table` says where they lie: basic, extended, or none."""
    sample = instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.6", Modality="SM")
    data = dcmread(io.BytesIO(sample.data))
    data.Rows = data.Columns = 64
    data.NumberOfFrames, data.SamplesPerPixel, data.PhotometricInterpretation = FRAMES, 3, "YBR_FULL_422"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation, data.PlanarConfiguration = 7, 0, 0
    tiles = []
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    for number in range(FRAMES):
        out = io.BytesIO()
        noise[:8] = number * 255 // FRAMES
        Image.fromarray(noise).save(out, "JPEG", quality=90)
        tiles.append(out.getvalue())
    if table == "extended":
        data.PixelData, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = encapsulate_extended(
            tiles
        )
    else:
        data.PixelData = encapsulate(tiles, has_bot=table == "basic")
    path = Dataset()
    path.ICCProfile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(2_000_000)
    data.OpticalPathSequence = [path]  # as large as scanners make them: not read for a tile
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    content = written(data, "1.2.840.10008.1.2.4.50")
    return Sample(content, sample.study, sample.series, sample.sop)


def frames() -> Sample:
    """A thousand frames of 9 kB each, filled with their number."""
    sample = multiframe(1, 96)
    data = dcmread(io.BytesIO(sample.data))
    data.NumberOfFrames = FRAMES
    data.PixelData = b"".join(bytes([number % 256]) * 96 * 96 for number in range(1, FRAMES + 1))
    return Sample(written(data), sample.study, sample.series, sample.sop)


@pytest.mark.parametrize("frame", [1, 700, FRAMES])
async def test_a_frame_of_a_thousand(web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, frame: int):
    sample = frames()
    assert (await store(web, sample)).status_code == 200
    reads = Reads(monkeypatch)
    answer = await web.get(f"/dicomweb{sample.path}/frames/{frame}", headers=OCTETS)
    assert answer.content == bytes([frame % 256]) * 96 * 96
    assert 0 < reads.bytes < AROUND
    reads.bytes = 0
    assert (await web.get(f"/dicomweb{sample.path}/frames/{frame}/rendered")).status_code == 200
    assert reads.bytes < AROUND


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
async def test_a_tile_of_a_slide(web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, table: str):
    sample = slide(table)
    assert len(sample.data) > 3_000_000
    assert (await store(web, sample)).status_code in (200, 202)
    reads = Reads(monkeypatch)
    stored = {"Accept": 'multipart/related; type="image/jpeg"'}
    found = parts(await web.get(f"/dicomweb{sample.path}/frames/3,998", headers=stored))
    assert [content[:2] for _, content in found] == [b"\xff\xd8"] * 2
    assert reads.bytes < AROUND
    reads.bytes = 0
    for what in ("rendered", "thumbnail"):
        assert (await web.get(f"/dicomweb{sample.path}/frames/998/{what}")).status_code == 200
    assert reads.bytes < AROUND


async def test_many_stills_at_once(web: httpx.AsyncClient):
    """They take turns; each comes."""
    values = np.arange(2048 * 2048, dtype=np.uint16).reshape(2048, 2048)
    sample = instance(
        Rows=2048, Columns=2048, PixelData=values.tobytes(), PixelRepresentation=0, BitsStored=16, HighBit=15
    )
    assert (await store(web, sample)).status_code == 200
    path = f"/dicomweb{sample.path}/rendered?viewport=64,64&window=3,"
    answers = await asyncio.gather(*(web.get(f"{path}{width}") for width in range(2, 14)))
    assert [answer.status_code for answer in answers] == [200] * 12
    frame = await web.get(f"/dicomweb{sample.path}/frames/1", headers={**OCTETS, "Range": "bytes=100-199"})
    assert (frame.status_code, frame.content) == (206, values.tobytes()[100:200])
    whole = await web.get(f"/dicomweb{sample.path}/frames/1", headers=OCTETS)
    assert whole.content == values.tobytes()
    ((_, content),) = parts(await web.get(f"/dicomweb{sample.path}/frames/1"))
    assert content == values.tobytes()


async def test_a_frame_no_process_may_decode(web: httpx.AsyncClient):
    """A header that promises a picture of 60,000 by 60,000 pixels: refused in words, before anything is read."""
    sample = instance(Rows=60_000, Columns=60_000)
    assert (await store(web, sample)).status_code in (200, 202)
    answer = await web.get(f"/dicomweb{sample.path}/rendered")
    assert answer.status_code == 406
    assert "too large" in answer.json()["error"]
