"""DICOM PS3.18, 10.4.1.1.4: bulk data."""

from __future__ import annotations

import io
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence

from server.access.services import Services
from server.dicomweb import bulkdata_all
from server.imaging import bulk
from server.imaging.catalogue import InstanceRow
from tests.conformance.dicomweb.samples import Sample, file, instance, parts, store, written
from tests.conformance.dicomweb.test_10_4_frames import held
from tests.factories import People, bearer

PDF = b"%PDF-1.4 " + bytes(range(256)) * 20 + b" "


@pytest.fixture
async def document(web: httpx.AsyncClient) -> Sample:
    """An encapsulated PDF with a binary value inside of a sequence."""
    item = Dataset()
    item.add_new(0x00420011, "OB", b"inner" * 400)
    sample = instance(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1",
        Modality="DOC",
        EncapsulatedDocument=PDF,
        MIMETypeOfEncapsulatedDocument="application/pdf",
        ContentSequence=Sequence([Dataset(), item]),
    )
    assert (await store(web, sample)).status_code in (200, 202)
    return sample


def without_pixels() -> Sample:
    """A PDF as it mostly comes."""
    more = {"EncapsulatedDocument": PDF, "MIMETypeOfEncapsulatedDocument": "application/pdf"}
    made = dcmread(io.BytesIO(instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", **more).data))
    del made.PixelData
    return Sample(written(made), made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID)


async def uris(web: httpx.AsyncClient, path: str) -> dict[str, str]:
    """The URIs of the metadata, by path below /bulkdata/."""
    model = (await web.get(f"/dicomweb{path}/metadata")).json()[0]
    found: dict[str, str] = {}

    def walk(dataset: dict) -> None:
        for element in dataset.values():
            if "BulkDataURI" in element:
                found[element["BulkDataURI"].partition("/bulkdata/")[2]] = element["BulkDataURI"]
            for item in element.get("Value", []) if element["vr"] == "SQ" else []:
                walk(item)

    walk(model)
    return found


async def test_what_metadata_name_can_be_had(web: httpx.AsyncClient, document: Sample):
    found = await uris(web, document.path)
    assert set(found) == {"00420011", "0040A730/2/00420011", "7FE00010"}
    for name, expected in (("00420011", PDF), ("0040A730/2/00420011", b"inner" * 400)):
        answer = await web.get(found[name], headers={"Accept": "application/octet-stream"})
        assert answer.content == expected
        assert int(answer.headers["content-length"]) == len(expected)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("multipart/*", "application/pdf"),
        ('multipart/related; type="*/*"', "application/pdf"),
        ('multipart/related; type="application/octet-stream"', "application/octet-stream"),
    ],
)
async def test_as_parts(web: httpx.AsyncClient, document: Sample, accept: str, media_type: str):
    answer = await web.get(f"/dicomweb{document.path}/bulkdata/00420011", headers={"Accept": accept})
    ((headers, content),) = parts(answer)
    assert content == PDF
    assert headers["content-type"] == media_type


