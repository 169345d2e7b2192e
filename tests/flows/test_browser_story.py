"""The story of the foundation in a real browser: upload, look, share, accept, look, end.

Asserted on the pixels of the viewer's canvas: a page that loads is not yet an image that is seen.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect
from pydicom import data as pydicom_data
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests import browser as browsers
from tests import mails
from tests.browser import Visitor, visiting
from tests.conftest import RunningServer
from tests.factories import PASSWORD, People, Person

pytestmark = pytest.mark.browser

SAMPLES = Path(pydicom_data.__file__).parent / "test_files"
# Newest last, so that the order of the list is not that of the disc.
DISC = {"CT_small.dcm": "20180203", "MR_small.dcm": "20190405", "examples_jpeg2k.dcm": "20210607"}
NEW_PASSWORD = "correct horse battery staple"
_numbers = count(1)


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with browsers.chromium() as browser:
        yield browser


@pytest.fixture
async def patient(people: People) -> Person:
    return await people.patient("Ada Moor", "1980-02-29")


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """A disc from a hospital: images without file names that tell, and what else lies on such a disc."""
    root = tmp_path / "disc"
    images = root / "DICOM" / "A0001"
    images.mkdir(parents=True)
    for number, (name, date) in enumerate(DISC.items()):
        dataset = dcmread(SAMPLES / name)
        dataset.PatientName, dataset.PatientBirthDate, dataset.StudyDate = "MOOR^ADA", "19800229", date
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, generate_uid())
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(images / f"I{number:07}")
    (root / "AUTORUN.INF").write_text("[autorun]\nopen=viewer.exe\n")
    (root / "VIEWER.EXE").write_bytes(b"MZ" + bytes(2000))
    shutil.copy(SAMPLES / "dicomdirtests" / "DICOMDIR", root / "DICOMDIR")
    return root


async def test_from_the_disc_to_the_doctors_screen(
    chromium: Browser, server: RunningServer, patient: Person, disc: Path
) -> None:
    doctor_email = f"doctor{next(_numbers)}@clinic.example"
    async with visiting(chromium, server.url) as ada, visiting(chromium, server.url) as doctor:
        await ada.sign_in(patient.email, PASSWORD)
        await upload(ada, disc)
        await newest_first(ada)
        study = await look(ada)
        await share(ada, doctor_email)
        await register(doctor, server, doctor_email)
        await accept(doctor, server, doctor_email)
        assert await look_as_doctor(doctor) == study
        await look_at_the_patients_root(doctor, study, patient)
        await compare(doctor)
        await end(ada)
        await nothing_is_left(doctor, study)
        assert ada.errors == []
        assert doctor.errors == []


async def upload(ada: Visitor, disc: Path) -> None:
    """Choose a folder, see what was found, send it, and see it arrive."""
    await ada.open("/imaging/add")
    await ada.page.set_input_files("#folder", disc)
    button = ada.page.locator("#upload")
    await expect(button).to_be_enabled()
    await expect(button).to_contain_text("3 images")
    await expect(ada.page.locator("#left-out")).to_contain_text(re.compile(r"\d"))
    await button.click()
    await expect(ada.page.locator("#done-heading")).to_be_visible(timeout=30_000)
    await expect(ada.page.locator("#gaps")).to_be_hidden()
    assert await ada.page.locator("#bar").get_attribute("max") == "100"
    assert await ada.page.evaluate("document.getElementById('bar').value") == 100
    await expect(ada.page.locator("#done-stored")).to_contain_text("3")


async def newest_first(ada: Visitor) -> None:
    """My imaging is in the order of study dates, whatever the order of the disc."""
    await ada.open("/imaging")
    years = await ada.page.locator("h2.year").all_inner_texts()
    assert years == ["2021", "2019", "2018"]


async def look(ada: Visitor) -> str:
    """From the list to the pixels; the study that was looked at."""
    await ada.page.locator("main .list a.title").last.click()
    await ada.page.wait_for_url(re.compile(r"/studies/"))
    return await into_the_viewer(ada)


async def into_the_viewer(visitor: Visitor) -> str:
    link = visitor.page.locator('main a[href*="/viewer/"]').first
    address = await link.get_attribute("href")
    assert address
    await visitor.open(address)  # the link may open a window of its own
    assert await visitor.pixels() > 16
    found = re.search(r"StudyInstanceUIDs=([0-9.]+)", address)
    assert found
    return found[1]


async def share(ada: Visitor, email: str) -> None:
    await ada.open("/sharing/new")
    await ada.page.fill("#name", "Dr Bo Reader")
    await ada.page.fill("#email", email)
    await ada.submit("See what they will see")
    await ada.submit("Send the invitation")
    await ada.open("/sharing")
    await expect(ada.page.locator("main")).to_contain_text("Dr Bo Reader")


async def register(doctor: Visitor, server: RunningServer, email: str) -> None:
    """The invitation leads to the form; whoever came by the mailed link has shown that the address is theirs."""
    await doctor.open(await mailed_link(server, email, "invitation"))
    await doctor.follow("Register")
    page = doctor.page
    await page.fill("#name", "Dr Bo Reader")
    await page.fill("#email", email)
    await page.fill("#password", NEW_PASSWORD)
    await page.fill("#number", "7654321")
    await page.fill("#authority", "GMC")
    await page.fill("#specialty", "Radiology")
    await page.fill("#organization", "Clinic")
    await doctor.submit("Register")


async def accept(doctor: Visitor, server: RunningServer, email: str) -> None:
    await doctor.open(await mailed_link(server, email, "invitation"))
    await doctor.submit("Accept")
    await doctor.open("/my-patients")
    await expect(doctor.page.locator("main")).to_contain_text("Ada Moor")


async def look_as_doctor(doctor: Visitor) -> str:
    await doctor.follow("Ada Moor")
    await doctor.page.locator("main .list a.title").last.click()
    await doctor.page.wait_for_url(re.compile(r"/studies/"))
    return await into_the_viewer(doctor)


async def look_at_the_patients_root(doctor: Visitor, study: str, patient: Person) -> None:
    """An address that names the patient reads from that patient's root only (decision 8)."""
    asked: list[str] = []
    doctor.page.on("request", lambda request: asked.append(request.url.removeprefix(doctor.url)))
    await doctor.open(f"/viewer/viewer?StudyInstanceUIDs={study}&patient={patient.fhir_id}")
    assert await doctor.pixels() > 16
    images = [path for path in asked if "/studies" in path]
    assert images
    assert all(path.startswith(f"/patients/{patient.fhir_id}/dicomweb/") for path in images)


