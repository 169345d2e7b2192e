"""DICOM PS3.18, 9: URI Service (WADO-URI)."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import Sample, multiframe, store
from tests.conformance.dicomweb.test_8_3_5_rendering_parameters import state_for
from tests.conformance.dicomweb.test_10_4_frames import held
from tests.factories import People, bearer


def query(sample: Sample) -> dict[str, str]:
    return {
        "requestType": "WADO",
        "studyUID": sample.study,
        "seriesUID": sample.series,
        "objectUID": sample.sop,
    }


async def test_a_picture_by_default(web: httpx.AsyncClient, stored: Sample):
    """9.1.2.2.1: image/jpeg for single frame images."""
    answer = await web.get("/dicomweb/wado", params=query(stored))
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (16, 16)


async def test_the_object(web: httpx.AsyncClient, stored: Sample):
    answer = await web.get("/dicomweb/wado", params={**query(stored), "contentType": "application/dicom"})
    assert answer.content == stored.data
    assert answer.headers["content-type"].startswith("application/dicom")


@pytest.mark.parametrize("kind", ["image/png", "image/gif", "image/jpeg"])
async def test_content_types(web: httpx.AsyncClient, stored: Sample, kind: str):
    answer = await web.get("/dicomweb/wado", params={**query(stored), "contentType": kind})
    assert answer.headers["content-type"] == kind


async def test_how_it_is_to_look(web: httpx.AsyncClient):
    sample = multiframe(5)
    await store(web, sample)
    more = {
        "frameNumber": "3",
        "rows": "32",
        "columns": "8",
        "windowCenter": "3",
        "windowWidth": "6",
        "imageQuality": "90",
    }
    answer = await web.get("/dicomweb/wado", params={**query(sample), **more})
    assert Image.open(io.BytesIO(answer.content)).size == (8, 8)
    region = await web.get("/dicomweb/wado", params={**query(sample), "region": "0,0,0.5,0.25"})
    assert Image.open(io.BytesIO(region.content)).size == (8, 4)


async def test_what_is_no_image_comes_as_it_is(web: httpx.AsyncClient):
    path = (await held(web, "rtplan.dcm")).split("/")
    names = {"requestType": "WADO", "studyUID": path[2], "seriesUID": path[4], "objectUID": path[6]}
    answer = await web.get("/dicomweb/wado", params=names)
    assert answer.headers["content-type"].startswith("application/dicom")
    assert (await web.get("/dicomweb/wado", params={**names, "contentType": "image/png"})).status_code == 406


WRONG: list[dict[str, str]] = [
    {"requestType": "X"}, {"studyUID": ""}, {"objectUID": "\x00"}, {"rows": "0"}, {"rows": "x"},
    {"region": "1,1,0,0"}, {"windowCenter": "1"}, {"imageQuality": "0"}, {"anonymize": "yes"},
    {"frameNumber": "-1"}, {"frameNumber": "2"},
]  # fmt: skip


async def test_requests_that_cannot_be_understood(web: httpx.AsyncClient, stored: Sample):
    """9.5.1.2; 9.5.2.1: a frame that is not there."""
    for wrong in WRONG:
        answer = await web.get("/dicomweb/wado", params={**query(stored), **wrong})
        assert (answer.status_code, bool(answer.json()["error"])) == (400, True), wrong
    assert (await web.get("/dicomweb/wado", params={**query(stored), "anonymize": "no"})).status_code == 200


async def test_the_header_decides_where_the_query_does_not(web: httpx.AsyncClient, stored: Sample):
    """8.7.5: contentType comes before Accept; what nobody can make is the default, as browsers ask for images."""
    for accept, kind in (
        ("application/dicom", "application/dicom"),
        ("image/png;q=0.9, image/jpeg;q=0.1", "image/png"),
        ("image/avif,image/webp,image/*,*/*;q=0.8", "image/jpeg"),
        ("text/html", "image/jpeg"),
    ):
        answer = await web.get("/dicomweb/wado", params=query(stored), headers={"Accept": accept})
        assert answer.headers["content-type"].partition(";")[0] == kind, accept
    named = {**query(stored), "contentType": "image/gif"}
    answer = await web.get("/dicomweb/wado", params=named, headers={"Accept": "application/dicom"})
    assert answer.headers["content-type"] == "image/gif"


async def test_absent(web: httpx.AsyncClient, stored: Sample):
    assert (await web.get("/dicomweb/wado", params={**query(stored), "objectUID": "1.2"})).status_code == 404


async def test_rights(web: httpx.AsyncClient, stored: Sample, owner: Owner, people: People):
    """Decision 4: pictures, and no file, without the right to download."""
    doctor = await people.doctor()
    await people.share(owner.person, doctor, rights=("images",))
    headers = bearer(await people.token(doctor, "user/*.rs"))
    assert (await web.get("/dicomweb/wado", params=query(stored), headers=headers)).status_code == 200
    file = {**query(stored), "contentType": "application/dicom"}
    assert (await web.get("/dicomweb/wado", params=file, headers=headers)).status_code == 404
    assert (
        await web.get("/dicomweb/wado", params=query(stored), headers={"Authorization": ""})
    ).status_code == 401


async def test_by_a_presentation_state(web: httpx.AsyncClient, stored: Sample):
    """9.1.2.2.3: presentationSeriesUID and presentationUID."""
    state = state_for(stored, ImageRotation=0, ImageHorizontalFlip="Y", PresentationLUTShape="INVERSE")
    assert (await store(web, state)).status_code == 200
    asked = {**query(stored), "contentType": "image/png"}
    named = {"presentationSeriesUID": state.series, "presentationUID": state.sop}
    plain = np.asarray(Image.open(io.BytesIO((await web.get("/dicomweb/wado", params=asked)).content)))
    answer = await web.get("/dicomweb/wado", params={**asked, **named})
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), 255 - plain[:, ::-1])
    refused = [
        {"presentationUID": state.sop},
        {**named, "windowCenter": "1", "windowWidth": "2"},
        {"presentationSeriesUID": stored.series, "presentationUID": stored.sop},
    ]
    for wrong in refused:
        assert (await web.get("/dicomweb/wado", params={**asked, **wrong})).status_code == 400
    unknown = {"presentationSeriesUID": "1.2", "presentationUID": "1.2"}
    assert (await web.get("/dicomweb/wado", params={**asked, **unknown})).status_code == 404


async def test_a_report(web: httpx.AsyncClient):
    """9.1.2.2.1: text/html by default."""
    path = await held(web, "reportsi.dcm")
    study, series, sop = path.split("/")[2::2]
    asked = query(Sample(b"", study, series, sop))
    answer = await web.get("/dicomweb/wado", params=asked)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    plain = await web.get("/dicomweb/wado", params={**asked, "contentType": "text/plain"})
    assert plain.headers["content-type"] == "text/plain; charset=utf-8"
    file = await web.get("/dicomweb/wado", params={**asked, "contentType": "application/dicom"})
    assert file.headers["content-type"].startswith("application/dicom")


async def test_words_on_it(web: httpx.AsyncClient, stored: Sample):
    asked = {**query(stored), "contentType": "image/png", "rows": "200", "columns": "200"}
    plain = await web.get("/dicomweb/wado", params=asked)
    marked = await web.get("/dicomweb/wado", params={**asked, "annotation": "patient"})
    assert plain.content != marked.content
