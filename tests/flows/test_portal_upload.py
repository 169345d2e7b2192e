"""The wizard in a real Chromium: what a disc holds, whose it is, what is sent, what happens when the way is bad."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect
from pydicom import data as pydicom_data
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests import browser as browsers
from tests.browser import Visitor, visiting
from tests.conftest import RunningServer
from tests.factories import PASSWORD, People, Person

pytestmark = pytest.mark.browser

SAMPLES = Path(pydicom_data.__file__).parent / "test_files"


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with browsers.chromium() as browser:
        yield browser


@pytest.fixture
async def ada(people: People) -> Person:
    return await people.patient("Ada Moor", "1980-02-29")


@pytest.fixture
async def visitor(chromium: Browser, server: RunningServer, ada: Person) -> AsyncIterator[Visitor]:
    async with visiting(chromium, server.url) as made:
        await made.sign_in(ada.email, PASSWORD)
        await made.open("/imaging/add")
        await made.page.wait_for_selector("html[data-uploader=ready]")
        yield made
        assert made.errors == []


def image(
    path: Path, *, name: str = "MOOR^ADA", born: str = "19800229", study: str = "", **given: str
) -> str:
    """A real image with these facts; its SOP Instance UID."""
    dataset = dcmread(SAMPLES / "CT_small.dcm")
    dataset.PatientName, dataset.PatientBirthDate = name, born
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study or generate_uid(), generate_uid()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in given.items():
        setattr(dataset, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return str(dataset.SOPInstanceUID)


async def stored(page: Page) -> str:
    await expect(page.locator("#done-heading")).to_be_visible(timeout=30_000)
    return await page.inner_text("#done-stored")


async def test_what_differs_needs_an_answer(visitor: Visitor, server: RunningServer, tmp_path: Path) -> None:
    """Rows 10, 16, 17, "Beyond the seed" 2: nothing is sent before the click; others' only after "mine"."""
    image(tmp_path / "a", StudyDescription="Mine", SeriesDescription="Thorax")
    image(tmp_path / "b", name="DOE^JANE", StudyDescription="Other name")
    image(tmp_path / "c", born="19700101", StudyDescription="Other birth date")
    (tmp_path / "scan.dcm").write_bytes(b"\xff\xd8\xff\xe0" + bytes(500))
    (tmp_path / "AUTORUN.INF").write_text("[autorun]")
    page = visitor.page
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/dicomweb/" in request.url else None)
    await page.set_input_files("#folder", tmp_path)
    button = page.locator("#upload")
    await expect(button).to_have_text("Upload 1 image in 1 study")
    await expect(page.locator("#open-questions")).to_contain_text(
        "2 studies carry another name or birth date"
    )
    await expect(page.locator("tr.differs")).to_have_count(2)
    mine = page.locator("#studies tr").last  # after those that ask
    await mine.locator("summary").click()  # what it consists of, before anything is sent
    await expect(mine.locator(".series li")).to_have_text("Thorax · 1 image")
    await expect(page.locator("#left-out")).to_contain_text("1 picture")
    assert sent == []
    await page.locator("tr", has_text="Other name").get_by_label("not mine").check()
    await page.locator("tr", has_text="Other birth date").get_by_label("mine", exact=True).check()
    await expect(button).to_have_text("Upload 2 images in 2 studies")
    await button.click()
    assert "2 images were stored" in await stored(page)
    await visitor.open("/imaging")
    titles = await page.locator("a.title").all_inner_texts()
    assert sorted(titles) == ["Mine (CT)", "Other birth date (CT)"]
    await expect(page.locator(".tag.amber")).to_have_count(0)


async def test_the_same_disc_again_sends_only_what_is_missing(visitor: Visitor, tmp_path: Path) -> None:
    """Resume: after a reload the disc is chosen again and only the gaps go."""
    for number in range(3):
        image(tmp_path / f"I{number}", study="1.2.826.0.1.3680043.8.498.77")
    page = visitor.page
    await page.set_input_files("#folder", tmp_path)
    await page.click("#upload")
    assert "3 images" in await stored(page)
    image(tmp_path / "I9", study="1.2.826.0.1.3680043.8.498.77")
    await visitor.open("/imaging/add")
    await page.set_input_files("#folder", tmp_path)
    await expect(page.locator("#upload")).to_have_text("Upload 1 image in 1 study")
    await expect(page.locator("#studies")).to_contain_text("1 new, 3 already in your record")
    await page.click("#upload")
    assert "1 image was stored" in await stored(page)
    await visitor.open("/imaging/add")
    await page.set_input_files("#folder", tmp_path)
    await expect(page.locator("#upload")).to_be_disabled()
    await expect(page.locator("#studies")).to_contain_text("in your record")


