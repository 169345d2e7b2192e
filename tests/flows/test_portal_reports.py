"""Reports beside the images: text and files, byte for byte, seen by whom the images are shared with."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from pydicom import data as pydicom_data

from tests.conftest import RunningServer
from tests.factories import People, Person, bearer

from .portal_steps import forms_of, submit

SAMPLE = Path(pydicom_data.__file__).parent / "test_files" / "CT_small.dcm"
STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
PDF = b"%PDF-1.4\n\xff\xfe not text at all \x00\x01"
ARABIC = "تقرير الأشعة.pdf"


@pytest.fixture
async def ada(people: People) -> Person:
    return await people.patient("Ada Moor")


@pytest.fixture
async def study(client: httpx.AsyncClient, people: People, ada: Person) -> str:
    """A study in Ada's record; its UID."""
    headers = {**bearer(await people.token(ada)), "Content-Type": "application/dicom"}
    stored = await client.post("/dicomweb/studies?mine=true", content=SAMPLE.read_bytes(), headers=headers)
    assert stored.status_code == 200, stored.text
    return STUDY


async def add_report(
    browser: httpx.AsyncClient, study: str, *, text: str = "", files: dict[str, bytes]
) -> httpx.Response:
    page = await browser.get(f"/studies/{study}/reports/add")
    form = next(each for each in forms_of(page) if "/reports/add" in str(each["action"]))
    sent = [("files", (name, content, "application/octet-stream")) for name, content in files.items()]
    fields = {**{key: value[0] for key, value in form["fields"].items() if key != "files"}, "text": text}
    return await browser.post(str(form["action"]), data=fields, files=sent or [("files", ("", b""))])


def report_in(page: httpx.Response) -> str:
    return page.text.partition('href="/reports/')[2].partition('"')[0]


async def test_text_and_files_come_back_as_they_were(
    client: httpx.AsyncClient, people: People, ada: Person, study: str
) -> None:
    """Rows 21, 44; a name in Arabic."""
    await people.session(client, ada)
    answer = await add_report(
        client, study, text="Kein Befund.\nZeile 2", files={ARABIC: PDF, "note.txt": b"plain"}
    )
    assert answer.headers["location"] == f"/studies/{study}?done=report-added"
    report = report_in(await client.get(f"/studies/{study}"))
    page = await client.get(f"/reports/{report}")
    assert "Kein Befund.\nZeile 2" in page.text
    assert ARABIC in page.text
    file = await client.get(f"/reports/{report}/files/1")
    assert file.content == PDF
    assert file.headers["content-type"] == "application/pdf"
    assert file.headers["content-disposition"].startswith("attachment; filename*=UTF-8''%D8%AA")
    assert "sandbox" in file.headers["content-security-policy"]
    assert (await client.get(f"/reports/{report}/files/9")).status_code == 404
    assert "1 report" in (await client.get("/imaging")).text


async def test_a_report_is_fhir(client: httpx.AsyncClient, people: People, ada: Person, study: str) -> None:
    await people.session(client, ada)
    await add_report(client, study, text="Findings", files={})
    found = await client.get(f"/fhir/DiagnosticReport?patient={ada.fhir_id}")
    [entry] = found.json()["entry"]
    resource = entry["resource"]
    assert resource["imagingStudy"][0]["reference"].startswith("ImagingStudy/")
    binary = await client.get(
        f"/fhir/{resource['presentedForm'][0]['url']}", headers={"Accept": "text/plain"}
    )
    assert binary.content == b"Findings"


async def test_the_doctor_reads_it_and_then_no_more(
    client: httpx.AsyncClient, server: RunningServer, people: People, ada: Person, study: str
) -> None:
    """Row 22: reports reach the doctor with the images; ended, they are gone."""
    await people.session(client, ada)
    await add_report(client, study, text="For the doctor", files={})
    doctor = await people.doctor()
    share = await people.share(ada, doctor)
    async with httpx.AsyncClient(base_url=server.url) as other:
        await people.session(other, doctor)
        page = await other.get(f"/studies/{study}?patient={ada.fhir_id}")
        report = report_in(page)
        assert "Add a report" not in page.text
        assert "For the doctor" in (await other.get(f"/reports/{report}")).text
        assert (await other.get(f"/reports/{report}/files/0")).content == b"For the doctor"
        assert (await other.post(f"/reports/{report}/delete")).status_code in (403, 404)
        await submit(client, f"/sharing/{share}", action=f"/sharing/{share}/end")
        assert (await other.get(f"/reports/{report}")).status_code == 404
        assert (await other.get(f"/reports/{report}/files/0")).status_code == 404


