"""DICOM PS3.18, 8.7.3: transfer syntaxes of instances and frames, made when they are asked for."""

from __future__ import annotations

import io
import zlib
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import generate_frames

from server.imaging.codec_encode import FRAMED, LOSSY_METHODS, targets
from tests.conformance.dicomweb.samples import Sample, file, instance, multiframe, parts, store

EXPLICIT = "1.2.840.10008.1.2.1"
JPEG = "1.2.840.10008.1.2.4."
DOSE = "1.2.840.10008.5.1.4.1.1.88.11"


def read(content: bytes) -> Any:
    return pydicom.dcmread(io.BytesIO(content))


async def stored_file(web: httpx.AsyncClient, name: str) -> tuple[str, Any]:
    """One of pydicom's files, held; its address and what is in it."""
    content = file(name)
    assert (await store(web, content)).status_code in (200, 202)
    data = read(content)
    base = f"/dicomweb/studies/{data.StudyInstanceUID}/series/{data.SeriesInstanceUID}/instances/{data.SOPInstanceUID}"
    return base, data


@pytest.mark.parametrize("syntax", sorted(targets() - {JPEG + "50", JPEG + "51", JPEG + "110", *FRAMED}))
async def test_an_instance_in_a_compressed_syntax(web: httpx.AsyncClient, stored: Sample, syntax: str):
    """10.4.1.1.1 and 8.7.3.5.2: the same object, its pixels in the encoding that is named."""
    answer = await web.get(
        f"/dicomweb{stored.path}", headers={"Accept": f"application/dicom; transfer-syntax={syntax}"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={syntax}"
    data, before = read(answer.content), read(stored.data)
    assert data.file_meta.TransferSyntaxUID == syntax
    assert (data.SOPInstanceUID, data.PatientName, data.Rows) == (stored.sop, before.PatientName, before.Rows)
    if syntax in LOSSY_METHODS:
        assert data.LossyImageCompression == "01"
        assert data.LossyImageCompressionMethod == LOSSY_METHODS[syntax]
        assert data.LossyImageCompressionRatio > 0
    else:
        assert "LossyImageCompression" not in data
        assert np.array_equal(data.pixel_array, before.pixel_array)


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("examples_rgb_color.dcm", JPEG + "50"),
        ("examples_rgb_color.dcm", JPEG + "90"),
        ("examples_ybr_color.dcm", JPEG + "70"),
        ("examples_palette.dcm", JPEG + "80"),
        ("MR_small_bigendian.dcm", JPEG + "90"),
        ("MR_small_RLE.dcm", JPEG + "70"),
        ("MR_small_jp2klossless.dcm", JPEG + "80"),
        ("emri_small_jpeg_ls_lossless.dcm", "1.2.840.10008.1.2.5"),
        ("JPEG-LL.dcm", JPEG + "90"),
        ("image_dfl.dcm", JPEG + "80"),
        ("SC_rgb_small_odd.dcm", "1.2.840.10008.1.2.5"),
    ],
)
async def test_of_every_source(web: httpx.AsyncClient, name: str, syntax: str):
    base, before = await stored_file(web, name)
    answer = await web.get(f"{base}?accept=application/dicom;transfer-syntax={syntax}")
    assert answer.status_code == 200, answer.text
    data = read(answer.content)
    assert data.get("NumberOfFrames", 1) == before.get("NumberOfFrames", 1)
    if syntax not in LOSSY_METHODS:
        assert np.array_equal(data.pixel_array, before.pixel_array)