async def compare(doctor: Visitor) -> None:
    """The doctor's day: from the patients who share to two studies side by side."""
    await doctor.open("/my-patients")
    await doctor.follow("Ada Moor")
    boxes = doctor.page.locator('main input[name="study"]')
    await boxes.nth(0).check()
    await boxes.nth(1).check()
    await doctor.page.get_by_role("button", name="Compare the ticked studies").click()
    await expect(doctor.page).to_have_url(
        re.compile(r"/viewer/viewer\?StudyInstanceUIDs=[0-9.]+%2C[0-9.]+&patient=")
    )
    await expect(doctor.page.locator("canvas.cornerstone-canvas")).to_have_count(2, timeout=30_000)
    assert await doctor.pixels() > 16


async def end(ada: Visitor) -> None:
    """One click ends it (the page asks once more, in a dialog or on a page)."""
    await ada.open("/sharing")
    await ada.follow("Dr Bo Reader")
    await ada.page.locator("main").get_by_role("button", name="End sharing").first.click()


async def nothing_is_left(doctor: Visitor, study: str) -> None:
    """The page that is still open reads nothing any more."""
    assert await doctor.fetch(f"/dicomweb/studies/{study}/metadata") == 404
    await doctor.open("/my-patients")
    await expect(doctor.page.locator("main")).not_to_contain_text("Ada Moor")


async def mailed_link(server: RunningServer, address: str, about: str) -> str:
    """The link whose path holds `about`, in the newest mail to this address."""
    until = time.monotonic() + 60  # mails go out through the queue
    while True:
        for mail in reversed(mails.to(server.data / "outbox", address)):
            links = re.findall(r"https?://\S+", mails.text_of(mail))
            if found := next((link for link in links if about in link), None):
                return str(found)
        assert time.monotonic() < until, f"no mail to {address} with a link to {about}"
        await asyncio.sleep(0.02)