async def test_images_without_reports(
    client: httpx.AsyncClient, server: RunningServer, people: People, ada: Person, study: str
) -> None:
    await people.session(client, ada)
    await add_report(client, study, text="Not for everyone", files={})
    report = report_in(await client.get(f"/studies/{study}"))
    doctor = await people.doctor()
    await people.share(ada, doctor, rights=("images",))
    async with httpx.AsyncClient(base_url=server.url) as other:
        await people.session(other, doctor)
        page = await other.get(f"/studies/{study}?patient={ada.fhir_id}")
        assert page.status_code == 200
        assert "/reports/" not in page.text
        assert (await other.get(f"/reports/{report}")).status_code == 404


async def test_what_is_no_report_is_refused_and_nothing_is_kept(
    client: httpx.AsyncClient, people: People, ada: Person, study: str
) -> None:
    await people.session(client, ada)
    photo = await add_report(client, study, files={"photo.pdf": b"\xff\xd8\xff\xe0\x00"})
    assert photo.status_code == 422
    assert "PDF or text" in photo.text
    assert (await add_report(client, study, files={})).status_code == 422
    assert (await add_report(client, study, files={"big.txt": b"a" * (9 * 2**20)})).status_code == 413
    assert "No report on these images yet" in (await client.get(f"/studies/{study}")).text


async def test_deleting_a_report(client: httpx.AsyncClient, people: People, ada: Person, study: str) -> None:
    await people.session(client, ada)
    await add_report(client, study, text="Wrong one", files={})
    report = report_in(await client.get(f"/studies/{study}"))
    await submit(client, f"/reports/{report}", action=f"/reports/{report}/delete")
    assert (await client.get(f"/reports/{report}")).status_code in (404, 410)
    assert "No report on these images yet" in (await client.get(f"/studies/{study}")).text


async def test_a_doctor_who_may_add_does(
    client: httpx.AsyncClient, server: RunningServer, people: People, ada: Person, study: str
) -> None:
    """Rows 40, 42: and the patient sees who wrote it."""
    await people.session(client, ada)
    doctor = await people.doctor("Dr Writer")
    share = await people.share(ada, doctor, rights=("images", "reports", "add"))
    async with httpx.AsyncClient(base_url=server.url) as other:
        await people.session(other, doctor)
        address = f"/studies/{study}/reports/add?patient={ada.fhir_id}"
        assert address in (await other.get(f"/studies/{study}?patient={ada.fhir_id}")).text
        page = await other.get(address)
        form = next(each for each in forms_of(page) if each["action"] == address)
        fields = {"csrf": form["fields"]["csrf"][0], "text": "A second opinion"}
        answer = await other.post(address, data=fields, files=[("files", ("", b""))])
        assert answer.status_code == 303
        report = report_in(await client.get(f"/studies/{study}"))
        assert "Dr Writer" in (await client.get(f"/reports/{report}")).text
        assert "Dr Writer added a report" in (await client.get("/activity")).text
        await submit(client, f"/sharing/{share}", action=f"/sharing/{share}/end")
        assert (await other.post(address, data=fields, files=[("files", ("", b""))])).status_code == 404


async def test_of_chosen_studies_the_others_stay_hidden(
    client: httpx.AsyncClient, server: RunningServer, people: People, ada: Person, study: str
) -> None:
    """A share of chosen studies: pages, lists, pictures and downloads of the others are as if they were not there."""
    other_study = "1.3.6.1.4.1.5962.1.2.4.20040826185059.5457"
    mr = SAMPLE.with_name("MR_small.dcm").read_bytes()
    headers = {**bearer(await people.token(ada)), "Content-Type": "application/dicom"}
    stored = await client.post("/dicomweb/studies?mine=true", content=mr, headers=headers)
    assert stored.status_code == 200
    doctor = await people.doctor()
    await people.share(ada, doctor, rights=("images",), studies=[study])
    async with httpx.AsyncClient(base_url=server.url) as other:
        await people.session(other, doctor)
        listed = (await other.get(f"/my-patients/{ada.fhir_id}")).text
        assert study in listed
        assert other_study not in listed
        for below in ("", "/preview", "/frames", "/reports/add"):
            assert (await other.get(f"/studies/{other_study}{below}")).status_code == 404
        page = (await other.get(f"/studies/{study}?patient={ada.fhir_id}")).text
        assert "application/zip" not in page
        root = f"/patients/{ada.fhir_id}/dicomweb/studies/{study}"
        assert (await other.get(f"{root}?accept=application/zip")).status_code in (403, 404, 406)
        assert (await other.get(f"{root}/thumbnail")).status_code == 200