@pytest.mark.parametrize("syntax", FRAMED)
async def test_whatever_the_numbers_are(web: httpx.AsyncClient, syntax: str):
    """PS3.5, 8.2.16 and A.4.11: single bits and 32 bits too, frame by frame; other encodings do not hold them: 406."""
    bits = np.random.default_rng(7).integers(0, 2, (3, 16, 16)).astype(np.uint8)
    wide = np.arange(256, dtype=np.uint32).reshape(16, 16) << 20
    single = instance(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4", NumberOfFrames=3, BitsAllocated=1, BitsStored=1, HighBit=0,
        PixelRepresentation=0, PixelData=np.packbits(bits.ravel(), bitorder="little").tobytes(),
    )  # fmt: skip
    large = instance(
        BitsAllocated=32, BitsStored=32, HighBit=31, PixelRepresentation=0, PixelData=wide.tobytes()
    )
    assert (await store(web, single, large)).status_code == 200
    for sample in (single, large):
        made = await web.get(f"/dicomweb{sample.path}?accept=application/dicom;transfer-syntax={syntax}")
        data = read(made.content)
        assert data.file_meta.TransferSyntaxUID == syntax
        frames = list(generate_frames(data.PixelData, number_of_frames=data.get("NumberOfFrames", 1)))
        if syntax == FRAMED[1]:
            frames = [zlib.decompressobj(-15).decompress(each) for each in frames]
        native = read(sample.data).PixelData
        assert b"".join(frames) == native
        other = sample.sop[:-1] + str(9 - int(sample.sop[-1]))
        again = f"/dicomweb{sample.path.replace(sample.sop, other)}"
        copy = made.content.replace(sample.sop.encode(), other.encode())
        assert (await store(web, copy)).status_code == 200
        plain = read((await web.get(f"{again}?accept=application/dicom")).content)
        assert plain.file_meta.TransferSyntaxUID == EXPLICIT
        assert plain.PixelData == native
        frame = await web.get(f"{again}/frames/1?accept=application/octet-stream")
        assert native.startswith(frame.content)
        drawn = await web.get(f"{again}/rendered")
        assert drawn.status_code == 200
        refused = await web.get(f"/dicomweb{sample.path}?accept=application/dicom;transfer-syntax={JPEG}80")
        assert refused.status_code == 406
        assert syntax in refused.json()["error"]  # with what could be had


async def test_parts_of_several_frames(web: httpx.AsyncClient):
    """Each part says its transfer syntax (8.7.3.3)."""
    sample = multiframe(frames=4)
    assert (await store(web, sample)).status_code == 200
    accept = f'multipart/related; type="application/dicom"; transfer-syntax={JPEG}70'
    answer = await web.get(f"/dicomweb/studies/{sample.study}", headers={"Accept": accept})
    ((headers, content),) = parts(answer)
    assert headers["content-type"] == f"application/dicom; transfer-syntax={JPEG}70"
    assert np.array_equal(read(content).pixel_array, read(sample.data).pixel_array)


@pytest.mark.parametrize(
    ("accept", "label"),
    [
        ("image/jpeg", f"image/jpeg; transfer-syntax={JPEG}70"),
        (f"image/jpeg; transfer-syntax={JPEG}57", f"image/jpeg; transfer-syntax={JPEG}57"),
        ("image/jls", f"image/jls; transfer-syntax={JPEG}80"),
        ("image/jp2", f"image/jp2; transfer-syntax={JPEG}90"),
        (f"image/jp2; transfer-syntax={JPEG}91", f"image/jp2; transfer-syntax={JPEG}91"),
        ("image/jphc", f"image/jphc; transfer-syntax={JPEG}201"),
        ("image/dicom-rle", "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"),
    ],
)
async def test_frames_in_each_media_type(web: httpx.AsyncClient, stored: Sample, accept: str, label: str):
    """Table 8.7.3-5: what a media type means without a transfer syntax, and each that is named."""
    one = await web.get(f"/dicomweb{stored.path}/frames/1", headers={"Accept": accept})
    assert (one.status_code, one.headers["content-type"]) == (200, label)
    media_type, _, rest = accept.partition(";")
    wanted = f'multipart/related; type="{media_type}"' + (f";{rest}" if rest else "")
    answer = await web.get(f"/dicomweb{stored.path}/frames/1", headers={"Accept": wanted})
    assert [(headers["content-type"], content) for headers, content in parts(answer)] == [
        (label, one.content)
    ]


