"""Records made by a doctor and taken over by the patient; guardians; emergencies: over HTTP, without JavaScript."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from server.core import clock
from tests.conformance.dicomweb.samples import Sample, instance
from tests.conftest import RunningServer
from tests.factories import People, Person
from tests.flows.portal_steps import submit

BORN = "1980-02-29"


@pytest.fixture
async def doctor(server: RunningServer, people: People) -> AsyncIterator[httpx.AsyncClient]:
    async with _browser(server) as browser:
        await people.session(browser, await people.doctor("Dora Dale"))
        yield browser


@pytest.fixture
async def ada(people: People) -> Person:
    return await people.patient("Ada Moor")


@pytest.fixture
async def patient(server: RunningServer, people: People, ada: Person) -> AsyncIterator[httpx.AsyncClient]:
    async with _browser(server) as browser:
        await people.session(browser, ada)
        yield browser


def _browser(server: RunningServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=30)


def _code(page: httpx.Response) -> str:
    assert page.status_code == 200, page.text
    found = re.search(r'<code class="secret">([0-9A-Z-]+)</code>', page.text)
    assert found
    return found[1]


async def _made(doctor: httpx.AsyncClient, **more: str) -> tuple[str, str]:
    """A record, and the code for it."""
    fields = {"name": "Mina Moor", "birth_date": BORN, "gender": "female", **more}
    page = await submit(doctor, "/my-patients/new", **fields)
    patient_id = re.search(r"/my-patients/([^/\"]+)/add", page.text)
    assert patient_id
    return patient_id[1], _code(page)


async def _store(browser: httpx.AsyncClient, patient_id: str, sample: Sample) -> httpx.Response:
    csrf = (await browser.get(f"/my-patients/{patient_id}/upload/token")).json()["csrf"]
    headers = {"Content-Type": "application/dicom", "X-CSRF-Token": csrf, "Accept": "application/dicom+json"}
    return await browser.post(
        f"/patients/{patient_id}/dicomweb/studies", content=sample.data, headers=headers
    )


async def _take_over(browser: httpx.AsyncClient, code: str, born: str = BORN) -> httpx.Response:
    return await submit(browser, "/account/people", "/account/people/claim", code=code, born=born)


async def test_a_doctor_makes_a_record_and_the_patient_takes_it_over(
    doctor: httpx.AsyncClient, patient: httpx.AsyncClient, ada: Person, server: RunningServer
) -> None:
    """Rows 1, 41-42: the doctor gathers on behalf of the patient, who sees all of it once it is theirs, and ends it."""
    patient_id, code = await _made(doctor)
    sample = instance(PatientName="Moor^Mina")
    stored = await _store(doctor, patient_id, sample)
    assert stored.status_code == 200, stored.text
    assert sample.study in (await doctor.get(f"/my-patients/{patient_id}")).text

    taken = await _take_over(patient, code.lower())
    assert taken.headers["location"] == "/imaging?done=claimed", taken.text
    assert sample.study in (await patient.get("/imaging")).text
    profile = await submit(
        patient, "/account/profile", given="Mina", family="Moor", birth_date=BORN, gender="female"
    )
    assert profile.headers["location"] == "/account?done=profile", profile.text
    sharing = await patient.get("/sharing")
    assert "Dora Dale" in sharing.text
    share = re.search(r'href="/sharing/([0-9a-f-]{36})"', sharing.text)
    assert share
    ended = await submit(patient, f"/sharing/{share[1]}", f"/sharing/{share[1]}/end")
    assert ended.status_code == 303
    assert (
        await doctor.get(f"/patients/{patient_id}/dicomweb/studies/{sample.study}/metadata")
    ).status_code == 404
    assert (await doctor.get(f"/my-patients/{patient_id}")).status_code == 404


async def test_a_code_works_once_and_not_without_the_birth_date(
    doctor: httpx.AsyncClient, patient: httpx.AsyncClient, people: People, server: RunningServer
) -> None:
    """Row 1: nobody else takes the record over."""
    _, code = await _made(doctor)
    for born in ("1980-02-28", "1990-01-01"):
        assert (await _take_over(patient, code, born)).status_code == 422
    assert (await _take_over(patient, code)).status_code == 303
    async with _browser(server) as other:
        await people.session(other, await people.patient("Otto Other"))
        assert (await _take_over(other, code)).status_code == 422


async def test_five_wrong_birth_dates_end_a_code(
    doctor: httpx.AsyncClient, people: People, server: RunningServer
) -> None:
    """Row 1: guessing ends."""
    _, code = await _made(doctor)
    async with _browser(server) as browser:
        await people.session(browser, await people.patient("Gus Guess"))
        for day in range(1, 6):
            assert (await _take_over(browser, code, f"1980-03-0{day}")).status_code == 422
    async with _browser(server) as browser:
        await people.session(browser, await people.patient("Ada Moor"))
        assert (await _take_over(browser, code)).status_code == 422


async def test_by_the_verified_address_without_a_code(
    doctor: httpx.AsyncClient, patient: httpx.AsyncClient, ada: Person
) -> None:
    """Rows 41-42: the invited, verified address and the birth date do as well."""
    await _made(doctor, email=ada.email)
    taken = await _take_over(patient, "")
    assert taken.headers["location"] == "/imaging?done=claimed", taken.text
    assert ada.fhir_id in (await patient.get("/imaging/add")).text


async def test_a_new_code_takes_the_place_of_the_old(
    doctor: httpx.AsyncClient, patient: httpx.AsyncClient
) -> None:
    """Rows 41-42."""
    patient_id, old = await _made(doctor)
    new = _code(await submit(doctor, f"/my-patients/{patient_id}", f"/my-patients/{patient_id}/code"))
    assert (await _take_over(patient, old)).status_code == 422
    assert (await _take_over(patient, new)).status_code == 303
    assert (await doctor.get(f"/my-patients/{patient_id}")).text.count("/code") == 0


async def test_a_child(patient: httpx.AsyncClient, server: RunningServer) -> None:
    """A guardian holds a record for a child, and the pages show one record at a time."""
    fields = {"name": "Kit Moor", "birth_date": "2020-05-05"}
    added = await submit(patient, "/account/people", "/account/people/child", **fields)
    assert added.headers["location"] == "/imaging?done=child-added", added.text
    assert "Imaging of Kit Moor" in (await patient.get("/imaging")).text
    own = await submit(patient, "/account/people", "/account/people/show")
    assert own.status_code == 303
    assert "Kit Moor" not in (await patient.get("/imaging")).text


async def test_a_relative_acts_until_it_is_ended(
    patient: httpx.AsyncClient, people: People, server: RunningServer
) -> None:
    """A guardian by the person's own word, ended by it: at the next request."""
    code = _code(await submit(patient, "/account/people", "/account/people/code"))
    async with _browser(server) as relative:
        await people.session(relative, await people.patient("Rhea Relative"))
        assert (await _take_over(relative, code)).headers["location"] == "/imaging?done=guardian"
        assert "Imaging of Ada Moor" in (await relative.get("/imaging")).text
        page = await patient.get("/account/people")
        assert "Rhea Relative" in page.text
        ended = await submit(patient, "/account/people", "/account/people/end")
        assert ended.status_code == 303
        assert "Imaging of Ada Moor" not in (await relative.get("/imaging")).text


