"""The study page: corrections, hashes, who can see it, a viewer on the desktop."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from server.core import clock
from tests.factories import People, bearer
from tests.flows.portal_steps import submit
from tests.flows.portal_studies import keep


@pytest.fixture
async def ada(server, people: People):
    """A patient, and her browser."""
    person = await people.patient("Ada Moor")
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
        await people.session(browser, person)
        yield person, browser


async def _token(browser: httpx.AsyncClient) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', (await browser.get("/sharing")).text)
    assert found
    return found[1]


async def test_details_are_corrected_and_taken_back(client, people, ada):
    """Row 53: what the patient writes lies over the images' values; history is kept, and undone."""
    person, browser = ada
    study = await keep(client, people, person, StudyDescription="CT Hed", StudyDate="20200101")
    path = f"/studies/{study.uid}"
    saved = await submit(browser, f"{path}/correct", description="CT Head", date="2019-03", modality="CT")
    assert saved.status_code == 303, saved.text
    page = (await browser.get(path)).text
    assert "CT Head" in page
    assert "March 2019" in page
    assert "2019" in (await browser.get("/imaging")).text
    history = (await browser.get(f"{path}/correct")).text
    assert "The images say: CT Hed" in history
    assert "Ada Moor" in history
    fhir = await client.get("/fhir/ImagingStudy", headers=bearer(await people.token(person)))
    assert "CT Head" in fhir.text
    wrong = await submit(browser, f"{path}/correct", date="2019-13", modality="CT")
    assert wrong.status_code == 422
    form = {"csrf": await _token(browser), "attribute": "description"}
    undone = await browser.post(f"{path}/correct/undo", data=form)
    assert undone.status_code == 303
    assert "CT Hed" in (await browser.get(path)).text
    # the list searches and sorts by what it shows, not by what the images say
    await submit(browser, f"{path}/correct", description="Schädel Übersicht", date="2019-03", modality="DX")
    for text, there in (
        ("ubersicht", True),
        ("SCHÄDEL", True),
        ("hed", False),
        ("x-ray", True),
        ("CT", False),
    ):
        found = await submit(browser, "/imaging", text=text)
        assert (study.uid in found.text) is there, text
    assert study.uid in (await browser.get("/imaging?kind=DX")).text
    assert study.uid not in (await browser.get("/imaging?kind=CT")).text
    # the bytes are what they were (row 44)
    sums = (await browser.get(f"{path}/hashes")).text
    assert hashlib.sha256(study.content).hexdigest() in sums
    assert f"{study.series}/{study.instance}.dcm" in sums


async def test_nobody_else_corrects(client, server, people, ada):
    """A doctor who sees a study, and a stranger, correct nothing and learn no sums."""
    person, _browser = ada
    study = await keep(client, people, person)
    doctor, stranger = await people.doctor(), await people.patient("Stray Ger")
    await people.share(person, doctor)
    for somebody in (doctor, stranger):
        async with httpx.AsyncClient(base_url=server.url) as theirs:
            await people.session(theirs, somebody)
            for path in ("correct", "hashes"):
                assert (await theirs.get(f"/studies/{study.uid}/{path}")).status_code == 404
            found = re.search(r'name="csrf" value="([^"]+)"', (await theirs.get("/account/security")).text)
            assert found
            form = {"csrf": found[1], "description": "Mine now"}
            assert (await theirs.post(f"/studies/{study.uid}/correct", data=form)).status_code == 404


