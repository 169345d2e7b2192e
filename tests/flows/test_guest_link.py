"""The guest link, from the Sharing tab to the guest's browser and back ("Beyond the seed" 5, decision 19)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO

import httpx
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from server.core import clock
from tests import browser as browsers
from tests.factories import People, Person, bearer
from tests.flows.portal_steps import link_in, mail_to, submit

BIRTH = "1980-02-29"


@dataclass
class Record:
    """A patient with two studies of her own, one that differs, and a report on the first."""

    person: Person
    studies: list[str]
    differs: str
    series: str
    instance: str
    browser: httpx.AsyncClient


async def _store(
    client, token: str, *, name: str = "Moor^Ada", birth: str = "19800229"
) -> tuple[str, str, str]:
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PatientName, dataset.PatientBirthDate = name, birth
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    packed = BytesIO()
    dataset.save_as(packed)
    stored = await client.post(
        "/dicomweb/studies",
        headers=bearer(token) | {"content-type": "application/dicom"},
        content=packed.getvalue(),
    )
    assert stored.status_code in (200, 202), stored.text
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


@pytest.fixture
async def record(server, people: People):
    person = await people.patient("Ada Moor", BIRTH)
    token = await people.token(person)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
        first, series, instance = await _store(browser, token)
        second, _, _ = await _store(browser, token)
        other, _, _ = await _store(browser, token, name="Somebody^Else", birth="19010101")
        await people.session(browser, person)
        added = await submit(
            browser, f"/studies/{first}/reports/add", title="Befund", text="The finding in words.", date=""
        )
        assert added.status_code == 303
        yield Record(person, [first, second], other, series, instance, browser)


@pytest.fixture
async def chromium():
    async with browsers.chromium() as running:
        yield running


async def _make(record: Record, email: str, **fields) -> str:
    """The patient makes a link; its path."""
    until = (clock.now() + timedelta(days=3)).date().isoformat()
    form = {"name": "Uncle Ed", "email": email, "until": until} | fields
    made = await submit(record.browser, "/sharing/links/new", **form)
    assert made.status_code == 303, made.text
    link = made.headers["location"].partition("?")[0].rpartition("/")[2]
    return f"/link/{link}"


async def _enter(server, guest: httpx.AsyncClient, path: str, email: str, number: int = 1) -> None:
    asked = await guest.post(path, data={"birth_date": BIRTH})
    assert asked.status_code == 303, asked.text
    code = await _code(server, email, number)
    opened = await guest.post(path, data={"code": code})
    assert opened.status_code == 303, opened.text
    assert opened.headers["location"] == path


async def _code(server, email: str, number: int = 1) -> str:
    text = await mail_to(server.data / "outbox", email, "code", number=number)
    found = re.search(r"\b\d{8}\b", text)
    assert found, text
    return found[0]


async def test_a_guest_sees_the_chosen_study_and_nothing_else(server, people, record: Record):
    """A guest reads one study and its report; every other address, and every write, is closed to them."""
    email = f"{record.person.fhir_id[:8]}@guest.example"
    chosen, other = record.studies
    path = await _make(record, email, right=["reports"], which="chosen", study=[chosen])
    mail = await mail_to(server.data / "outbox", email)
    assert link_in(mail, "/link/") == path
    assert "Moor" not in mail
    assert "CT" not in mail

    async with httpx.AsyncClient(base_url=server.url, timeout=30) as guest:
        door = await guest.get(path)
        assert door.status_code == 200
        assert "birth date" in door.text
        assert "Moor" not in door.text
        assert "Uncle Ed" not in door.text
        assert (await guest.get(f"{path}/dicomweb/studies")).status_code == 401
        assert (await guest.get(f"{path}/studies/{chosen}")).headers["location"] == path
        await _enter(server, guest, path, email)

        inside = await guest.get(path)
        assert "Ada Moor" in inside.text
        assert chosen in inside.text
        assert other not in inside.text
        assert record.differs not in inside.text
        page = await guest.get(f"{path}/studies/{chosen}")
        assert "Befund" in page.text
        assert "application/zip" not in page.text
        report = re.search(rf"{path}/reports/[\w-]+", page.text)
        assert report
        assert "The finding in words." in (await guest.get(report[0])).text
        assert (await guest.get(f"{report[0]}/files/0")).text == "The finding in words."
        assert (await guest.get(f"{path}/studies/{chosen}/preview")).status_code == 200
        for uid in (other, record.differs):
            assert (await guest.get(f"{path}/studies/{uid}")).status_code == 404
            assert (await guest.get(f"{path}/dicomweb/studies/{uid}/metadata")).status_code == 404

        dicomweb = f"{path}/dicomweb/studies"
        found = (await guest.get(dicomweb)).json()
        assert [each["0020000D"]["Value"][0] for each in found] == [chosen]
        metadata = await guest.get(f"{dicomweb}/{chosen}/metadata")
        assert metadata.status_code == 200
        assert (
            f"/patients/{record.person.fhir_id}/" not in metadata.text
        )  # their cookie goes below the link only
        assert f"{path}/dicomweb/studies/{chosen}" in found[0]["00081190"]["Value"][0]
        frame = f"{dicomweb}/{chosen}/series/{record.series}/instances/{record.instance}/frames/1/rendered"
        assert (await guest.get(frame)).headers["content-type"] == "image/jpeg"

        # no download was given; nothing is written; nothing else knows this browser
        assert (await guest.get(f"{dicomweb}/{chosen}?accept=application/zip")).status_code in (403, 404)
        instance = f"{dicomweb}/{chosen}/series/{record.series}/instances/{record.instance}"
        taken = await guest.get(instance, headers={"accept": 'multipart/related; type="application/dicom"'})
        assert taken.status_code in (403, 404)
        assert (await guest.delete(f"{dicomweb}/{chosen}")).status_code in (403, 404)
        stored = await guest.post(dicomweb, content=b"x", headers={"content-type": "application/dicom"})
        assert stored.status_code in (400, 403, 404, 409)
        for closed in (
            "/dicomweb/studies",
            "/fhir/ImagingStudy",
            f"/patients/{record.person.fhir_id}/dicomweb/studies",
        ):
            assert (await guest.get(closed)).status_code == 401
        assert (await guest.get("/imaging")).status_code == 303

    diary = (await record.browser.get("/activity")).text
    assert "Uncle Ed opened the link" in diary
    assert "Uncle Ed looked at" in diary
    shown = (await record.browser.get(f"/sharing/links/{path.rpartition('/')[2]}")).text
    assert "Uncle Ed looked at" in shown
    assert "not yet" not in shown


async def test_ended_at_once(server, people, record: Record):
    """End this link: an open browser's next request is refused; DICOMweb 403, a neutral page (decision 19)."""
    email = f"{record.person.fhir_id[:8]}@ended.example"
    path = await _make(record, email)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as guest:
        await _enter(server, guest, path, email)
        assert len((await guest.get(f"{path}/dicomweb/studies")).json()) == 2  # the differing one is kept out
        ended = await submit(record.browser, f"/sharing/links{path[5:]}", f"/sharing/links{path[5:]}/end")
        assert ended.status_code == 303
        assert (await guest.get(f"{path}/dicomweb/studies")).status_code == 403
        dead = await guest.get(path)
        never = await guest.get("/link/00000000-0000-0000-0000-000000000000")
        assert dead.status_code == never.status_code == 410
        assert "Moor" not in dead.text
        assert dead.text.replace(path, "") == never.text.replace(
            "/link/00000000-0000-0000-0000-000000000000", ""
        )


