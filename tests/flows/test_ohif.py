"""OHIF, as it is served, in a real Chromium: images, planes, a segmentation, a report, a document, a film."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from server.portal.assets import VIEWER, find
from tests.browser import VIEWER_SECONDS, Visitor, chromium, visiting
from tests.conformance.dicomweb.samples import file, store
from tests.conformance.dicomweb.test_10_4_without_pixels import video
from tests.conftest import RunningServer
from tests.factories import People, bearer
from tests.film import film

from . import ohif_objects

RED = """() => {
  const canvas = document.querySelector('canvas.cornerstone-canvas');
  const copy = document.createElement('canvas');
  copy.width = 128; copy.height = 128;
  copy.getContext('2d').drawImage(canvas, 0, 0, 128, 128);
  const data = copy.getContext('2d').getImageData(0, 0, 128, 128).data;
  let red = 0;
  for (let at = 0; at < data.length; at += 4) red += data[at] > data[at + 2] + 30;
  return red;
}"""


async def eventually(visitor: Visitor, script: str, least: int) -> int:
    """What the script finds in the page, once it is so much."""
    found = 0
    for _ in range(VIEWER_SECONDS * 4):
        found = await visitor.page.evaluate(script)
        if found >= least:
            break
        await asyncio.sleep(0.25)
    return found


@pytest.mark.browser
async def test_what_it_shows(server: RunningServer, people: People) -> None:
    """Rows 25-27: images, and what comes with them, in the viewer; nothing breaks the policy of its page."""
    if find(VIEWER, server.data) is None:
        pytest.skip("OHIF was not fetched (scripts/run does)")
    patient = await people.patient()
    volume, document = ohif_objects.volume(), ohif_objects.document()
    segmentation, report = ohif_objects.segmentation(volume), file("reportsi.dcm")
    headers = bearer(await people.token(patient))
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as web:
        for batch in ([*volume, segmentation], [document], [video(film())], [report]):
            answer = await store(web, *batch)
            assert answer.status_code == 200, answer.text
        (moving,) = (await web.get("/dicomweb/studies?ModalitiesInStudy=XC")).json()
    reported = answer.json()["00081190"]["Value"][0].rpartition("/")[2]
    async with chromium() as browser, visiting(browser, server.url) as visitor:
        await visitor.sign_in(patient.email, patient.password)
        await stack_and_segmentation(visitor, volume[0].study)
        await planes(visitor, volume[0].study)
        await texts(visitor, reported, document.study)
        await plays(visitor, moving["0020000D"]["Value"][0])
        assert visitor.errors == []


async def stack_and_segmentation(visitor: Visitor, study: str) -> None:
    page = visitor.page
    await visitor.open(f"/viewer/viewer?StudyInstanceUIDs={study}")
    assert await visitor.pixels() > 16
    assert await visitor.page.evaluate(RED) == 0
    await page.locator("[data-cy='study-browser-thumbnail-no-image']").first.dblclick()
    await page.get_by_text("LOAD", exact=True).first.click(timeout=VIEWER_SECONDS * 1000)
    assert await eventually(visitor, RED, 100) >= 100


async def planes(visitor: Visitor, study: str) -> None:
    """MPR: three planes through the volume."""
    await visitor.open(f"/viewer/viewer?StudyInstanceUIDs={study}&hangingprotocolId=mpr")
    assert await visitor.pixels() > 16
    assert await visitor.page.locator("canvas.cornerstone-canvas").count() == 3


async def texts(visitor: Visitor, report: str, document: str) -> None:
    page = visitor.page
    await visitor.open(f"/viewer/viewer?StudyInstanceUIDs={report}")
    await page.get_by_text("Recording Observer's Name").first.wait_for(timeout=VIEWER_SECONDS * 1000)
    async with page.expect_response(
        lambda answer: "/bulkdata/00420011" in answer.url or "rendered" in answer.url
    ) as asked:
        await visitor.open(f"/viewer/viewer?StudyInstanceUIDs={document}")
    assert (await (await asked.value).all_headers())["content-type"].startswith("application/pdf")
    assert (
        await eventually(visitor, "() => document.querySelectorAll('object, iframe, embed').length", 1) >= 1
    )


async def plays(visitor: Visitor, study: str) -> None:
    """The film is asked for by ranges, as players do, and drawn."""
    async with visitor.page.expect_response(lambda answer: answer.url.endswith("/rendered")) as asked:
        await visitor.open(f"/viewer/viewer?StudyInstanceUIDs={study}")
    assert (await (await asked.value).all_headers())["content-type"] == "video/mp4"
    assert await visitor.pixels() > 16
