"""Hard copies and historical records: rows 23-29 of the product page."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.conftest import RunningServer
from tests.factories import People, Person

from .portal_steps import forms_of, submit

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(200))


@pytest.fixture
async def ada(client: httpx.AsyncClient, people: People) -> Person:
    person = await people.patient("Ada Moor")
    await people.session(client, person)
    return person


async def new_record(client: httpx.AsyncClient, **fields: str) -> str:
    answer = await submit(client, "/records/new", **{"kind": "DX", "year": "1998"} | fields)
    assert answer.status_code == 303, re.findall(r'class="error"[^>]*>([^<]*)', answer.text)
    return answer.headers["location"].split("/")[2]


async def attach(client: httpx.AsyncClient, record: str, what: str, *, text: str = "", **files: bytes) -> int:
    page = await client.get(f"/records/{record}/add")
    token = forms_of(page)[-1]["fields"]["csrf"][0]
    sent = [("files", (name.replace("_", "."), content)) for name, content in files.items()]
    data = {"csrf": token, "what": what, "text": text}
    answer = await client.post(f"/records/{record}/add", data=data, files=sent or [("files", ("", b""))])
    return answer.status_code


async def test_from_the_wizard_to_the_list(client: httpx.AsyncClient, ada: Person) -> None:
    """Rows 23-28: Add record, Save and continue, add, Continue, Done; listed like other imaging."""
    wizard = await client.get("/imaging/add")
    assert "Hard copy or historical record" in wizard.text
    assert "Add record" in wizard.text
    form = await client.get("/records/new")
    assert "as much detail as you can" in form.text
    assert "Save and continue" in form.text
    record = await new_record(client, body_part="Left knee", place="City Hospital", notes="After a fall")
    step = await client.get(f"/records/{record}/add")
    assert "Add a report" in step.text
    assert "Continue" in step.text
    assert await attach(client, record, "report", text="No fracture.") == 303
    assert await attach(client, record, "document", film_jpg=JPEG, other_jpg=JPEG) == 303
    assert "Draft" in (await client.get("/imaging")).text
    await submit(client, f"/records/{record}", action=f"/records/{record}/done")
    listed = (await client.get("/imaging")).text
    assert "Draft" not in listed
    assert "X-ray, Left knee" in listed
    assert "2 documents" in listed
    assert "1 report" in listed
    page = (await client.get(f"/records/{record}")).text
    for words in ("City Hospital", "After a fall", "film.jpg", "1998"):
        assert words in page
    assert (await client.get(f"/records/{record}/files/1")).content == JPEG


async def test_partial_dates_are_in_their_place(client: httpx.AsyncClient, ada: Person) -> None:
    """Rows 25, 29: sorted by the date of the examination, however little of it is known."""
    for fields in (
        {"year": "1998"},
        {"year": "1998", "month": "05"},
        {"year": "1998", "month": "05", "day": "17"},
    ):
        await new_record(client, **fields)
    await new_record(client, year="2004", kind="MR")
    listed = (await client.get("/imaging")).text
    years = re.findall(r'class="year">(\d+)', listed)
    assert years == ["2004", "1998"]
    dates = re.findall(r"<span>((?:\d+ )?(?:May )?\d{4})</span>", listed)
    assert dates == ["2004", "17 May 1998", "May 1998", "1998"]
    assert len(re.findall("/records/", (await client.get("/imaging?kind=MR")).text)) == 1
    for text, count in (("1998", 3), ("2004", 1), ("after a FALL", 0), ("mri", 1)):
        assert (
            len(re.findall('href="/records/[^n]', (await submit(client, "/imaging", text=text)).text))
            == count
        )


async def test_records_on_paper_are_found_too(client: httpx.AsyncClient, ada: Person) -> None:
    """Row 28: the search field of My imaging knows them by their words."""
    record = await new_record(client, body_part="Left knee", notes="Nach dem Sturz in Überlingen")
    await new_record(client, body_part="Hip")
    for text in ("KNEE", "uberlingen"):
        found = await submit(client, "/imaging", text=text)
        assert re.findall(r'href="/records/([\w-]{36})"', found.text) == [record]


@pytest.mark.parametrize(
    "fields",
    [
        {"year": ""},
        {"year": "98"},
        {"year": "2999"},
        {"year": "1800"},
        {"year": "٢٠٠٤x"},
        {"day": "17"},
        {"month": "02", "day": "30"},
        {"kind": ""},
        {"kind": "nonsense"},
    ],
)
async def test_what_cannot_be_is_marked(
    client: httpx.AsyncClient, ada: Person, fields: dict[str, str]
) -> None:
    answer = await submit(client, "/records/new", **{"kind": "DX", "year": "1998", "notes": "kept"} | fields)
    assert answer.status_code == 422
    assert 'class="error"' in answer.text
    assert "kept" in answer.text


async def test_others_see_it_where_reports_are_shared(
    client: httpx.AsyncClient, server: RunningServer, people: People, ada: Person
) -> None:
    record = await new_record(client, body_part="Hip")
    await attach(client, record, "report", text="Healed.")
    seeing, not_reading, stranger = [await people.doctor() for _ in range(3)]
    share = await people.share(ada, seeing)
    await people.share(ada, not_reading, rights=("images",))
    for doctor, status in ((seeing, 200), (not_reading, 404), (stranger, 404)):
        async with httpx.AsyncClient(base_url=server.url) as other:
            await people.session(other, doctor)
            assert (await other.get(f"/records/{record}")).status_code == status
            assert (await other.get(f"/records/{record}/add")).status_code == 404
            if status == 200:
                assert "X-ray, Hip" in (await other.get(f"/my-patients/{ada.fhir_id}")).text
                await submit(client, f"/sharing/{share}", action=f"/sharing/{share}/end")
                assert (await other.get(f"/records/{record}")).status_code == 404


async def test_it_is_a_document_in_fhir(client: httpx.AsyncClient, ada: Person) -> None:
    """Decision 17."""
    record = await new_record(client, month="05")
    resource = (await client.get(f"/fhir/DocumentReference/{record}")).json()
    assert resource["context"]["period"]["start"] == "1998-05"
    assert resource["docStatus"] == "preliminary"
    assert resource["content"] == [{"attachment": {"title": "X-ray"}}]


async def test_deleting_takes_everything_of_it(client: httpx.AsyncClient, ada: Person) -> None:
    record = await new_record(client)
    await attach(client, record, "report", text="Gone soon")
    report = (await client.get(f"/records/{record}")).text.partition('href="/reports/')[2].partition('"')[0]
    await submit(client, f"/records/{record}", action=f"/records/{record}/delete")
    assert (await client.get(f"/records/{record}")).status_code in (404, 410)
    assert (await client.get(f"/reports/{report}")).status_code in (404, 410)
    assert "/records/" not in (await client.get("/imaging")).text.replace("/records/new", "")
