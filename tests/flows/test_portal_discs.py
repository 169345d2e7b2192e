"""Discs on their way in: an image of a disc, the disc's own list, what is missing after the tab was closed."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Route, expect
from pydicom.fileset import FileSet

from tests.conftest import RunningServer
from tests.discs import SECTOR, iso_of, udf_of
from tests.factories import People
from tests.flows.test_portal_upload import ada, chromium, image, stored, visitor

pytestmark = pytest.mark.browser
__all__ = ["ada", "chromium", "visitor"]  # fixtures


async def test_a_disc_image_and_its_list(visitor, tmp_path: Path) -> None:
    """Rows 10, 16, 19: a disc as one file (UDF) is read like the disc; its list of contents is compared."""
    for number in range(3):
        image(
            tmp_path / f"I{number}",
            StudyDescription="From a disc image",
            study="1.2.826.0.1.3680043.8.498.61",
        )
    (tmp_path / "set").mkdir()
    with warnings.catch_warnings():  # pydicom leaves its temporary directories to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        listing = FileSet()
        for number in range(3):
            listing.add(tmp_path / f"I{number}")
        staged = listing._stage["t"]
        listing.write(tmp_path / "set")
        for directory in {staged, listing._stage["t"]}:
            directory.cleanup()
        del listing
    whole = {"DICOMDIR": (tmp_path / "set" / "DICOMDIR").read_bytes()}
    whole |= {f"I{number}": (tmp_path / f"I{number}").read_bytes() for number in range(2)}  # one is missing
    disc = tmp_path / "disc.bin"
    disc.write_bytes(udf_of(whole))
    page = visitor.page
    await page.set_input_files("#files", disc)
    await expect(page.locator("#upload")).to_have_text("Upload 2 images in 1 study")
    await expect(page.locator("#disc-list")).to_contain_text("names 3 images; 2 were found")
    await page.click("#upload")
    assert "2 images were stored" in await stored(page)
    await expect(page.locator("#states")).to_contain_text(
        "From a disc image, 19 January 2004 – can be viewed now", timeout=20_000
    )
    await expect(page.locator("#add-report")).to_be_visible()
    broken = tmp_path / "broken.iso"
    broken.write_bytes(iso_of(whole)[: 20 * SECTOR + 100])
    await visitor.open("/imaging/add")
    await page.set_input_files("#files", broken)
    await expect(page.locator("#nothing-left")).to_contain_text(
        "1 disc image (.iso) that could not be opened"
    )


async def test_a_tab_that_was_closed(visitor, tmp_path: Path) -> None:
    """Row 8: the page says what is missing of a disc that broke off, and the same disc brings the rest."""
    for number in range(60):
        image(tmp_path / f"I{number}", study="1.2.826.0.1.3680043.8.498.62")
    page = visitor.page
    first = True

    async def once(route: Route) -> None:
        nonlocal first
        if first:
            first = False
            await route.continue_()
        else:
            await route.abort()

    await page.route("**/dicomweb/studies*", once)
    await page.set_input_files("#folder", tmp_path)
    page.on("dialog", lambda dialog: dialog.accept())
    async with page.expect_response("**/dicomweb/studies*"):
        await page.click("#upload")
    await visitor.open("/imaging/add")
    await page.unroute("**/dicomweb/studies*")
    await expect(page.get_by_text("Not finished yet")).to_be_visible()
    found = re.search(r"(\d+) images? missing", await page.inner_text("main"))
    assert found
    missing = int(found[1])
    assert missing in (10, 50)
    await page.set_input_files("#folder", tmp_path)
    await expect(page.locator("#upload")).to_contain_text(f"Upload {missing} images in 1 study")
    await page.click("#upload")
    assert f"{missing} images were stored" in await stored(page)
    await visitor.open("/imaging/add")
    await expect(page.get_by_text("Not finished yet")).to_have_count(0)


async def test_an_upload_is_its_owners(server: RunningServer, people: People) -> None:
    """Nobody else ends it or learns of it; what is no question is refused in words."""
    owner, stranger = await people.patient("Ada Moor"), await people.patient("Stray Ger")
    async with httpx.AsyncClient(base_url=server.url) as browser:
        await people.session(browser, owner)
        csrf = (await browser.get("/upload/token")).json()["csrf"]
        headers = {"x-csrf-token": csrf, "content-type": "application/json"}
        body = {"uids": ["1.2.3.4"], "studies": 1, "listed": None}
        made = await browser.post("/upload", json=body, headers=headers)
        assert made.status_code == 200, made.text
        upload = made.json()["id"]
        assert "1 image missing" in (await browser.get("/imaging/add")).text
        for wrong in ({"uids": ["x"]}, {"uids": 1}, {"uids": [], "studies": "many"}, {}):
            assert (await browser.post("/upload", json=wrong, headers=headers)).status_code == 400, wrong
        async with httpx.AsyncClient(base_url=server.url) as other:
            await people.session(other, stranger)
            theirs = (await other.get("/upload/token")).json()["csrf"]
            assert "Not finished yet" not in (await other.get("/imaging/add")).text
            ended = await other.post(
                f"/upload/{upload}/done", json={}, headers=headers | {"x-csrf-token": theirs}
            )
            assert ended.status_code == 404
        forgotten = await browser.post(f"/upload/{upload}/forget", data={"csrf": csrf})
        assert forgotten.status_code == 303
        assert "Not finished yet" not in (await browser.get("/imaging/add")).text
