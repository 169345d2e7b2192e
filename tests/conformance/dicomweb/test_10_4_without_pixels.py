"""DICOM PS3.18, 10.4.1.1.3 and 10.4.1.1.5: rendered and thumbnail of what has no pixels, or is a film."""

from __future__ import annotations

import io

import httpx
from PIL import Image
from pydicom import dcmread

from tests.conformance.dicomweb.samples import file, instance, store, written
from tests.conformance.dicomweb.test_10_4_bulkdata import encapsulate_buffer
from tests.conformance.dicomweb.test_10_4_frames import held
from tests.film import film

VIDEO = "1.2.840.10008.5.1.4.1.1.77.1.4.1"


def video(content: bytes, syntax: str = "1.2.840.10008.1.2.4.102") -> bytes:
    """A video photograph (PS3.3, A.32.7) of this stream."""
    made = dcmread(
        io.BytesIO(
            instance(
                SOPClassUID=VIDEO,
                NumberOfFrames=5,
                Modality="XC",
                Rows=64,
                Columns=64,
                SamplesPerPixel=3,
                PhotometricInterpretation="YBR_PARTIAL_420",
                PlanarConfiguration=0,
                BitsAllocated=8,
                BitsStored=8,
                HighBit=7,
                PixelRepresentation=0,
                FrameTime=100,
            ).data
        )
    )
    made.PixelData = encapsulate_buffer([content + b"\0" * (len(content) % 2)])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return written(made, syntax)


async def shown(web: httpx.AsyncClient, path: str, accept: str = "*/*") -> httpx.Response:
    answer = await web.get(f"/dicomweb{path}", headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    again = await web.get(
        f"/dicomweb{path}", headers={"Accept": accept, "If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    return answer


def image(answer: httpx.Response) -> Image.Image:
    return Image.open(io.BytesIO(answer.content))


async def test_a_waveform(web: httpx.AsyncClient):
    """10.4.1.1.3: an electrocardiogram on paper, at each level; by window and viewport."""
    path = await held(web, "waveform_ecg.dcm")
    whole = await shown(web, f"{path}/rendered")
    assert (whole.headers["content-type"], image(whole).format) == ("image/png", "PNG")
    assert image(await shown(web, f"{path}/rendered?viewport=300,300", "image/jpeg")).height == 300
    drawn = await shown(web, f"{path}/rendered", "image/svg+xml")
    assert drawn.content.startswith(b"<svg ")
    assert b">aVR</text>" in drawn.content
    assert "default-src 'none'" in drawn.headers["content-security-policy"]
    assert drawn.content.count(b"<polyline") > 24  # twelve leads of two groups, and the paper
    study = path.split("/series/")[0]
    assert (await shown(web, f"{study}/rendered")).content == whole.content
    named = await shown(web, f"{path}/rendered?annotation=patient", "image/svg+xml")
    assert len(named.content) > len(drawn.content)
    for of in (path, study):
        assert image(await shown(web, f"{of}/thumbnail")).format == "JPEG"
    assert "Waveform Sequence" in (await shown(web, f"{path}/rendered", "text/plain")).text


async def test_plans_and_structures(web: httpx.AsyncClient):
    """Table 8.7.4-1: words for what has no picture; 406 with what there would be where a picture is asked for."""
    for name, words in (("rtplan.dcm", "Field 1"), ("rtstruct.dcm", "Isocenter 1")):
        stored = (await store(web, file(name))).json()["00081199"]["Value"][0]
        path = stored["00081190"]["Value"][0].partition("/dicomweb")[2]
        page = await shown(web, f"{path}/rendered")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert f"<td>{words}</td>" in page.text
        assert words in (await shown(web, f"{path.rpartition('/instances/')[0]}/rendered", "text/plain")).text
        assert image(await shown(web, f"{path}/thumbnail?viewport=64,64")).size == (64, 64)
        refused = await web.get(f"/dicomweb{path}/rendered", headers={"Accept": "image/jpeg"})
        assert refused.status_code == 406
        assert "text/html" in refused.json()["error"]
        assert (await web.get(f"/dicomweb{path}/frames/1/rendered")).status_code == 404


async def test_a_state_of_another_kind(web: httpx.AsyncClient):
    """10.4.1.1.3: a planar state of a volume (PS3.3, A.80) is refused as a picture with the reason; told as words."""
    made = dcmread(io.BytesIO(instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.11.6", Modality="PR").data))
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(made, keyword)
    url = (await store(web, written(made))).json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    refused = await web.get(f"{url}/rendered", headers={"Accept": "image/png"})
    assert refused.status_code == 406
    assert "volumes" in refused.json()["error"]
    assert (await web.get(f"{url}/rendered")).headers["content-type"].startswith("text/html")


async def test_a_film(web: httpx.AsyncClient):
    """8.7.3.3.3 and Table 8.7.4-1: the stream as it is held, by ranges; a sign where a picture is small."""
    content = film()
    assert (await store(web, video(content))).status_code == 200
    (found,) = (await web.get("/dicomweb/instances?includefield=PixelData")).json()
    path = found["00081190"]["Value"][0].partition("/dicomweb")[2]
    for accept in ("*/*", "video/mp4", "video/*", "application/octet-stream, video/mp4;q=0.9"):
        assert (await shown(web, f"{path}/pixeldata", accept)).content.startswith(content)
    for of in (path, path.rpartition("/instances/")[0], path.partition("/series/")[0]):
        whole = await shown(web, f"{of}/rendered")
        assert whole.headers["content-type"] == "video/mp4"
        part = await web.get(f"/dicomweb{of}/rendered", headers={"Range": "bytes=4-7"})
        assert (part.status_code, part.content) == (206, b"ftyp")
        assert image(await shown(web, f"{of}/thumbnail")).format == "JPEG"
    (model,) = (await web.get(f"/dicomweb{path}/metadata")).json()
    uri = model["7FE00010"]["BulkDataURI"]
    assert (await web.get(f"{uri}?accept=video/mp4")).content.startswith(content)
    refused = await web.get(f"/dicomweb{path}/rendered", headers={"Accept": "image/jpeg"})
    assert refused.status_code == 406
    assert "video/mp4" in refused.json()["error"]
    older = video(b"\0\0\1\xba" * 9, "1.2.840.10008.1.2.4.100")
    url = (await store(web, older)).json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    for name in ("video/mpeg", "video/mpeg2"):
        answer = await web.get(f"{url}/rendered", headers={"Accept": name})
        assert answer.headers["content-type"] == name
