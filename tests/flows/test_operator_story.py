"""Operators: requests with their clocks, doctors, four eyes, disclosures, emergencies, incidents; by duty."""

from __future__ import annotations

import re
from datetime import timedelta

import httpx
import pytest

from server.accounts import people as accounts
from server.core import clock
from server.rights import export, watch
from tests.conformance.dicomweb.samples import instance, store
from tests.factories import People, Person, bearer
from tests.second_steps import field_of, told
from tests.sharing_steps import actor_of


@pytest.fixture
async def ops(server, people):
    """A browser with an operator of all duties."""
    olga = await people.operator()
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        await people.session(client, olga)
        yield client


async def post(client: httpx.AsyncClient, path: str, page: str = "/operator", **form: str) -> httpx.Response:
    token = field_of(await client.get(page), "csrf")
    return await client.post(path, data={"csrf": token, **form})


async def operator_of(server, people: People, client: httpx.AsyncClient, *duties: str) -> Person:
    person = await people.operator()
    await accounts.set_duties(server.services.db, person.account_id, list(duties))
    await people.session(client, person)
    return person


async def test_each_duty_opens_its_pages_only(server, people, client):
    """Row 51: roles by need; the other pages do not exist, and nothing of a record opens."""
    pages = {
        "/operator/requests": {"support", "privacy"},
        "/operator/doctors": {"verifier"},
        "/operator/incidents": {"security", "privacy"},
        "/operator/records": {"privacy", "security"},
        "/operator/proposals": {"privacy"},
        "/operator/disclosures": {"privacy"},
        "/operator/research": {"privacy"},
        "/operator/jobs": {"support", "security"},
    }
    for duty in accounts.DUTIES:
        client.cookies.clear()
        await operator_of(server, people, client, duty)
        for path, duties in pages.items():
            expected = 200 if duty in duties else 404
            assert (await client.get(path)).status_code == expected, (duty, path)
    client.cookies.clear()
    await operator_of(server, people, client)
    assert (await client.get("/operator")).status_code == 200
    for path in (*pages, "/imaging", "/my-patients", "/activity"):
        assert (await client.get(path)).status_code == 404, path
    for who in (await people.patient(), await people.doctor()):
        client.cookies.clear()
        await people.session(client, who)
        for path in ("/operator", *pages):
            assert (await client.get(path)).status_code == 404, path


async def test_a_rights_request_goes_through_the_queue(server, people, client, ops):
    """Rows 37, 38, 63: contact form, type, due date within a month, identity check, closure; opened is logged."""
    pat = await people.patient("Rita Rightful")
    await people.session(client, pat)
    sent = await post(client, "/help", "/account", subject="rights", message="Please send me a copy of all.")
    assert sent.status_code == 200
    queue = (await ops.get("/operator/requests")).text
    assert "Rita" not in queue
    link = re.findall(r"/operator/requests/[0-9a-f-]{36}", queue)[-1]
    page = await ops.get(link)
    assert "Rita Rightful" in page.text
    assert "copy of all" in page.text
    assert "29 days left" in page.text or "30 days left" in page.text
    for form in (
        {"act": "classify", "choice": "access", "text": ""},
        {"act": "identify", "choice": "", "text": "wrote while signed in"},
        {"act": "extend", "choice": "", "text": "many hospitals"},
        {"act": "note", "choice": "", "text": "copy prepared"},
    ):
        assert (await post(ops, link, link, **form)).status_code == 303, form
    assert (await post(ops, link, link, act="extend", choice="", text="again")).status_code == 422
    assert "89 days left" in (await ops.get(link)).text
    found = await post(ops, f"{link}/record", link)
    assert found.headers["location"] == f"/operator/records?record={pat.fhir_id}"
    closed = await post(ops, link, link, act="close", choice="done", text="sent by post")
    assert closed.status_code == 303
    assert link not in (await ops.get("/operator/requests")).text
    assert link in (await ops.get("/operator/requests?state=closed")).text
    assert (await post(ops, link, "/operator", act="note", choice="", text="late")).status_code in (303, 422)
    bad = await post(ops, link, "/operator", act="drop table", choice="", text="x")
    assert bad.status_code == 422
    async with httpx.AsyncClient(base_url=server.url) as support:
        await operator_of(server, people, support, "support")
        assert (await support.get(link)).status_code == 404  # not their subject


