"""What seldom happens and must do what a person would expect; and the rows of product.md without a story elsewhere."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from server.records.asserted import assert_identifiers
from server.storage.sql import Statement
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.flows.portal_steps import PASSWORD, forms_of, link_in, mail_to, submit
from tests.flows.portal_studies import keep
from tests.waiting import tries

SYSTEM_OF = Statement("system", "SELECT identifier_system FROM organization WHERE id = :id")


@pytest.fixture
async def windows(server: RunningServer, people: People) -> AsyncIterator:
    """Opens a browser for a person (or a stranger)."""
    async with AsyncExitStack() as stack:

        async def opened(person: Person | None = None) -> httpx.AsyncClient:
            made = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=30))
            if person is not None:
                await people.session(made, person)
            return made

        yield opened


@pytest.fixture
def outbox(server: RunningServer) -> Path:
    return server.data / "outbox"


async def test_two_patients_one_disc(client, people, windows):
    """The same images in two records are two studies: each sees, shares and deletes the own one only."""
    ada, bea = await people.patient("Ada Moor"), await people.patient("Bea Moor")
    kept = await keep(client, people, ada)
    headers = bearer(await people.token(bea)) | {"content-type": "application/dicom"}
    again = await client.post("/dicomweb/studies?mine=true", headers=headers, content=kept.content)
    assert again.status_code == 200
    doctor = await people.doctor("Bo Reader")
    await people.share(ada, doctor)
    await people.share(bea, doctor)
    seen = bearer(await people.token(doctor, "user/*.rs"))
    for patient in (ada, bea):
        root = f"/patients/{patient.fhir_id}/dicomweb/studies"
        assert (await client.get(f"{root}/{kept.uid}/metadata", headers=seen)).status_code == 200
    pooled = await client.get(f"/dicomweb/studies/{kept.uid}/metadata", headers=seen)
    assert pooled.status_code == 409  # a sentence, not a guess
    window, theirs = await windows(ada), await windows(doctor)
    assert (await theirs.get(f"/studies/{kept.uid}?patient={ada.fhir_id}")).status_code == 200
    form = next(
        each
        for each in forms_of(await window.get(f"/studies/{kept.uid}"))
        if each["action"].endswith("/delete")
    )
    assert (await window.post(form["action"], data=form["fields"])).status_code == 303
    assert (await theirs.get(f"/studies/{kept.uid}?patient={ada.fhir_id}")).status_code == 404
    assert (await theirs.get(f"/studies/{kept.uid}?patient={bea.fhir_id}")).status_code == 200
    assert (await (await windows(bea)).get(f"/studies/{kept.uid}")).status_code == 200


async def test_one_doctor_invited_by_two_addresses(people, windows, outbox):
    """Each invitation is for its address: the other address's account cannot take it, and the patient sees both."""
    ada, doctor = await people.patient("Ada Moor"), await people.doctor("Bo Reader")
    private = f"private-{doctor.email}"
    window, theirs = await windows(ada), await windows(doctor)
    await submit(window, "/sharing/new", name="Dr Reader", email=doctor.email)
    await submit(window, "/sharing/new", name="Dr Reader at home", email=private)
    listed = (await window.get("/sharing")).text
    assert doctor.email in listed
    assert private in listed
    wrong = link_in(await mail_to(outbox, private), "/invitation/")
    page = await theirs.get(wrong)
    assert "another e-mail address" in page.text
    assert "Ada Moor" not in page.text
    token = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert token
    refused = await theirs.post(wrong, data={"csrf": token[1], "answer": "accept"})
    assert refused.status_code == 403
    right = link_in(await mail_to(outbox, doctor.email), "/invitation/")
    assert (await submit(theirs, right, answer="accept")).status_code == 303
    listed = (await window.get("/sharing")).text
    assert "Can see" in listed
    assert "days left to accept" in listed