async def test_a_switch_for_each_person(client, people, ada):
    """One study is taken from one doctor, and given back; the others stay as they are."""
    person, browser = ada
    first, second = await keep(client, people, person), await keep(client, people, person)
    doctor = await people.doctor("Bo Reader")
    share = await people.share(person, doctor)
    token = bearer(await people.token(doctor, "user/*.rs"))

    async def seen() -> set[str]:
        found = await client.get("/dicomweb/studies", headers=token)
        return {each["0020000D"]["Value"][0] for each in found.json()} if found.content else set()

    form = {"csrf": await _token(browser), "share": share}
    assert await seen() == {first.uid, second.uid}
    assert 'aria-checked="true"' in (await browser.get(f"/studies/{first.uid}")).text
    assert (await browser.post(f"/studies/{first.uid}/seen", data=form | {"sees": "no"})).status_code == 303
    assert await seen() == {second.uid}
    assert 'aria-checked="false"' in (await browser.get(f"/studies/{first.uid}")).text
    last = await browser.post(f"/studies/{second.uid}/seen", data=form | {"sees": "no"})
    assert last.status_code == 422
    assert "only study" in last.text
    assert (await browser.post(f"/studies/{first.uid}/seen", data=form | {"sees": "yes"})).status_code == 303
    assert await seen() == {first.uid, second.uid}

    # What differs is nobody else's, whatever the shares say; both sides of the difference are told.
    assert "you and Bo Reader" in (await browser.get("/imaging")).text
    for each in (first, second):
        await browser.post(f"/studies/{each.uid}/delete", data=form)
    odd = await keep(client, people, person, PatientName="DOE^JANE")
    listed = (await browser.get("/imaging")).text
    assert "only you" in listed
    assert "you and" not in listed
    asked = (await browser.get(f"/studies/{odd.uid}")).text
    assert "carry the name JANE DOE and the birth date 29 February 1980" in asked
    assert "Your profile says Ada Moor and 29 February 1980." in asked