async def test_a_doctor_is_verified_suspended_and_shut_out_at_once(server, people, client, ops):
    """Row 45: registered professionals; the state is shown to the patient; a suspension bites on the next request."""
    pat, doc = await people.patient(), await people.doctor("Dr Sus Pended")
    await people.share(pat, doc)
    token = await people.token(doc, "user/*.rs")
    sample = instance()
    async with httpx.AsyncClient(
        base_url=server.url, headers=bearer(await people.token(pat)), timeout=60
    ) as web:
        assert (await store(web, sample)).status_code == 200
    seen = await client.get("/dicomweb/studies", headers=bearer(token))
    assert sample.study in seen.text
    link = f"/operator/doctors/{doc.fhir_id}"
    assert "1234567" in (await ops.get(link)).text
    assert (await post(ops, link, link, state="suspended", reason=" ")).status_code == 422
    done = await post(ops, link, link, state="suspended", reason="struck off the register")
    assert done.status_code == 303
    gone = await client.get("/dicomweb/studies", headers=bearer(token))
    assert sample.study not in gone.text
    assert (await client.get(f"/fhir/Patient/{pat.fhir_id}", headers=bearer(token))).status_code == 404
    await people.session(client, pat)
    sharing = await client.get("/sharing")
    share = re.findall(r"/sharing/[0-9a-f-]{36}", sharing.text)[0]
    assert "Suspended" in (await client.get(share)).text
    await told(server.services, doc.email, "is suspended")
    assert "Sus Pended" not in await told(server.services, pat.email, "is suspended")
    await post(ops, link, link, state="verified", reason="was a mistake of names")
    assert sample.study in (await client.get("/dicomweb/studies", headers=bearer(token))).text
    assert "struck off" in (await ops.get(link)).text
    again = await post(ops, link, link, state="verified", reason="twice")
    assert again.status_code == 422


async def test_a_hold_takes_four_eyes(server, people, client, ops):
    """One operator proposes, another one does it; nobody does their own, and the person is told."""
    pat = await people.patient()
    record = f"/operator/records?record={pat.fhir_id}"
    form = {"authority": "District Court", "scope": "everything", "reason": "case 7"}
    late = await post(ops, f"/operator/records/{pat.fhir_id}/hold", record, **form, review_at="2020-01-01")
    assert late.status_code == 422
    day = (clock.now() + timedelta(days=90)).date().isoformat()
    made = await post(ops, f"/operator/records/{pat.fhir_id}/hold", record, **form, review_at=day)
    assert made.headers["location"].startswith("/operator/proposals")
    page = await ops.get("/operator/proposals")
    link = re.findall(r"/operator/proposals/[0-9a-f-]{36}", page.text)[-1]
    own = await post(ops, link, do="yes")
    assert own.status_code == 409
    assert "District Court" not in (await ops.get(record)).text
    await operator_of(server, people, client, "privacy")
    assert (await post(client, link, do="yes")).status_code == 303
    assert (await post(client, link, do="yes")).status_code == 409
    assert "District Court" in (await ops.get(record)).text
    await told(server.services, pat.email, "legal hold")
    hold = re.findall(r"/operator/holds/[0-9a-f-]{36}/release", (await ops.get(record)).text)[0]
    await post(client, hold, reason="case closed")
    page = await ops.get("/operator/proposals")
    release = re.findall(r"/operator/proposals/[0-9a-f-]{36}", page.text)[-1]
    assert (await post(client, release, do="yes")).status_code == 409
    assert (await post(ops, release, do="yes")).status_code == 303
    assert "District Court" not in (await ops.get(record)).text