async def test_nobody_is_shown_what_they_do_not_hold(
    patient: httpx.AsyncClient, people: People, server: RunningServer
) -> None:
    other = await people.patient("Otto Other")
    await submit(
        patient, "/account/people", "/account/people/child", name="Kit Moor", birth_date="2020-05-05"
    )
    answer = await submit(patient, "/account/people", "/account/people/show", patient=other.fhir_id)
    assert answer.status_code == 404


async def test_an_emergency(
    doctor: httpx.AsyncClient, patient: httpx.AsyncClient, ada: Person, server: RunningServer
) -> None:
    """Break-glass: off by default, with the patient's code and a reason, two hours, told at once, in the log."""
    fields = {"code": "2222-3333-4444", "birth_date": BORN, "reason": "Unconscious after an accident"}
    assert (await submit(doctor, "/my-patients/emergency", **fields)).status_code == 422
    fields["code"] = _code(await submit(patient, "/account/people", "/account/people/emergency"))
    short = await submit(doctor, "/my-patients/emergency", **{**fields, "reason": "so"})
    assert short.status_code == 422
    opened = await submit(doctor, "/my-patients/emergency", **fields)
    assert opened.headers["location"] == f"/my-patients/{ada.fhir_id}", opened.text
    assert (await doctor.get(f"/my-patients/{ada.fhir_id}")).status_code == 200
    assert "in an emergency" in (await patient.get("/activity")).text
    clock.travel(timedelta(hours=2, minutes=1))
    gone = await doctor.get(f"/patients/{ada.fhir_id}/dicomweb/studies")
    assert gone.status_code in (200, 401)
    assert gone.status_code == 401 or gone.json() == []


async def test_an_emergency_code_that_was_taken_back(
    doctor: httpx.AsyncClient, patient: httpx.AsyncClient
) -> None:
    code = _code(await submit(patient, "/account/people", "/account/people/emergency"))
    assert (await submit(patient, "/account/people", "/account/people/emergency/off")).status_code == 303
    fields = {"code": code, "birth_date": BORN, "reason": "Unconscious after an accident"}
    assert (await submit(doctor, "/my-patients/emergency", **fields)).status_code == 422
