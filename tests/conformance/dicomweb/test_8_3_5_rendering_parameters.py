"""DICOM PS3.18, 8.3.5: rendering parameters, and what is rendered besides plain images (10.4.1.1.3, Table 8.7.4-1)."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from tests.conformance.dicomweb.samples import Sample, instance, multiframe, parts, store, written
from tests.conformance.dicomweb.test_10_4_frames import held
from tests.conformance.dicomweb.test_10_4_rendered import image

GSPS = "1.2.840.10008.5.1.4.1.1.11.1"
PNG = {"Accept": "image/png"}


def state_for(*samples: Sample, **attributes: Any) -> Sample:
    """A grayscale presentation state for these images of one series."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = GSPS, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = samples[0].study, generate_uid()
    made.PatientName, made.PatientID, made.Modality = "Moor^Ada", "P-1", "PR"
    images = []
    for sample in samples:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", sample.sop
        images.append(item)
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedImageSequence = samples[0].series, images
    made.ReferencedSeriesSequence = [series]
    for name, value in attributes.items():
        setattr(made, name, value)
    return Sample(written(made), made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID)


def pixels(answer: httpx.Response) -> np.ndarray:
    return np.asarray(image(answer))


@pytest.mark.parametrize("asked", ["patient", "technique", "patient,technique", "technique,unheard-of"])
async def test_annotation(web: httpx.AsyncClient, stored: Sample, asked: str):
    """8.3.5.1.1: words are burned in; what is not known is left out."""
    path = f"/dicomweb{stored.path}/rendered?viewport=256,256"
    plain = pixels(await web.get(path, headers=PNG))
    answer = await web.get(f"{path}&annotation={asked}", headers=PNG)
    marked = pixels(answer) != plain
    assert marked[:60, :100].any() == ("patient" in asked)
    assert marked[:60, 156:].any() == ("technique" in asked)


@pytest.mark.parametrize("wanted", ["yes", "srgb", "adobergb", "rommrgb"])
async def test_icc_profile(web: httpx.AsyncClient, wanted: str):
    """8.3.5.1.5: the picture carries a profile, its own or that which is named."""
    path = f"/dicomweb{await held(web, 'examples_rgb_color.dcm')}/rendered"
    found = image(await web.get(f"{path}?iccprofile={wanted}"))
    assert ImageCms.ImageCmsProfile(io.BytesIO(found.info["icc_profile"]))
    assert "icc_profile" not in image(await web.get(f"{path}?iccprofile=no")).info


async def test_a_gif_holds_no_profile(web: httpx.AsyncClient, stored: Sample):
    answer = await web.get(
        f"/dicomweb{stored.path}/rendered?iccprofile=srgb", headers={"Accept": "image/gif"}
    )
    assert answer.status_code == 406
    assert (await web.get(f"/dicomweb{stored.path}/rendered?iccprofile=mine")).status_code == 400


async def test_negative_sides_mirror(web: httpx.AsyncClient, stored: Sample):
    """8.3.5.1.3: a region whose width or height is below zero is flipped."""
    path = f"/dicomweb{stored.path}/rendered?viewport=16,16,0,0,"
    plain = pixels(await web.get(f"{path}16,16", headers=PNG))
    assert np.array_equal(pixels(await web.get(f"{path}-16,16", headers=PNG)), plain[:, ::-1])
    assert np.array_equal(pixels(await web.get(f"{path}16,-16", headers=PNG)), plain[::-1])


async def test_overlays_are_drawn(web: httpx.AsyncClient):
    path = await held(web, "examples_overlay.dcm")
    drawn = pixels(await web.get(f"/dicomweb{path}/rendered?window=1000000,10", headers=PNG))
    assert drawn.max() == 255  # all else is black
    assert 0 < (drawn > 0).mean() < 0.5


async def test_a_moving_picture_keeps_its_pace(web: httpx.AsyncClient):
    sample = multiframe(3, FrameTime="40", FrameIncrementPointer=0x00181063)
    await store(web, sample)
    answer = await web.get(f"/dicomweb{sample.path}/rendered?window=2,4", headers={"Accept": "image/gif"})
    assert (image(answer).n_frames, image(answer).info["duration"]) == (3, 40)


# -- presentation states