async def test_a_copy_by_letter_takes_four_eyes_and_is_its_persons(server, people, client, ops):
    """Rows 52, 63: asked for through contact, agreed by a second operator, found in the person's own account only."""
    pat = await people.patient()
    record = f"/operator/records?record={pat.fhir_id}"
    made = await post(ops, f"/operator/records/{pat.fhir_id}/copy", record, copy_reason="letter of 3 May")
    assert made.headers["location"].startswith("/operator/proposals")
    page = await ops.get("/operator/proposals")
    link = re.findall(r"/operator/proposals/[0-9a-f-]{36}", page.text)[-1]
    assert (await post(ops, link, do="yes")).status_code == 409
    await operator_of(server, people, client, "privacy")
    assert (await post(client, link, do="yes")).status_code == 303
    own = await export.listed(server.services, actor=actor_of(pat))
    assert [each.patient_id for each in own] == [pat.fhir_id]
    copy = f"/account/data/copies/{own[0].id}"
    assert (await ops.get(copy)).status_code == 404
    assert (await client.get(copy)).status_code == 404


async def test_a_disclosure_is_written_down_and_told(server, people, ops):
    """Row 49: recipient, what, why; the patient is told at once, or after the date an authority set."""
    pat = await people.patient()
    form = {
        "record": pat.fhir_id,
        "disclosed_at": clock.now().date().isoformat(),
        "recipient": "Public Prosecutor",
        "description": "list of studies",
        "purpose": "court order",
        "legal_basis": "code of procedure",
    }
    alone = await post(ops, "/operator/disclosures", suspended_until="2031-01-01", **form)
    assert alone.status_code == 422
    assert (await post(ops, "/operator/disclosures", **form)).status_code == 303
    assert "Public Prosecutor" in (await ops.get("/operator/disclosures")).text
    await told(server.services, pat.email, "")
    wrong = await post(ops, "/operator/disclosures", **(form | {"record": "nobody"}))
    assert wrong.status_code == 422
    assert 'value="Public Prosecutor"' in wrong.text


async def test_emergency_access_is_short_reasoned_and_told(server, people, client, ops):
    """Row 51: no health data by default; with a reason two hours of reading one record, before the person's eyes."""
    pat, other = await people.patient("Em Ergency"), await people.patient()
    samples = []
    for each in (pat, other):
        sample = instance(PatientName="Ergency^Em" if each is pat else "Moor^Ada")
        samples.append(sample)
        async with httpx.AsyncClient(
            base_url=server.url, headers=bearer(await people.token(each)), timeout=60
        ) as web:
            assert (await store(web, sample)).status_code == 200
    root = f"/patients/{pat.fhir_id}/dicomweb/studies"
    record = f"/operator/records?record={pat.fhir_id}"
    page = await ops.get(record)
    assert page.status_code == 200
    assert "Ergency" not in page.text
    assert samples[0].study not in (await ops.get(root)).text
    begin = f"/operator/records/{pat.fhir_id}/emergency"
    assert (await post(ops, begin, record, emergency_reason="help")).status_code == 422
    why = "The emergency department cannot reach the patient."
    assert (await post(ops, begin, record, emergency_reason=why)).status_code == 303
    assert samples[0].study in (await ops.get(root)).text
    both = (await ops.get("/dicomweb/studies")).text
    assert samples[0].study in both
    assert samples[1].study not in both
    token = field_of(await ops.get(record), "csrf")
    denied = await ops.delete(f"{root}/{samples[0].study}", headers={"x-csrf-token": token})
    assert denied.status_code == 404
    await told(server.services, pat.email, "has opened your record")
    await people.session(client, pat)
    assert "emergency" in (await client.get("/activity")).text
    found = re.findall(r"/operator/emergency/[0-9a-f-]{36}/end", (await ops.get(record)).text)[0]
    await post(ops, found)
    assert samples[0].study not in (await ops.get(root)).text
    await post(ops, begin, record, emergency_reason=why)
    clock.travel(timedelta(minutes=20))
    assert (await ops.get("/operator")).status_code == 200
    assert samples[0].study in (await ops.get(root)).text
    for _ in range(6):
        clock.travel(clock._offset + timedelta(minutes=19))
        assert (await ops.get("/operator")).status_code == 200
    assert samples[0].study not in (await ops.get(root)).text


