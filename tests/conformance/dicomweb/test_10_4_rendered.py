"""DICOM PS3.18, 10.4.1.1.3 and 10.4.1.1.5: rendered images and thumbnails."""

from __future__ import annotations

import io

import httpx
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.conformance.dicomweb.samples import Sample, file, instance, multiframe, parts, store, written
from tests.conformance.dicomweb.test_10_4_frames import held
from tests.factories import People, bearer


def image(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("image/jpeg", "JPEG"),
        ("image/png", "PNG"),
        ("image/gif", "GIF"),
        ("image/*", "JPEG"),
        ("*/*", "JPEG"),
    ],
)
async def test_formats(web: httpx.AsyncClient, stored: Sample, accept: str, format: str):
    answer = await web.get(f"/dicomweb{stored.path}/rendered", headers={"Accept": accept})
    assert image(answer).format == format
    assert answer.headers["content-type"] == f"image/{format.lower()}"


@pytest.mark.parametrize("level", ["study", "series", "instance", "frame"])
@pytest.mark.parametrize("kind", ["rendered", "thumbnail"])
async def test_levels(web: httpx.AsyncClient, stored: Sample, level: str, kind: str):
    series = f"/studies/{stored.study}/series/{stored.series}"
    paths = {
        "study": f"/studies/{stored.study}",
        "series": series,
        "instance": stored.path,
        "frame": f"{stored.path}/frames/1",
    }
    answer = await web.get(f"/dicomweb{paths[level]}/{kind}")
    assert image(answer).format == "JPEG"
    again = await web.get(
        f"/dicomweb{paths[level]}/{kind}", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304


async def test_window(web: httpx.AsyncClient, stored: Sample):
    """8.3.5.1.4: pixel values are 0 to 255 in rows."""
    path = f"/dicomweb{stored.path}/rendered"
    dark = image(await web.get(f"{path}?window=1000,10", headers={"Accept": "image/png"}))
    bright = image(await web.get(f"{path}?window=-1000,10,linear-exact", headers={"Accept": "image/png"}))
    assert dark.getextrema() == (0, 0)
    assert bright.getextrema() == (255, 255)


async def test_viewport(web: httpx.AsyncClient, stored: Sample):
    """8.3.5.1.3: as large as the viewport allows, and a region."""
    path = f"/dicomweb{stored.path}/rendered"
    assert image(await web.get(f"{path}?viewport=64,32")).size == (32, 32)
    assert image(await web.get(f"{path}?viewport=40,40,0,0,8,4")).size == (40, 20)


async def test_absurdities(web: httpx.AsyncClient, stored: Sample):
    """8.3.5.1: 400 for what a parameter cannot be."""
    for query in (
        *("viewport=0,0", "viewport=1e9,1", "viewport=,", "viewport=8.5,8", "viewport=8,8,1,1"),
        *("window=1", "window=x,y", "window=1,0.5,linear", "window=1,2,cubic", "quality=0", "quality=50.5"),
    ):
        answer = await web.get(f"/dicomweb{stored.path}/rendered?{query}")
        assert (answer.status_code, bool(answer.json()["error"])) == (400, True), query


async def test_quality(web: httpx.AsyncClient, stored: Sample):
    path = f"/dicomweb{stored.path}/rendered"
    low = await web.get(f"{path}?quality=5")
    high = await web.get(f"{path}?quality=95")
    assert len(low.content) < len(high.content)


async def test_cine(web: httpx.AsyncClient):
    sample = multiframe(5)
    await store(web, sample)
    moving = image(
        await web.get(f"/dicomweb{sample.path}/rendered?window=3,6", headers={"Accept": "image/gif"})
    )
    assert moving.n_frames > 1


async def test_several_frames(web: httpx.AsyncClient):
    """10.4.4: one picture cannot be several: parts, or one that moves."""
    sample = multiframe(4)
    await store(web, sample)
    path = f"/dicomweb{sample.path}/frames/1,3/rendered"
    assert (await web.get(path, headers={"Accept": "image/jpeg"})).status_code == 406
    assert len(parts(await web.get(path, headers={"Accept": "*/*"}))) == 2
    assert len(parts(await web.get(path, headers={"Accept": 'multipart/related; type="image/png"'}))) == 2
    assert image(await web.get(path + "?window=2,4", headers={"Accept": "image/gif"})).format == "GIF"


async def test_parts(web: httpx.AsyncClient):
    """Every image of a series, where parts are asked for."""
    one = instance()
    await store(web, one, instance(study=one.study, series=one.series))
    accept = 'multipart/related; type="image/jpeg"'
    answer = await web.get(f"/dicomweb/studies/{one.study}/rendered", headers={"Accept": accept})
    assert [headers["content-type"] for headers, _ in parts(answer)] == ["image/jpeg"] * 2


@pytest.mark.parametrize(
    "name", ["JPEG2000.dcm", "MR_small_RLE.dcm", "examples_palette.dcm", "examples_ybr_color.dcm"]
)
async def test_compressed_and_coloured(web: httpx.AsyncClient, name: str):
    path = await held(web, name)
    assert image(await web.get(f"/dicomweb{path}/rendered")).size[0] > 10


async def test_thumbnails_are_small(web: httpx.AsyncClient):
    path = await held(web, "JPEG2000.dcm")
    series = path.rpartition("/instances/")[0]
    assert max(image(await web.get(f"/dicomweb{series}/thumbnail")).size) <= 256
    assert max(image(await web.get(f"/dicomweb{series}/thumbnail?viewport=64%2C64")).size) <= 64
    assert max(image(await web.get(f"/dicomweb{path}/thumbnail?viewport=50,50")).size) <= 50


async def test_thumbnails_name_nobody(web: httpx.AsyncClient):
    """10.4.3.3.4: nothing that somebody drew, and what is burned into the pixels is too small to be read."""
    path = await held(web, "examples_overlay.dcm")
    overlaid = image(await web.get(f"/dicomweb{path}/rendered?viewport=256,256&window=1000000,10"))
    assert overlaid.getextrema()[1] > 200
    plain = dcmread(io.BytesIO(file("examples_overlay.dcm")))
    for element in [each for each in plain if each.tag.group & 0xFF00 == 0x6000]:
        del plain[element.tag]
    plain.SOPInstanceUID = plain.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    burned = instance(BurnedInAnnotation="YES")
    assert (await store(web, written(plain, plain.file_meta.TransferSyntaxUID), burned)).status_code == 200
    other = f"{path.rpartition('/')[0]}/{plain.SOPInstanceUID}"
    small = [(await web.get(f"/dicomweb{each}/thumbnail")).content for each in (path, other)]
    assert small[0] == small[1]
    for of in (burned.path, f"/studies/{burned.study}"):
        for query in ("", "?viewport=2000,2000"):
            assert image(await web.get(f"/dicomweb{of}/thumbnail{query}")).size == (128, 128)


async def test_hidden(web: httpx.AsyncClient, stored: Sample, people: People):
    stranger = bearer(await people.token(await people.patient("Some One")))
    for path in (stored.path, f"/studies/{stored.study}", f"{stored.path}/frames/1"):
        for kind in ("rendered", "thumbnail"):
            assert (await web.get(f"/dicomweb{path}/{kind}", headers=stranger)).status_code == 404


@pytest.mark.parametrize("what", ["/rendered", "/thumbnail", "/frames/1/rendered", "/frames/1", ""])
async def test_dates_and_stretches(web: httpx.AsyncClient, stored: Sample, what: str):
    """RFC 9110, 13.1.3 and 14.2: one instance never changes after it was stored."""
    path = f"/dicomweb{stored.path}{what}"
    accept = {"Accept": "application/dicom, application/octet-stream, image/jpeg"}
    whole = await web.get(path, headers=accept)
    part = await web.get(path, headers={**accept, "Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    if what == "/thumbnail":
        return
    dated = {"If-Modified-Since": whole.headers["last-modified"]}
    assert (await web.get(path, headers={**accept, **dated})).status_code == 304
    before = {"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}
    assert (await web.get(path, headers={**accept, **before})).status_code == 200
    other = {**dated, "If-None-Match": '"another"'}  # which comes first
    assert (await web.get(path, headers={**accept, **other})).status_code == 200
    assert (await web.get(path, headers={**accept, "If-Modified-Since": "soon"})).status_code == 200