@pytest.mark.parametrize(
    "syntax", [JPEG + "50", JPEG + "51", JPEG + "102", JPEG + "100", "1.2.840.10008.1.2.2", "1.2.3"]
)
async def test_what_cannot_be_made_is_406(web: httpx.AsyncClient, stored: Sample, syntax: str):
    """16 signed bits are no JPEG of 8 bits; nobody writes big endian or a film."""
    for address in (stored.path, f"/studies/{stored.study}", f"{stored.path}/frames/1"):
        accept = f'multipart/related; type="application/dicom"; transfer-syntax={syntax}'
        if "frames" in address:
            accept = f'multipart/related; type="image/jpeg"; transfer-syntax={syntax}'
        assert (await web.get(f"/dicomweb{address}", headers={"Accept": accept})).status_code == 406, address


async def test_the_next_that_is_taken(web: httpx.AsyncClient, stored: Sample):
    """8.7.8: of what the caller lists, the first that can be made."""
    accept = f"application/dicom; transfer-syntax={JPEG}50, application/dicom; transfer-syntax={JPEG}80;q=0.5"
    answer = await web.get(f"/dicomweb{stored.path}", headers={"Accept": accept})
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={JPEG}80"


async def test_a_report_beside_images_is_not_compressed(web: httpx.AsyncClient, stored: Sample):
    report = instance(study=stored.study, SOPClassUID=DOSE, Modality="SR", PixelData=None)
    bare = read(report.data)
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        delattr(bare, keyword)
    out = io.BytesIO()
    bare.save_as(out)
    assert (await store(web, out.getvalue())).status_code == 200
    accept = f'multipart/related; type="application/dicom"; transfer-syntax={JPEG}70'
    found = parts(await web.get(f"/dicomweb/studies/{stored.study}", headers={"Accept": accept}))
    labels = {read(content).SOPInstanceUID: headers["content-type"] for headers, content in found}
    assert labels[stored.sop].endswith(f"={JPEG}70")
    assert labels[report.sop].endswith(f"={EXPLICIT}")


async def test_an_overlay_within_the_pixels_is_not_lost(web: httpx.AsyncClient):
    """Overlays in unused bits (PS3.3, C.9.2, retired) would go with those bits: refused, and held as stored."""
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    sample = instance(
        BitsStored=12,
        HighBit=11,
        PixelRepresentation=0,
        PixelData=(values | np.where(values < 128, 0x8000, 0).astype(np.uint16)).tobytes(),
    )
    data = read(sample.data)
    for tag, vr, value in (
        (0x60000010, "US", 16),
        (0x60000011, "US", 16),
        (0x60000100, "US", 16),
        (0x60000102, "US", 15),
    ):
        data.add_new(tag, vr, value)
    out = io.BytesIO()
    data.save_as(out)
    assert (await store(web, out.getvalue())).status_code == 200
    answer = await web.get(f"/dicomweb{sample.path}?accept=application/dicom;transfer-syntax={JPEG}70")
    assert answer.status_code == 406
    drawn = await web.get(
        f"/dicomweb{sample.path}/rendered?window=1000000,10", headers={"Accept": "image/png"}
    )
    seen = np.asarray(Image.open(io.BytesIO(drawn.content)))
    assert (seen == np.where(values < 128, 255, 0)).all()


async def test_wado_uri_falls_back(web: httpx.AsyncClient, stored: Sample):
    """9.1.2.2.2: where the transfer syntax that is named cannot be made, Explicit VR Little Endian."""
    query = f"requestType=WADO&studyUID={stored.study}&seriesUID={stored.series}&objectUID={stored.sop}"
    address = f"/dicomweb/wado?{query}&contentType=application/dicom&transferSyntax="
    made = await web.get(address + JPEG + "80")
    assert read(made.content).file_meta.TransferSyntaxUID == JPEG + "80"
    fallen = await web.get(address + JPEG + "50")
    assert read(fallen.content).file_meta.TransferSyntaxUID == EXPLICIT