async def test_its_time_is_over(server, people, record: Record):
    """The chosen day ends the link, also for a browser that has it open; a visit ends by itself sooner."""
    email = f"{record.person.fhir_id[:8]}@late.example"
    path = await _make(record, email)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as guest:
        await _enter(server, guest, path, email)
        clock.travel(timedelta(hours=13))
        assert (await guest.get(f"{path}/dicomweb/studies")).status_code == 401
        assert "birth date" in (await guest.get(path)).text
        clock.travel(timedelta(days=5))
        assert (await guest.get(f"{path}/dicomweb/studies")).status_code == 403
        assert (await guest.post(path, data={"birth_date": BIRTH})).status_code == 410


async def test_five_tries_in_all(server, people, record: Record):
    """Wrong birth dates and wrong codes count together; the fifth ends the link, and the patient is told."""
    email = f"{record.person.fhir_id[:8]}@wrong.example"
    path = await _make(record, email)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as guest:
        for _ in range(2):
            wrong = await guest.post(path, data={"birth_date": "1980-02-28"})
            assert wrong.status_code == 422
        assert (await guest.post(path, data={"birth_date": BIRTH})).status_code == 303
        code = await _code(server, email)
        other = "00000000" if code != "00000000" else "11111111"
        for _ in range(2):
            assert (await guest.post(path, data={"code": other})).status_code == 422
        async with httpx.AsyncClient(
            base_url=server.url
        ) as another:  # a code is good in the browser that asked
            assert "too old" in (await another.post(path, data={"code": code})).text
        assert (await guest.post(path, data={"code": other})).status_code == 410
        assert (await guest.post(path, data={"code": code})).status_code == 410
    await mail_to(server.data / "outbox", record.person.email, "link you made has ended")
    assert "Locked" in (await record.browser.get("/sharing")).text