async def test_grave_acts_ask_again_and_keep_what_was_typed(people, ops):
    """Step-up: a quarter of an hour after signing in the password is asked for, and the form goes on."""
    pat = await people.patient()
    clock.travel(timedelta(minutes=16))
    record = f"/operator/records?record={pat.fhir_id}"
    asked = await post(
        ops, f"/operator/records/{pat.fhir_id}/restrict", record, reason="court & cause", do="restrict"
    )
    assert asked.status_code == 403
    assert 'value="court &amp; cause"' in asked.text
    assert "In use" in (await ops.get(record)).text
    form = {"csrf": field_of(asked, "csrf"), "reason": "court & cause", "do": "restrict"}
    path = f"/operator/records/{pat.fhir_id}/restrict"
    wrong = await ops.post(path, data=form | {"confirm_password": "wrong"})
    assert wrong.status_code == 403
    done = await ops.post(path, data=form | {"confirm_password": pat.password})
    assert done.status_code == 303
    assert "Restricted" in (await ops.get(record)).text


async def test_a_breach_has_its_clocks(server, people, ops):
    """Row 50: reported, declared, 72 hours and 60 days, people mailed, closed; no name on the page."""
    pat = await people.patient("Una Named")
    made = await post(
        ops, "/operator/incidents", words="A laptop was stolen.", patients=f"{pat.fhir_id}, nobody"
    )
    link = made.headers["location"].partition("?")[0]
    page = await ops.get(link)
    assert pat.fhir_id in page.text
    assert "Una" not in page.text
    assert (await post(ops, link, link, act="told-authority", words="too early")).status_code == 422
    assert (await post(ops, link, link, act="breach", words="unencrypted disk")).status_code == 303
    page = await ops.get(link)
    assert (clock.now() + timedelta(hours=72)).isoformat()[:13] in page.text
    assert (clock.now() + timedelta(days=60)).isoformat()[:10] in page.text
    assert (await post(ops, link, link, act="told-authority", words="by their form")).status_code == 303
    assert (await post(ops, link, link, act="tell-people", words="mailed")).status_code == 303
    await told(server.services, pat.email, "concerns the safety of your data")
    assert (await post(ops, link, link, act="close", words="disk destroyed")).status_code == 303
    assert (await post(ops, link, "/operator", act="note", words="after")).status_code in (303, 422)
    await watch.run(server.services)


async def test_strange_ids_are_nothing(ops):
    """Bad input never gives a 500."""
    for path in (
        "/operator/requests/x",
        "/operator/requests/00000000-0000-0000-0000-000000000000",
        "/operator/doctors/x",
        "/operator/incidents/%00",
        "/operator/incidents/00000000-0000-0000-0000-000000000000",
    ):
        assert (await ops.get(path)).status_code == 404, path
    assert (await ops.get("/operator/records?record=';--")).status_code == 422
    for path in (
        "/operator/proposals/x",
        "/operator/jobs/x",
        "/operator/jobs/00000000-0000-0000-0000-000000000000",
        "/operator/emergency/x/end",
        "/operator/holds/x/release",
        "/operator/holds/00000000-0000-0000-0000-000000000000/release",
    ):
        assert (await post(ops, path, reason="because", do="yes")).status_code == 404, path
