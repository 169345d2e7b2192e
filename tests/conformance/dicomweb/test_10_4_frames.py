"""DICOM PS3.18, 10.4.1.1.6: frames, by range, as stored or decoded."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames

from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import Sample, file, multiframe, parts, store
from tests.factories import People, bearer

OCTETS = 'multipart/related; type="application/octet-stream"'
EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture
async def cine(web: httpx.AsyncClient) -> Sample:
    """Five frames of 16 x 16 bytes; frame n is filled with n."""
    sample = multiframe(5)
    assert (await store(web, sample)).status_code in (200, 202)
    return sample


async def held(web: httpx.AsyncClient, name: str) -> str:
    """Store one of pydicom's files; its path."""
    data = file(name)
    made = dcmread(io.BytesIO(data))
    answer = await store(web, data)
    assert answer.status_code in (200, 202), answer.text
    return f"/studies/{made.StudyInstanceUID}/series/{made.SeriesInstanceUID}/instances/{made.SOPInstanceUID}"


@pytest.mark.parametrize(
    "accept",
    [
        OCTETS,
        "multipart/related; type=application/octet-stream",
        'multipart/related; type="*/*"',
        f'multipart/related; type="application/octet-stream"; transfer-syntax={EXPLICIT}',
        "multipart/related; type=application/octet-stream; transfer-syntax=*",
        "*/*",
        "application/dicom+json, multipart/related; type=application/octet-stream",
    ],
)
async def test_one_frame(web: httpx.AsyncClient, cine: Sample, accept: str, owner: Owner):
    answer = await web.get(f"/dicomweb{cine.path}/frames/3", headers={"Accept": accept})
    ((headers, content),) = parts(answer)
    assert content == b"\3" * 256
    assert headers["content-type"] == f"application/octet-stream; transfer-syntax={EXPLICIT}"
    assert headers["content-location"].endswith(f"{owner.root}{cine.path}/frames/3")


async def test_a_list_of_frames(web: httpx.AsyncClient, cine: Sample):
    answer = await web.get(f"/dicomweb{cine.path}/frames/1,5,2", headers={"Accept": OCTETS})
    assert [content[:1] for _, content in parts(answer)] == [b"\1", b"\5", b"\2"]


async def test_a_single_part_for_one_frame(web: httpx.AsyncClient, cine: Sample):
    path = f"/dicomweb{cine.path}/frames"
    answer = await web.get(f"{path}/2", headers={"Accept": "application/octet-stream"})
    assert answer.content == b"\2" * 256
    assert answer.headers["content-type"].startswith("application/octet-stream")
    stretch = {"Accept": "application/octet-stream", "Range": "bytes=10-19"}
    assert (await web.get(f"{path}/2", headers=stretch)).content == b"\2" * 10
    assert (await web.get(f"{path}/1,2", headers={"Accept": "application/octet-stream"})).status_code == 406


@pytest.mark.parametrize(
    ("frames", "status"),
    [
        ("6", 404),
        ("1,6", 404),
        ("0", 400),
        ("-1", 400),
        ("x", 400),
        ("1,,2", 400),
        ("99999999999", 400),
        ("1.5", 400),
    ],
)
async def test_frames_that_are_not_there(web: httpx.AsyncClient, cine: Sample, frames: str, status: int):
    answer = await web.get(f"/dicomweb{cine.path}/frames/{frames}")
    assert answer.status_code == status
    assert answer.json()["error"]


async def test_an_object_without_pixels(web: httpx.AsyncClient):
    path = await held(web, "reportsi.dcm")
    assert (await web.get(f"/dicomweb{path}/frames/1")).status_code == 404


STORED = [
    ("JPEG2000.dcm", "image/jp2", "1.2.840.10008.1.2.4.91"),
    ("SC_rgb_jpeg_dcmtk.dcm", "image/jpeg", "1.2.840.10008.1.2.4.50"),
    ("emri_small_jpeg_ls_lossless.dcm", "image/jls", "1.2.840.10008.1.2.4.80"),
    ("MR_small_RLE.dcm", "image/dicom-rle", "1.2.840.10008.1.2.5"),
    ("emri_small_jpeg_2k_lossless.dcm", "image/jp2", "1.2.840.10008.1.2.4.90"),
]