@pytest.mark.parametrize("accept", ["application/pdf", "*/*", "application/*", "text/html, */*;q=0.8"])
async def test_as_the_document_it_is(web: httpx.AsyncClient, document: Sample, accept: str):
    """A single part where parts are not demanded; the rendered form of a document is the document."""
    alone = without_pixels()
    await store(web, alone)
    for path in (f"{document.path}/bulkdata/00420011", f"{alone.path}/rendered"):
        answer = await web.get(f"/dicomweb{path}", headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.content == PDF


async def test_ranges(web: httpx.AsyncClient, document: Sample):
    headers = {"Accept": "application/octet-stream", "Range": "bytes=0-3"}
    answer = await web.get(f"/dicomweb{document.path}/bulkdata/00420011", headers=headers)
    assert (answer.status_code, answer.content) == (206, b"%PDF")
    assert answer.headers["content-range"] == f"bytes 0-3/{len(PDF)}"


@pytest.mark.parametrize("name", ["bulkdata/7FE00010", "pixeldata"])
async def test_pixels(web: httpx.AsyncClient, stored: Sample, name: str):
    answer = await web.get(f"/dicomweb{stored.path}/{name}", headers={"Accept": "application/octet-stream"})
    assert answer.content == dcmread(io.BytesIO(stored.data)).PixelData


async def test_pixels_in_big_endian_come_as_little(web: httpx.AsyncClient):
    path = await held(web, "MR_small_bigendian.dcm")
    answer = await web.get(f"/dicomweb{path}/pixeldata", headers={"Accept": "application/octet-stream"})
    expected = dcmread(io.BytesIO(file("MR_small.dcm"))).pixel_array
    assert np.array_equal(np.frombuffer(answer.content, "<i2").reshape(expected.shape), expected)


async def test_compressed_pixels_come_frame_by_frame(web: httpx.AsyncClient):
    path = await held(web, "emri_small_jpeg_2k_lossless.dcm")
    stored = await web.get(
        f"/dicomweb{path}/pixeldata", headers={"Accept": 'multipart/related; type="image/jp2"'}
    )
    assert len(parts(stored)) == 10
    decoded = await web.get(f"/dicomweb{path}/pixeldata", headers={"Accept": "multipart/*"})
    assert {len(content) for _, content in parts(decoded)} == {64 * 64 * 2}


async def test_all_of_an_instance(web: httpx.AsyncClient, document: Sample, monkeypatch: pytest.MonkeyPatch):
    """Each of its values, and its header is read once for all of them."""
    opened: list[InstanceRow] = []

    def counted(services: Services, row: InstanceRow) -> AbstractAsyncContextManager[bulk.Opened]:
        opened.append(row)
        return bulk.opened(services, row)

    # What works behind the scenes reads headers too, so only those for this answer are counted.
    monkeypatch.setattr(bulkdata_all, "bulk", SimpleNamespace(opened=counted))
    found = parts(await web.get(f"/dicomweb{document.path}/bulkdata"))
    assert len(opened) == 1
    assert {headers["content-location"].partition("/bulkdata/")[2] for headers, _ in found} == {
        "00420011",
        "0040A730/2/00420011",
        "7FE00010",
    }


async def test_all_of_a_series_and_a_study(web: httpx.AsyncClient, document: Sample):
    """10.4.3.3.5: by the URIs of their metadata; compressed pixels frame by frame; pixel data alone."""
    other = instance(study=document.study)
    packed = dcmread(io.BytesIO(file("emri_small_RLE.dcm")))
    packed.StudyInstanceUID, packed.NumberOfFrames = document.study, 10
    assert (await store(web, other, written(packed, packed.file_meta.TransferSyntaxUID))).status_code == 200

    async def places(path: str) -> list[str]:
        found = parts(await web.get(f"/dicomweb{path}"))
        return [headers["content-location"].partition("/instances/")[2] for headers, _ in found]

    study, series = f"/studies/{document.study}", document.path.partition("/instances/")[0]
    frames = [f"{packed.SOPInstanceUID}/frames/{number}" for number in range(1, 11)]
    pixels = [f"{other.sop}/bulkdata/7FE00010", f"{document.sop}/bulkdata/7FE00010", *frames]
    own = [f"{document.sop}/bulkdata/{path}" for path in ("00420011", "0040A730/2/00420011")]
    assert sorted(await places(f"{study}/bulkdata")) == sorted([*own, *pixels])
    assert sorted(await places(f"{series}/bulkdata")) == sorted([*own, pixels[1]])
    assert sorted(await places(f"{study}/pixeldata")) == sorted(pixels)
    whole = await web.get(f"/dicomweb{study}/pixeldata")
    assert {len(content) for _, content in parts(whole)} == {512, 64 * 64 * 2}
    again = {"If-None-Match": whole.headers["etag"]}
    assert (await web.get(f"/dicomweb{study}/pixeldata", headers=again)).status_code == 304
    refused = await web.get(f"/dicomweb{study}/bulkdata", headers={"Accept": "image/png"})
    assert refused.status_code == 406


async def test_frames_that_are_missing(web: httpx.AsyncClient):
    """10.4.3: nobody gets a part for the whole; 406 before the first byte, and after it the answer is cut off."""
    packed = dcmread(io.BytesIO(instance(NumberOfFrames=3, InstanceNumber=2).data))
    packed.PixelData = encapsulate_buffer([b"\xff\x4f\xff\x51" + bytes(60)] * 4)  # which are of which frame?
    packed["PixelData"].VR, packed["PixelData"].is_undefined_length = "OB", True
    assert (await store(web, written(packed, "1.2.840.10008.1.2.4.90"))).status_code in (200, 202)
    study = f"/dicomweb/studies/{packed.StudyInstanceUID}"
    for name in ("bulkdata", "pixeldata"):
        refused = await web.get(f"{study}/{name}")
        assert refused.status_code == 406
    whole = instance(packed.StudyInstanceUID, packed.SeriesInstanceUID, InstanceNumber=1)
    assert (await store(web, whole)).status_code == 200
    for name in ("bulkdata", "pixeldata"):
        with pytest.raises(httpx.RemoteProtocolError):
            await web.get(f"{study}/{name}")


async def test_absent(web: httpx.AsyncClient, document: Sample):
    for path in (
        *("00420012x", "00990099", "0040A730", "0040A730/9/00420011", "0040A730/0/00420011"),
        *("..%2F..%2Fetc", "00080005/1/00080005"),
    ):
        assert (await web.get(f"/dicomweb{document.path}/bulkdata/{path}")).status_code == 404, path
    words = without_pixels()
    for path in ("/studies/1.2/bulkdata", "/studies/1.2/pixeldata", f"/studies/{words.study}/pixeldata"):
        assert (await web.get(f"/dicomweb{path}")).status_code == 404


async def test_deflated(web: httpx.AsyncClient):
    path = await held(web, "image_dfl.dcm")
    answer = await web.get(f"/dicomweb{path}/pixeldata", headers={"Accept": "application/octet-stream"})
    assert answer.content == dcmread(io.BytesIO(file("image_dfl.dcm"))).PixelData


async def test_hidden(web: httpx.AsyncClient, document: Sample, people: People):
    stranger = bearer(await people.token(await people.patient("Some One")))
    for name in ("bulkdata", "bulkdata/00420011", "pixeldata"):
        assert (await web.get(f"/dicomweb{document.path}/{name}", headers=stranger)).status_code == 404


@pytest.mark.parametrize("fragments", [1, 3])
async def test_video(web: httpx.AsyncClient, fragments: int):
    """8.7.3.3.3: the stream as it is held."""
    film = bytes(range(256)) * 400
    size = len(film) // fragments // 2 * 2
    pieces = [film[at : at + size] for at in range(0, size * fragments, size)]
    made = dcmread(
        io.BytesIO(instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.4.1", NumberOfFrames=3).data)
    )
    made.PixelData = encapsulate_buffer(pieces)
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    data = written(made, "1.2.840.10008.1.2.4.102")
    assert (await store(web, data)).status_code in (200, 202)
    path = f"/studies/{made.StudyInstanceUID}/series/{made.SeriesInstanceUID}/instances/{made.SOPInstanceUID}"
    answer = await web.get(f"/dicomweb{path}/bulkdata/7FE00010", headers={"Accept": "video/mp4"})
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.content == b"".join(pieces)
    part = await web.get(f"/dicomweb{path}/pixeldata", headers={"Accept": "video/*", "Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, film[:10])
    across = {
        "Accept": "video/*",
        "Range": f"bytes={size - 3}-{size + 2}",
    }  # of two fragments, where there are
    part = await web.get(f"/dicomweb{path}/pixeldata", headers=across)
    assert part.content == film[size - 3 : size + 3][: 6 if fragments == 3 else 3]
    multi = await web.get(
        f"/dicomweb{path}/pixeldata", headers={"Accept": 'multipart/related; type="video/mp4"'}
    )
    assert parts(multi)[0][1] == b"".join(pieces)
    shown = await web.get(f"/dicomweb{path}/rendered?accept=video/mp4")
    assert shown.content == b"".join(pieces)


def encapsulate_buffer(pieces: list[bytes]) -> bytes:
    """An empty offset table and the pieces as fragments (PS3.5, A.4)."""
    items = [b"", *pieces]
    body = b"".join(b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item for item in items)
    return body + b"\xfe\xff\xdd\xe0\0\0\0\0"