async def test_tries_of_many_browsers_at_once(server, people, record: Record):
    """Twenty answers at the same moment are five tries."""
    path = await _make(record, f"{record.person.fhir_id[:8]}@many.example")
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as guest:
        answers = await asyncio.gather(
            *(guest.post(path, data={"birth_date": f"19{year}-01-01"}) for year in range(50, 70))
        )
    assert sorted(each.status_code for each in answers).count(422) == 4
    assert (await record.browser.get(f"/sharing/links{path[5:]}")).text.count(
        "Somebody gave a wrong answer"
    ) == 5


async def test_of_another(server, people, record: Record):
    """Nobody else sees, ends or draws a link; nobody makes one of a record that is not theirs."""
    path = await _make(record, f"{record.person.fhir_id[:8]}@idor.example")
    link = f"/sharing/links{path[5:]}"
    stranger = await people.patient("Stray Ger")
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
        await people.session(browser, stranger)
        assert (await browser.get(link)).status_code == 404
        assert (await browser.get(f"{link}/qr.svg")).status_code == 404
        form = await submit(
            *(browser, "/sharing/links/new"),
            **{"name": "X", "email": "x@example.org", "which": "chosen", "study": [record.studies[0]]},
        )
        assert form.status_code == 422
        token = re.search(r'name="csrf" value="([^"]+)"', (await browser.get("/sharing")).text)
        assert token
        assert (await browser.post(f"{link}/end", data={"csrf": token[1]})).status_code == 404
        # signed in as somebody with a record of their own, a link is still the link's only
        assert (await browser.get(f"{path}/dicomweb/studies")).status_code == 401
    assert "Open" in (await record.browser.get(link)).text
    svg = await record.browser.get(f"{link}/qr.svg")
    assert svg.headers["content-type"].startswith("image/svg+xml")
    assert "<svg" in svg.text


async def test_what_a_link_must_have(server, people, record: Record):
    """A name, an address, a day within ninety, whether all is seen or a choice; and a birth date to ask for."""
    far = (clock.now() + timedelta(days=120)).date().isoformat()
    bad = await submit(record.browser, "/sharing/links/new", name="", email="nobody", until=far)
    assert bad.status_code == 422
    for sentence in ("This is needed.", "within the next 90 days"):
        assert sentence in bad.text
    for said in ([], "x"):
        to = {"name": "Ed", "email": "ed@example.org", "which": said}
        unsaid = await submit(record.browser, "/sharing/links/new", **to)
        assert (unsaid.status_code, "Choose what they see" in unsaid.text) == (422, True)
    person = await people.patient("No Birthday", None)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
        await people.session(browser, person)
        empty = await browser.get("/sharing/links/new")
        assert "no study to choose from yet: they see the whole record" in empty.text
        answer = await submit(browser, "/sharing/links/new", name="Ed", email="ed@example.org")
        assert answer.status_code == 422
        assert "birth date" in answer.text


async def test_a_visit_is_closed(server, people, record: Record):
    """Close the record: the cookie is worth nothing afterwards."""
    email = f"{record.person.fhir_id[:8]}@bye.example"
    path = await _make(record, email)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as guest:
        await _enter(server, guest, path, email)
        kept = dict(guest.cookies)
        await guest.post(path, data={"leave": "yes"})
        for name, value in kept.items():
            guest.cookies.set(name, value)
        assert (await guest.get(f"{path}/dicomweb/studies")).status_code == 401


async def test_in_a_browser(server, people, record: Record, chromium):
    """The guest's whole way in Chromium: door, code, quick look, full viewer.

    axe-core looks at the page that asks for the code; the others stand in tests/every_page.py.
    """
    email = f"{record.person.fhir_id[:8]}@chromium.example"
    path = await _make(record, email, right=["reports"], which="chosen", study=record.studies[:1])
    async with browsers.visiting(chromium, server.url, viewport={"width": 390, "height": 844}) as guest:
        await guest.open(path)
        await guest.page.fill("#birth_date", BIRTH)
        await guest.submit("Go on")
        assert await browsers.accessibility(guest.page) == []
        await guest.page.fill("#code", await _code(server, email))
        await guest.submit("Open the images")
        await guest.page.locator("main a.title").first.click()
        await guest.page.wait_for_url("**/studies/*")
        await guest.follow("Quick look")
        await guest.page.wait_for_function("document.querySelector('#frame').naturalWidth > 0")
        assert guest.errors == []
    async with browsers.visiting(chromium, server.url) as guest:  # the full viewer needs room
        await guest.open(path)
        await guest.page.fill("#birth_date", BIRTH)
        await guest.submit("Go on")
        await guest.page.fill("#code", await _code(server, email, 2))
        await guest.submit("Open the images")
        await guest.open(f"{path}/studies/{record.studies[0]}")
        await guest.follow("Open full viewer")
        assert await guest.pixels() > 16
        await guest.open(f"/viewer/viewer?StudyInstanceUIDs={record.studies[1]}&link={path[6:]}")
        assert await guest.page.locator("canvas").count() == 0