@pytest.mark.parametrize(("name", "media_type", "syntax"), STORED)
async def test_as_stored(web: httpx.AsyncClient, name: str, media_type: str, syntax: str):
    """Table 8.7.3-5: the media type of each transfer syntax, on the part."""
    path = await held(web, name)
    made = dcmread(io.BytesIO(file(name)))
    expected = next(generate_frames(made.PixelData, number_of_frames=int(made.get("NumberOfFrames", 1))))
    for accept in (
        "multipart/related; type=application/octet-stream; transfer-syntax=*",
        f'multipart/related; type="{media_type}"',
        f'multipart/related; type="{media_type}"; transfer-syntax={syntax}',
        'multipart/related; type="image/*"',
        'multipart/related; type="*/*"; transfer-syntax=*',
    ):
        ((headers, content),) = parts(await web.get(f"/dicomweb{path}/frames/1", headers={"Accept": accept}))
        assert headers["content-type"] == f"{media_type}; transfer-syntax={syntax}", accept
        assert content == expected
    alone = await web.get(f"/dicomweb{path}/frames/1", headers={"Accept": media_type})
    assert alone.content == expected


@pytest.mark.parametrize(
    "name", ["JPEG2000.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm", "examples_palette.dcm"]
)
async def test_decoded(web: httpx.AsyncClient, name: str):
    """8.7.3.3: octets without a transfer syntax are Explicit VR Little Endian."""
    path = await held(web, name)
    ((headers, content),) = parts(await web.get(f"/dicomweb{path}/frames/1", headers={"Accept": OCTETS}))
    assert headers["content-type"] == f"application/octet-stream; transfer-syntax={EXPLICIT}"
    made = dcmread(io.BytesIO(file(name)))
    assert len(content) == made.Rows * made.Columns * made.SamplesPerPixel * made.BitsAllocated // 8


async def test_rle_decodes_to_the_same_pixels(web: httpx.AsyncClient):
    path = await held(web, "MR_small_RLE.dcm")
    ((_, content),) = parts(await web.get(f"/dicomweb{path}/frames/1", headers={"Accept": OCTETS}))
    expected = dcmread(io.BytesIO(file("MR_small.dcm"))).pixel_array
    assert np.array_equal(np.frombuffer(content, "<i2").reshape(expected.shape), expected)


async def test_big_endian_comes_as_little(web: httpx.AsyncClient):
    path = await held(web, "MR_small_bigendian.dcm")
    ((_, content),) = parts(await web.get(f"/dicomweb{path}/frames/1", headers={"Accept": OCTETS}))
    expected = dcmread(io.BytesIO(file("MR_small.dcm"))).pixel_array
    assert np.array_equal(np.frombuffer(content, "<i2").reshape(expected.shape), expected)


async def test_nothing_acceptable(web: httpx.AsyncClient, cine: Sample):
    """8.7.5: 406, with everything that could be had, also what would be made."""
    for accept in ("image/png", 'multipart/related; type="image/webp"', "text/plain"):
        answer = await web.get(f"/dicomweb{cine.path}/frames/1", headers={"Accept": accept})
        assert answer.status_code == 406, accept
        for kind in ("application/octet-stream", "image/jpeg", "image/jp2", "image/dicom-rle"):
            assert f", {kind}" in answer.json()["error"]
            made = await web.get(f"/dicomweb{cine.path}/frames/1", headers={"Accept": kind})
            assert made.headers["content-type"].startswith(kind)


async def test_caching(web: httpx.AsyncClient, cine: Sample):
    first = await web.get(f"/dicomweb{cine.path}/frames/1")
    again = await web.get(f"/dicomweb{cine.path}/frames/1", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    other = await web.get(f"/dicomweb{cine.path}/frames/2", headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


async def test_frames_do_not_need_the_right_to_download(
    web: httpx.AsyncClient, cine: Sample, owner: Owner, people: People
):
    """Decision 4."""
    doctor = await people.doctor()
    await people.share(owner.person, doctor, rights=("images",))
    headers = {**bearer(await people.token(doctor, "user/*.rs")), "Accept": OCTETS}
    assert (await web.get(f"/dicomweb{cine.path}/frames/1", headers=headers)).status_code == 200
    stranger = bearer(await people.token(await people.patient("Some One")))
    assert (await web.get(f"/dicomweb{cine.path}/frames/1", headers=stranger)).status_code == 404