async def test_a_presentation_state_shows_its_images(web: httpx.AsyncClient):
    """10.4.1.1.3: its window, turn and graphics are applied to what it references."""
    one = instance()
    other = instance(study=one.study, series=one.series, InstanceNumber=2)
    voi = Dataset()
    voi.WindowCenter, voi.WindowWidth = 128, 256
    state = state_for(
        one, other, SoftcopyVOILUTSequence=[voi], ImageRotation=90, ImageHorizontalFlip="N",
        PresentationLUTShape="IDENTITY",
    )  # fmt: skip
    assert (await store(web, one, other, state)).status_code == 200
    answer = await web.get(f"/dicomweb{state.path}/rendered", headers=PNG)
    plain = await web.get(f"/dicomweb{one.path}/rendered?window=128,256", headers=PNG)
    assert np.array_equal(pixels(answer), np.rot90(pixels(plain), -1))
    each = parts(
        await web.get(
            f"/dicomweb{state.path}/rendered", headers={"Accept": 'multipart/related; type="image/png"'}
        )
    )
    assert [headers["content-location"].split("/instances/")[1] for headers, _ in each] == [
        f"{sample.sop}/frames/1/rendered" for sample in (one, other)
    ]
    again = await web.get(
        f"/dicomweb{state.path}/rendered", headers={**PNG, "If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    assert (await web.get(f"/dicomweb{state.path}/rendered?window=1,2")).status_code == 400
    moving = await web.get(f"/dicomweb{state.path}/rendered", headers={"Accept": "image/gif"})
    assert moving.status_code == 200


async def test_a_mask_is_taken_away(web: httpx.AsyncClient):
    """PS3.3, C.7.6.10 and C.11.13: contrast minus the mean of its frames; a state that magnifies has a scale."""
    film = multiframe(4, RescaleSlope=2, RescaleIntercept=-5)  # frame n is filled with n
    mask, voi, area = Dataset(), Dataset(), Dataset()
    mask.MaskOperation, mask.MaskFrameNumbers, mask.ApplicableFrameRange = "AVG_SUB", [1, 2], [3, 4]
    voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = 2.5, 5, "LINEAR_EXACT"
    area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner = [1, 1], [16, 16]
    area.PresentationSizeMode, area.PresentationPixelMagnificationRatio = "MAGNIFY", 2.0
    state = state_for(
        film,
        MaskSubtractionSequence=[mask],
        RecommendedViewingMode="SUB",
        SoftcopyVOILUTSequence=[voi],
        DisplayedAreaSelectionSequence=[area],
    )
    shutters = []
    for frame, right in ((3, 9), (4, 5)):
        image, shutter = Dataset(), Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", film.sop
        image.ReferencedFrameNumber = frame
        shutter.ReferencedImageSequence, shutter.ShutterShape = [image], "RECTANGULAR"
        shutter.ShutterLeftVerticalEdge, shutter.ShutterRightVerticalEdge = 0, right
        shutter.ShutterUpperHorizontalEdge, shutter.ShutterLowerHorizontalEdge = 0, 17
        shutters.append(shutter)
    x_ray = state_for(
        film,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.11.5",
        MaskSubtractionSequence=[mask],
        SoftcopyVOILUTSequence=[voi],
        FrameDisplayShutterSequence=shutters,
    )
    related = state_for(
        film, SOPClassUID="1.2.840.10008.5.1.4.1.1.11.5", PixelIntensityRelationshipLUTSequence=[Dataset()]
    )
    assert (await store(web, film, state, x_ray, related)).status_code == 200
    accept = {"Accept": 'multipart/related; type="image/png"'}
    answer = await web.get(f"/dicomweb{state.path}/rendered", headers=accept)
    shown = [np.asarray(Image.open(io.BytesIO(content))) for _, content in parts(answer)]
    assert [each.shape for each in shown] == [(32, 32)] * 4
    # Frames 3 and 4 less 1.5, twice: 3 and 5 of a window from 0 to 5.
    assert [int(each[9, 9]) for each in shown[2:]] == [153, 255]
    assert [int(each[9, 9]) for each in shown[:2]] == [0, 0]  # -3 and -1, and no mask
    # C.11.20: each frame of an X-ray state has a shutter of its own.
    answer = await web.get(f"/dicomweb{x_ray.path}/rendered", headers=accept)
    third, fourth = [np.asarray(Image.open(io.BytesIO(content))) for _, content in parts(answer)][2:]
    assert [int(third[9, column]) for column in (3, 7, 8)] == [153, 153, 0]
    assert [int(fourth[9, column]) for column in (3, 4, 7)] == [255, 0, 0]
    refused = await web.get(f"/dicomweb{related.path}/rendered", headers=PNG)
    assert (refused.status_code, "relationship" in refused.text) == (406, True)


async def test_a_state_without_its_images(web: httpx.AsyncClient, stored: Sample):
    missing = Sample(b"", stored.study, "1.2.3", "1.2.3.4")
    state = state_for(missing)
    assert (await store(web, state)).status_code == 200
    assert (await web.get(f"/dicomweb{state.path}/rendered")).status_code == 404


# -- reports


async def test_a_report_as_a_page(web: httpx.AsyncClient):
    """Table 8.7.4-1: SR is text/html or text/plain; nothing in it is markup or runs."""
    path = await held(web, "reportsi.dcm")
    page = await web.get(f"/dicomweb{path}/rendered")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<h1>" in page.text
    text = await web.get(f"/dicomweb{path}/rendered", headers={"Accept": "text/plain"})
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert (await web.get(f"/dicomweb{path}/rendered", headers={"Accept": "image/png"})).status_code == 406
    again = await web.get(f"/dicomweb{path}/rendered", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304


async def test_what_a_report_says_is_escaped(web: httpx.AsyncClient, stored: Sample):
    title, item = Dataset(), Dataset()
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = "1", "99X", "<script>alert(1)</script>"
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", '<img src=x onerror="x">'
    item.ConceptNameCodeSequence = [title]
    data = dcmread(io.BytesIO(stored.data))
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(data, keyword)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = (
        "1.2.840.10008.5.1.4.1.1.88.11",
        generate_uid(),
        "SR",
    )
    data.ConceptNameCodeSequence, data.ContentSequence, data.PatientName = [title], [item], "</dd><script>"
    report = Sample(written(data), stored.study, stored.series, data.SOPInstanceUID)
    assert (await store(web, report)).status_code == 200
    page = await web.get(f"/dicomweb{report.path}/rendered")
    assert page.status_code == 200
    assert "<script" not in page.text
    assert "<img" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text


async def test_head_and_hidden(web: httpx.AsyncClient, stored: Sample):
    answer = await web.head(f"/dicomweb{stored.path}/rendered")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["etag"]


async def test_the_largest_viewport_is_refused_politely(web: httpx.AsyncClient, stored: Sample):
    assert (await web.get(f"/dicomweb{stored.path}/rendered?viewport=8192,8192")).status_code == 200
    assert (await web.get(f"/dicomweb{stored.path}/rendered?viewport=8193,1")).status_code == 400