async def test_a_zip_is_opened(visitor: Visitor, server: RunningServer, tmp_path: Path) -> None:
    """Row 10; and row 44: what comes out again is what went in."""
    inside = tmp_path / "inside"
    sop = image(inside / "DICOM" / "I1")
    with zipfile.ZipFile(tmp_path / "disc.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(inside / "DICOM" / "I1", "DICOM/I1")
        archive.writestr("VIEWER.EXE", b"MZ" + bytes(1000))
    page = visitor.page
    await page.set_input_files("#files", tmp_path / "disc.zip")
    await page.click("#upload")
    assert "1 image was stored" in await stored(page)
    original = hashlib.sha256((inside / "DICOM" / "I1").read_bytes()).digest()
    async with server.services.db.raw() as connection:
        kept = await connection.fetchval("SELECT sha256 FROM instance WHERE sop_uid = $1", sop)
    assert kept == original


async def test_a_bad_way_costs_time_and_nothing_else(visitor: Visitor, tmp_path: Path) -> None:
    """Two refusals and a broken line on the way; the upload ends well."""
    for number in range(4):
        image(tmp_path / f"I{number}", study="1.2.826.0.1.3680043.8.498.78")
    page, troubles = visitor.page, ["503", "abort"]

    async def trouble(route: Route) -> None:
        kind = troubles.pop() if troubles else None
        if kind == "503":
            await route.fulfill(status=503, headers={"Retry-After": "0"}, body="{}")
        elif kind == "abort":
            await route.abort()
        else:
            await route.continue_()

    await page.route("**/dicomweb/studies*", trouble)
    await page.set_input_files("#folder", tmp_path)
    await page.click("#upload")
    assert "4 images were stored" in await stored(page)
    await expect(page.locator("#gaps")).to_be_hidden()


async def test_pausing_and_going_on(visitor: Visitor, tmp_path: Path) -> None:
    """Row 18; leaving is warned of only while it runs."""
    image(tmp_path / "I1")
    page, hold = visitor.page, asyncio.Event()

    async def slow(route: Route) -> None:
        await hold.wait()
        await route.fulfill(status=503, headers={"Retry-After": "0"}, body="{}")
        await page.unroute("**/dicomweb/studies*")

    await page.route("**/dicomweb/studies*", slow)
    await page.set_input_files("#folder", tmp_path)
    await page.click("#upload")
    await page.get_by_role("button", name="Pause").click()
    hold.set()
    await expect(page.locator("#state")).to_contain_text("Go on whenever you like")
    await page.get_by_role("button", name="Go on").click()
    assert "1 image was stored" in await stored(page)


async def test_nothing_medical_on_the_disc(visitor: Visitor, tmp_path: Path) -> None:
    """Row 11: photos are named as what they are."""
    (tmp_path / "photo.dcm").write_bytes(b"\xff\xd8\xff\xe0" + bytes(500))
    page = visitor.page
    await page.set_input_files("#folder", tmp_path)
    await expect(page.locator("#nothing")).to_contain_text("no medical images")
    await expect(page.locator("#nothing-left")).to_contain_text("1 picture")


async def test_a_disc_of_two_thousand_files_leaves_the_page_alive(visitor: Visitor, tmp_path: Path) -> None:
    """A large disc is looked through beside the page, not in it."""
    image(tmp_path / "I0")
    for number in range(2000):
        shutil.copy(tmp_path / "I0", tmp_path / f"C{number}")
    page = visitor.page
    await page.evaluate("() => { window.ticks = 0; setInterval(() => window.ticks++, 20); }")
    await page.set_input_files("#folder", tmp_path)
    await expect(page.locator("#upload")).to_have_text("Upload 1 image in 1 study", timeout=60_000)
    await expect(page.locator("#left-out")).to_contain_text("2,000 images that are on the disc twice")
    # The page went on answering in between: the files are read in a worker. How fast is for a benchmark to say.
    assert await page.evaluate("window.ticks") > 3


async def test_the_quick_look_on_a_phone(
    chromium: Browser, server: RunningServer, people: People, tmp_path: Path
) -> None:
    """Slider, next, window presets: each shows another picture drawn by the server."""
    person = await people.patient("Ada Moor", "1980-02-29")
    study = generate_uid()
    series = generate_uid()
    for number in range(5):
        image(tmp_path / f"I{number}", study=study, SeriesInstanceUID=series, InstanceNumber=str(number + 1))
    phone = {"width": 390, "height": 844}
    async with visiting(chromium, server.url, viewport=phone, has_touch=True) as visitor:
        page = visitor.page
        await visitor.sign_in(person.email, PASSWORD)
        await visitor.open("/imaging/add")
        await page.set_input_files("#folder", tmp_path)
        await page.click("#upload")
        await stored(page)
        await visitor.open(f"/studies/{study}/preview")
        await expect(page.locator("#slider")).to_be_visible()
        await expect(page.locator("#position")).to_have_text("3 / 5")
        frame = page.locator("#frame")
        assert await frame.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        first = await frame.get_attribute("src")
        await page.click("#next")
        await expect(page.locator("#position")).to_have_text("4 / 5")
        await expect(frame).not_to_have_attribute("src", first or "")
        await page.locator("#slider").fill("1")
        await expect(page.locator("#position")).to_have_text("1 / 5")
        await page.click("#play")
        await expect(page.locator("#position")).not_to_have_text("1 / 5")
        await page.click("#play")
        await page.get_by_role("link", name="Lung").click()
        await expect(frame).to_have_attribute("src", re.compile(r"window=-600,1500,linear$"))
        assert await frame.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        assert visitor.errors == []


async def test_signed_out_on_the_way_it_goes_on_after_a_sign_in(
    visitor: Visitor, server: RunningServer, ada: Person, tmp_path: Path
) -> None:
    """The new session has another token; nothing of the upload is lost."""
    image(tmp_path / "I1")
    page = visitor.page
    await page.set_input_files("#folder", tmp_path)
    await expect(page.locator("#upload")).to_be_enabled()
    async with server.services.db.raw() as connection:
        await connection.execute("UPDATE session SET ended_at = now() WHERE account_id = $1", ada.account_id)
    await page.click("#upload")
    await expect(page.locator("#state")).to_contain_text("You were signed out")
    await page.get_by_role("button", name="Go on").click()
    await expect(page.locator("#state")).to_contain_text("You were signed out")
    other = Visitor(await page.context.new_page(), server.url)
    await other.sign_in(ada.email, PASSWORD)
    await page.get_by_role("button", name="Go on").click()
    assert "1 image was stored" in await stored(page)
