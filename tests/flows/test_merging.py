"""Two records of one person become one, and an operator parts them again: what each side sees, before and after."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
import pytest

from tests.conformance.dicomweb.samples import MULTIPART, Sample, body, instance
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.flows.portal_steps import forms_of, mail_to, submit

BORN = "1980-02-29"


@dataclass
class Scene:
    """A patient with a record of her own, and a doctor who made another one for her."""

    server: RunningServer
    ada: Person
    patient: httpx.AsyncClient
    doctor: httpx.AsyncClient
    friend: Person  # a doctor who sees the whole of the own record
    source: str
    code: str
    own: Sample  # in the own record
    brought: Sample  # in the other one
    twice: Sample  # in both, the same bytes
    first: Sample  # in the own record, and
    second: Sample  # in the other one under the same UID with other content

    async def token(self, people: People, person: Person) -> dict[str, str]:
        return bearer(
            await people.token(person, "user/*.cruds" if person.role == "doctor" else "patient/*.cruds")
        )


@pytest.fixture
async def scene(server: RunningServer, people: People) -> AsyncIterator[Scene]:
    ada, friend = await people.patient("Ada Moor"), await people.doctor("Fay Friend")
    own, brought, twice, first = instance(), instance(), instance(), instance()
    second = instance(first.study, first.series, SOPInstanceUID=first.sop, SeriesDescription="Other")
    async with AsyncExitStack() as stack:
        doctor, patient = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=30)) for _ in "dp"
        ]
        await people.session(doctor, await people.doctor("Dora Dale"))
        await people.session(patient, ada)
        await _store(patient, ada.fhir_id, own, twice, first)
        await people.share(ada, friend)
        page = await submit(doctor, "/my-patients/new", name="Ada Moor", birth_date=BORN, gender="female")
        source = re.search(r"/my-patients/([^/\"]+)/add", page.text)
        code = re.search(r'<code class="secret">([0-9A-Z-]+)</code>', page.text)
        assert source
        assert code
        await _store(doctor, source[1], brought, twice, second)
        yield Scene(
            server, ada, patient, doctor, friend, source[1], code[1], own, brought, twice, first, second
        )


async def _store(browser: httpx.AsyncClient, patient_id: str, *samples: Sample) -> None:
    page = "/upload/token"
    if (await browser.get(page)).status_code != 200:
        page = f"/my-patients/{patient_id}/upload/token"
    headers = {"Content-Type": MULTIPART, "Accept": "application/dicom+json"}
    headers["X-CSRF-Token"] = (await browser.get(page)).json()["csrf"]
    content = body(each.data for each in samples)
    answer = await browser.post(
        f"/patients/{patient_id}/dicomweb/studies?mine=true", content=content, headers=headers
    )
    assert answer.status_code == 200, answer.text


async def _seen(browser: httpx.AsyncClient, root: str, headers: dict[str, str] | None = None) -> set[str]:
    answer = await browser.get(f"{root}/studies", headers=headers)
    assert answer.status_code in (200, 204), answer.text
    return {each["0020000D"]["Value"][0] for each in (answer.json() if answer.content else [])}


async def _bytes(browser: httpx.AsyncClient, root: str, sample: Sample) -> bytes | None:
    answer = await browser.get(f"{root}{sample.path}", headers={"Accept": "application/dicom"})
    return answer.content if answer.status_code == 200 else None


async def test_a_claimed_record_goes_into_the_one_there_is_and_an_operator_takes_it_out_again(
    scene: Scene, people: People, server: RunningServer
) -> None:
    """Rows 1, 41-42; decision 7: one record afterwards for everybody who looks, and two again when it was wrong."""
    ada, source, patient, doctor = scene.ada, scene.source, scene.patient, scene.doctor
    root, old = f"/patients/{ada.fhir_id}/dicomweb", f"/patients/{source}/dicomweb"
    taken = await submit(patient, "/account/people", "/account/people/claim", code=scene.code, born=BORN)
    assert taken.headers["location"] == "/imaging?done=joined", taken.text

    everything = {each.study for each in (scene.own, scene.brought, scene.twice, scene.first)}
    assert await _seen(patient, root) == await _seen(patient, old) == everything
    for sample in (scene.own, scene.brought, scene.twice, scene.first):
        assert await _bytes(patient, root, sample) == sample.data
    assert await _bytes(patient, old, scene.brought) == scene.brought.data

    study = (await patient.get(f"/studies/{scene.first.study}")).text
    other = re.search(r'href="(/studies/[^"]+/other/[^"]+)"', study)
    assert other, study
    assert (await patient.get(other[1])).content == scene.second.data
    assert (await doctor.get(other[1])).status_code in (403, 404)
    assert "/other/" not in (await patient.get(f"/studies/{scene.twice.study}")).text

    # Who saw the one record whole sees what was in it; who saw the other one, what the patient lent.
    assert await _seen(doctor, "/dicomweb") == {scene.brought.study, scene.twice.study, scene.first.study}
    moved = await doctor.get(f"/my-patients/{source}")
    assert moved.headers["location"] == f"/my-patients/{ada.fhir_id}"
    friend = await scene.token(people, scene.friend)
    async with httpx.AsyncClient(base_url=server.url) as app:
        assert await _seen(app, "/dicomweb", friend) == everything
        mine = await scene.token(people, ada)
        merged = (await app.get(f"/fhir/Patient/{source}", headers=mine)).json()
        kept = (await app.get(f"/fhir/Patient/{ada.fhir_id}", headers=mine)).json()
        assert merged["active"] is False
        assert merged["link"] == [{"other": {"reference": f"Patient/{ada.fhir_id}"}, "type": "replaced-by"}]
        assert kept["link"] == [{"other": {"reference": f"Patient/{source}"}, "type": "replaces"}]
        found = (await app.get("/fhir/ImagingStudy", headers=mine)).json()
        subjects = {each["resource"]["subject"]["reference"] for each in found["entry"]}
        assert (subjects, len(found["entry"])) == ({f"Patient/{ada.fhir_id}"}, 4)
        stranger = await scene.token(people, await people.patient("Sam Stranger"))
        for path in (f"/fhir/Patient/{source}", f"{old}/studies/{scene.brought.study}/metadata"):
            assert (await app.get(path, headers=stranger)).status_code == 404
    activity = (await patient.get("/activity")).text
    assert "Another record of the same person became part of this one." in activity
    assert activity.count("Dora Dale") >= 2  # what was done in the other record, too
    outbox = server.data / "outbox"
    assert "part of your own" in await mail_to(outbox, ada.email, "joined")

    # What comes now stays with the person when the records are parted.
    later = instance(scene.brought.study, scene.brought.series)
    await _store(patient, ada.fhir_id, later)
    hospital = await people.backend()
    sent = instance()
    await _store(patient, ada.fhir_id, sent)
    async with server.services.db.raw() as connection:
        brought = (
            "UPDATE study SET organization_id = $3 WHERE patient_id = $1 AND study_uid = $2 RETURNING fhir_id"
        )
        number = await connection.fetchval(brought, ada.fhir_id, sent.study, hospital.organization_id)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as ops:
        await people.session(ops, await people.operator())
        page = f"/operator/records?record={ada.fhir_id}"
        part = next(
            each["action"] for each in forms_of(await ops.get(page)) if str(each["action"]).endswith("/part")
        )
        empty = await submit(ops, page, part, parting_reason=" ")
        assert empty.status_code == 422
        done = await submit(ops, page, part, parting_reason="The code was handed to the wrong person.")
        assert done.status_code == 303, done.text
        again = await ops.post(
            part,
            data={"csrf": forms_of(await ops.get(page))[0]["fields"]["csrf"][0], "parting_reason": "again"},
        )
        assert again.status_code == 422
        left = (await ops.get(page)).text  # what stays is listed by number, without a name of the patient
        assert "Sent by organizations meanwhile" in left
        assert f"ImagingStudy/{number}" in left
        assert "PACS" in left
        assert "Ada" not in left
    assert await _seen(patient, root) == everything | {sent.study}
    assert await _seen(patient, old) == set()
    assert await _bytes(patient, root, scene.brought) is None
    assert await _bytes(patient, root, later) == later.data
    assert await _bytes(patient, root, scene.twice) == scene.twice.data
    for sample in (scene.brought, scene.twice, scene.second):
        assert await _bytes(doctor, old, sample) == sample.data
    assert await _bytes(doctor, old, later) is None
    assert (await doctor.get(f"/my-patients/{source}")).status_code == 200
    assert "The code was handed to the wrong person." in (await patient.get("/activity")).text
    assert "taken it out again" in await mail_to(outbox, ada.email, "taken out")
    new = await submit(doctor, f"/my-patients/{source}", f"/my-patients/{source}/code")
    assert new.status_code == 200


async def test_two_records_that_stand_side_by_side_are_joined_by_their_person(
    server: RunningServer, people: People
) -> None:
    """Row 1: another name is another record until its person says more; somebody else's never becomes theirs."""
    ada = await people.patient("Ada Moor")
    async with AsyncExitStack() as stack:
        doctor, patient, other = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=30)) for _ in "dpo"
        ]
        await people.session(doctor, await people.doctor("Dora Dale"))
        await people.session(patient, ada)
        await people.session(other, await people.patient("Otto Other"))
        own, brought = instance(), instance(PatientName="Berg^Ada")
        await _store(patient, ada.fhir_id, own)
        made = await submit(doctor, "/my-patients/new", name="Ada Berg", birth_date=BORN, gender="female")
        source = re.search(r"/my-patients/([^/\"]+)/add", made.text)
        code = re.search(r'<code class="secret">([0-9A-Z-]+)</code>', made.text)
        assert source
        assert code
        await _store(doctor, source[1], brought)
        taken = await submit(patient, "/account/people", "/account/people/claim", code=code[1], born=BORN)
        assert taken.headers["location"] == "/imaging?done=claimed", taken.text
        root = f"/patients/{ada.fhir_id}/dicomweb"
        assert await _seen(patient, root) == {own.study}

        page = await patient.get("/account/people")
        csrf = forms_of(page)[0]["fields"]["csrf"][0]
        await patient.post("/account/people/show", data={"csrf": csrf, "patient": ada.fhir_id})
        path = f"/account/people/join?record={source[1]}"
        assert path in (await patient.get("/account/people")).text
        assert (await other.get(path)).status_code == 404
        asked = await submit(patient, path, "/account/people/join")
        assert asked.status_code == 422
        assert "Tick the box" in asked.text
        joined = await submit(patient, path, "/account/people/join", same="yes")
        assert joined.headers["location"] == "/imaging?done=joined", joined.text
        assert await _seen(patient, root) == {own.study, brought.study}
        assert await _seen(doctor, "/dicomweb") == {brought.study}
        assert (await patient.get(path)).status_code == 404