async def test_a_viewer_on_the_desktop(client, server, people, ada):
    """A key for Weasis and Slicer: one study, for reading, an hour, ended at once (decision 19)."""
    person, browser = ada
    chosen, other = await keep(client, people, person), await keep(client, people, person)
    made = await submit(browser, f"/studies/{chosen.uid}/viewers", viewer="Weasis")
    found = re.search(r'href="weasis://([^"]+)"', made.text)
    assert found
    command = unquote(found[1])
    key = re.search(r"Bearer (lbp_[\w-]+)", command)
    address = re.search(r'--url "([^"]+)"', command)
    assert key
    assert address
    root, headers = address[1], bearer(key[1])

    studies = (await client.get(f"{root}/studies", headers=headers)).json()
    assert [each["0020000D"]["Value"][0] for each in studies] == [chosen.uid]
    accept = {"accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    whole = await client.get(f"{root}/studies/{chosen.uid}", headers=headers | accept)
    assert chosen.content in whole.content
    for path in (f"{root}/studies/{other.uid}/metadata", f"/dicomweb/studies/{other.uid}"):
        assert (await client.get(path, headers=headers)).status_code == 404
    deleted = await client.delete(f"{root}/studies/{chosen.uid}", headers=headers)
    assert deleted.status_code in (403, 404)
    stored = await client.post(
        f"{root}/studies", headers=headers | {"content-type": "application/dicom"}, content=chosen.content
    )
    assert stored.status_code >= 400
    for closed in ("/fhir/Patient", "/fhir/DiagnosticReport", "/fhir/AuditEvent", "/fhir/Consent"):
        answer = await client.get(closed, headers=headers)
        assert answer.status_code != 200 or not answer.json().get("entry"), closed
    # it is no session, and no way to more of them
    assert (await client.get("/imaging", headers=headers)).status_code == 303
    assert "Weasis" in (await browser.get("/sharing")).text

    ending = re.search(r'action="(/viewers/[\w-]+/end)"', (await browser.get("/sharing")).text)
    assert ending
    assert (await browser.post(ending[1], data={"csrf": await _token(browser)})).status_code == 303
    assert (await client.get(f"{root}/studies", headers=headers)).status_code == 401
    assert "opened a study in a viewer" in (await browser.get("/activity")).text


async def test_a_doctors_viewer_ends_with_the_share(client, server, people, ada):
    """A doctor's key opens what the doctor may see at that moment; without the right to download there is none."""
    person, browser = ada
    study = await keep(client, people, person)
    doctor, reader = await people.doctor("Dora Download"), await people.doctor("Rita Reader")
    share = await people.share(person, doctor)
    await people.share(person, reader, rights=("images",))
    async with httpx.AsyncClient(base_url=server.url) as theirs:
        await people.session(theirs, doctor)
        address = f"/studies/{study.uid}/viewers?patient={person.fhir_id}"
        made = await submit(theirs, address, address, viewer="3D Slicer")
        link = re.search(r'href="(slicer://[^"]+)"', made.text)
        assert link
        facts = parse_qs(urlsplit(link[1].replace("&amp;", "&")).query)
        headers = bearer(facts["access_token"][0])
        root = facts["dicomweb_endpoint"][0]
        assert len((await client.get(f"{root}/studies", headers=headers)).json()) == 1
        clock.travel(timedelta(minutes=61))
        assert (await client.get(f"{root}/studies", headers=headers)).status_code == 401
        clock.travel(timedelta())
        await submit(browser, f"/sharing/{share}", f"/sharing/{share}/end")
        assert (await client.get(f"{root}/studies", headers=headers)).json() == []
    async with httpx.AsyncClient(base_url=server.url) as theirs:
        await people.session(theirs, reader)
        assert (await theirs.get(address)).status_code == 404


async def test_reports_are_not_counted_without_the_right(client, server, people, ada):
    """A doctor who was not given the reports does not learn how many there are."""
    person, browser = ada
    study = await keep(client, people, person)
    await submit(browser, f"/studies/{study.uid}/reports/add", title="Befund", text="Words.", date="")
    reader, without = await people.doctor("Rita Reports"), await people.doctor("Will Without")
    await people.share(person, reader)
    await people.share(person, without, rights=("images",))
    for doctor, number in ((reader, 1), (without, 0)):
        async with httpx.AsyncClient(base_url=server.url) as theirs:
            await people.session(theirs, doctor)
            assert (await theirs.get(f"/my-patients/{person.fhir_id}")).text.count("1 report") == number


async def test_what_they_will_see(client, people, ada):
    """The preview shows the doctor's page, keeps what was typed, and sends nothing (rows 30-32)."""
    person, browser = ada
    study = await keep(client, people, person, StudyDescription="Knee left")
    foreign = await keep(
        client,
        people,
        person,
        StudyDescription="Not hers",
        PatientName="Else^Some",
        PatientBirthDate="19010101",
    )
    form = {"name": "Dr Vi Ew", "email": "vi@example.org", "right": ["images"], "message": "For Tuesday"}
    shown = await submit(browser, "/sharing/new", act="preview", **form)
    assert shown.status_code == 200
    assert "Knee left" in shown.text
    assert foreign.uid not in shown.text
    assert "vi@example.org" in shown.text
    assert "They may not" in shown.text
    assert "vi@example.org" not in (await browser.get("/sharing")).text
    assert "For Tuesday" in shown.text
    assert study.uid in shown.text


async def test_terms_are_changed_on_the_person_page(client, server, people, ada):
    """The switches of a person's page hold from the next request on; a request is answered with terms (row 4)."""
    person, browser = ada
    study = await keep(client, people, person)
    doctor = await people.doctor("Bo Reader")
    share = await people.share(person, doctor)
    headers = bearer(await people.token(doctor, "user/*.rs"))
    zipped = f"/patients/{person.fhir_id}/dicomweb/studies/{study.uid}?accept=application/zip"
    assert (await client.get(zipped, headers=headers)).status_code == 200
    page, change = f"/sharing/{share}", f"/sharing/{share}/change"
    none = await submit(browser, page, change, right=[])
    assert none.status_code == 422
    saved = await submit(browser, page, change, right=["images"])
    assert saved.status_code == 303
    assert (await client.get(zipped, headers=headers)).status_code in (403, 404)
    until = (clock.now() + timedelta(days=2)).date().isoformat()
    await submit(browser, page, change, right=["images"], until=until)
    clock.travel(timedelta(days=4))
    assert (await client.get("/dicomweb/studies", headers=headers)).status_code in (200, 401)