async def test_a_share_accepted_by_the_wrong_account(people, windows, outbox):
    """A forwarded invitation opens nothing: neither for another doctor nor for a patient (row 45)."""
    ada, invited, other = (
        await people.patient("Ada Moor"),
        await people.doctor("Bo Reader"),
        await people.doctor("Otto Other"),
    )
    await submit(await windows(ada), "/sharing/new", name=invited.name, email=invited.email)
    link = link_in(await mail_to(outbox, invited.email), "/invitation/")
    for somebody in (other, await people.patient("Pat Patient")):
        theirs = await windows(somebody)
        page = await theirs.get(link)
        assert "Ada Moor" not in page.text
        token = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert token
        answer = await theirs.post(link, data={"csrf": token[1], "answer": "accept"})
        assert answer.status_code in (403, 404)
        assert (await theirs.get("/dicomweb/studies")).text in ("[]", "")
    assert (await submit(await windows(invited), link, answer="accept")).status_code == 303


async def test_an_invitation_opened_by_a_mail_scanner(people, windows, outbox):
    """A scanner follows every link, more than once and with HEAD: the invitation still waits."""
    ada, doctor = await people.patient("Ada Moor"), await people.doctor("Bo Reader")
    window = await windows(ada)
    await submit(window, "/sharing/new", name=doctor.name, email=doctor.email)
    link = link_in(await mail_to(outbox, doctor.email), "/invitation/")
    scanner = await windows()
    for _ in range(3):
        assert (await scanner.get(link)).status_code == 200
        await scanner.head(link)
    assert "days left to accept" in (await window.get("/sharing")).text
    assert (await submit(await windows(doctor), link, answer="accept")).status_code == 303


async def test_sharing_with_oneself(people, windows):
    """A sentence instead of an invitation, also with other capitals."""
    ada = await people.patient("Ada Moor")
    window = await windows(ada)
    answer = await submit(window, "/sharing/new", name="Me", email=ada.email.upper())
    assert answer.status_code == 422
    assert "your own address" in answer.text


async def test_a_doctor_who_is_also_a_patient(client, people, windows, outbox):
    """Two hats are two accounts: what the patient keeps is not the doctor's until it is shared, and ends as usual."""
    doctor = await people.doctor("Bo Reader")
    own = await people.patient("Bo Reader")
    kept = await keep(client, people, own)
    at_work = await windows(doctor)
    assert (await at_work.get(f"/studies/{kept.uid}")).status_code == 404
    at_home = await windows(own)
    await submit(at_home, "/sharing/new", name="Me at work", email=doctor.email)
    link = link_in(await mail_to(outbox, doctor.email), "/invitation/")
    assert (await submit(at_work, link, answer="accept")).status_code == 303
    assert (await at_work.get(f"/studies/{kept.uid}")).status_code == 200
    assert (await at_work.get("/imaging")).status_code == 404  # a doctor's account has no record of its own


async def test_a_doctor_asks_before_the_appointment(people, windows, outbox):
    """Row 7: a mail to somebody without a profile leads to sign-up; the request waits there, and is answered."""
    doctor = await people.doctor("Bo Reader")
    email = f"new-{doctor.email}"
    asked = await submit(await windows(doctor), "/my-patients/ask", email=email, message="For Tuesday")
    assert asked.status_code == 303
    mail = await mail_to(outbox, email)
    window = await windows()
    form = {"name": "Ada Moor", "email": email, "birth_date": "1980-02-29", "password": PASSWORD}
    assert "/sign-up" in mail
    assert (await submit(window, "/sign-up", **form)).status_code == 303
    confirm = link_in(await mail_to(outbox, email, number=2), "/verify/")
    await submit(window, confirm)
    await window.post("/sign-in", data={"email": email, "password": PASSWORD})
    async for _ in tries():  # what waited for the address is bound to the new profile by a job
        listed = await window.get("/sharing")
        if "Bo Reader" in listed.text:
            break
    assert "Waiting for you" in listed.text
    share = re.search(r'href="(/sharing/[\w-]{36})"', listed.text)
    assert share
    page = await window.get(share[1])
    assert "For Tuesday" in page.text
    answered = await submit(window, share[1], f"{share[1]}/allow", right=["images"])
    assert answered.status_code == 303
    assert "Can see" in (await window.get("/sharing")).text


async def test_a_supplier_uploads_directly(client, server, people, windows):
    """Row 9: a service credential stores into the matching profile; the patient sees who brought it (row 40)."""
    ada = await people.patient("Ada Moor")
    pacs = await people.backend("Seaview Clinic")
    organization = str(pacs.organization_id)
    system = await server.services.db.fetch_val(SYSTEM_OF, {"id": organization})
    known = {"resourceType": "Patient", "identifier": [{"system": system, "value": "SV-1"}]}
    await assert_identifiers(server.services.db, known, patient_id=ada.fhir_id, organization_id=organization)
    token = await people.system_token(pacs)

    class Hospital(People):
        async def token(self, *_: object, **__: object) -> str:
            return token

    kept = await keep(client, Hospital(server.services), ada, PatientID="SV-1", StudyDescription="Hip")
    page = (await (await windows(ada)).get(f"/studies/{kept.uid}")).text
    assert "Brought by" in page
    assert "Seaview Clinic" in page
    stranger = await client.get(
        f"/dicomweb/studies/{kept.uid}", headers=bearer(await people.token(await people.patient("Not Me")))
    )
    assert stranger.status_code == 404


async def test_the_wizard_and_its_ways_on(people, windows):
    """Rows 3, 13-15, 20, 23, 24: the links and exact labels; drop area, pickers for the keyboard, the two ways on."""
    window = await windows(await people.patient("Ada Moor"))
    first = (await window.get("/imaging")).text
    for link in ('href="/imaging/add"', 'href="/sharing"'):
        assert link in first
    assert '<a href="/imaging/add">Add/Upload</a>' in first
    wizard = (await window.get("/imaging/add")).text
    for control in ('id="drop"', 'id="folder-button"', 'id="files-button"', 'id="view"', 'id="add-report"'):
        assert control in wizard
    assert "Use the uploader" in wizard
    assert "Hard copy or historical record" in wizard
    assert ">Add record</a>" in wizard


async def test_permissions_stand_where_they_are_said_to(people, windows):
    """Row 62: Account > Permission, by that exact path, with what was said before."""
    window = await windows(await people.patient("Ada Moor"))
    account = (await window.get("/account")).text
    assert re.search(r'href="/account/permission"[^>]*>[^<]*Permission', account)
    page = await window.get("/account/permission")
    boxes = re.findall(r'name="permission" value="([^"]+)"', page.text)
    assert boxes
    assert "checked" not in page.text
    assert (await submit(window, "/account/permission", permission=boxes[:1])).status_code == 303
    after = (await window.get("/account/permission")).text
    assert after.count("checked") == 1
    await submit(window, "/account/permission", permission=[])
    history = (await window.get("/account/permission")).text
    assert "checked" not in history
    assert "2026" in history or "20" in history


async def test_a_report_whose_file_is_gone_can_still_be_deleted(client, people, windows):
    """Its Binary was deleted through FHIR; the report goes without an error."""
    ada = await people.patient("Ada Moor")
    kept = await keep(client, people, ada)
    window = await windows(ada)
    await submit(window, f"/studies/{kept.uid}/reports/add", title="Befund", text="Words.", date="")
    headers = bearer(await people.token(ada))
    found = (await client.get("/fhir/DiagnosticReport", headers=headers)).json()["entry"][0]["resource"]
    binary = found["presentedForm"][0]["url"]
    assert (await client.delete(f"/fhir/{binary}", headers=headers)).status_code in (200, 204)
    report = f"/reports/{found['id']}"
    page = await window.get(f"/studies/{kept.uid}")
    token = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert token
    assert (await window.post(f"{report}/delete", data={"csrf": token[1]})).status_code == 303
    assert report not in (await window.get(f"/studies/{kept.uid}")).text
