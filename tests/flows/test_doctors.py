"""A doctor's own things: a record of their own with one account, their registration, the page patients come by."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from server.storage.sql import Statement
from tests.conformance.smart.driver import Browser, register
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.flows.portal_steps import PASSWORD, forms_of, link_in, mail_to, submit
from tests.flows.portal_studies import keep
from tests.sharing_steps import invite

PRACTITIONER = Statement(
    "practitioner", "SELECT id, verification FROM practitioner WHERE account_id = :account"
)
STATES = Statement("states", "SELECT state FROM share WHERE patient_id = :patient")


@pytest.fixture
async def doctor(people: People) -> Person:
    return await people.doctor("Dora Doppel")


@pytest.fixture
async def browser(server: RunningServer, people: People, doctor: Person) -> AsyncIterator[httpx.AsyncClient]:
    """The doctor's browser."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as made:
        await people.session(made, doctor)
        yield made


async def press(browser: httpx.AsyncClient, page: str, **fields: str) -> httpx.Response:
    """Press the button of a form on this page that carries these fields."""
    form = next(
        each
        for each in forms_of(await browser.get(page))
        if all(each["fields"].get(name) == [value] for name, value in fields.items())
    )
    return await browser.post(form["action"], data=form["fields"])


async def own_record(browser: httpx.AsyncClient) -> str:
    """Open a record of one's own; its id."""
    made = await submit(browser, "/account/record", birth_date="1970-05-17", permission=["education"])
    assert made.headers["location"] == "/imaging?done=own-record", made.text
    found = re.search(r"/patients/([^/]+)/dicomweb", (await browser.get("/imaging/add")).text)
    assert found
    return found[1]


async def uids(browser: httpx.AsyncClient, root: str = "/dicomweb") -> list[str]:
    answer = await browser.get(f"{root}/studies")
    assert answer.status_code == 200, answer.text
    return [each["0020000D"]["Value"][0] for each in answer.json()]


async def subjects(client: httpx.AsyncClient, token: str) -> list[str]:
    answer = await client.get("/fhir/ImagingStudy?_elements=subject", headers=bearer(token))
    return [each["resource"]["subject"]["reference"] for each in answer.json().get("entry", [])]


async def test_a_doctor_who_is_a_patient_has_one_account_with_two_sides(
    server: RunningServer,
    people: People,
    client: httpx.AsyncClient,
    browser: httpx.AsyncClient,
    doctor: Person,
) -> None:
    """Issue 6, the edge stories: "a doctor who is also a patient". Rows 1, 2 and 48 hold for them too."""
    patient = await people.patient("Paul Kranich")
    theirs = await keep(client, people, patient)
    await people.share(patient, doctor)
    assert (await browser.get("/imaging")).status_code == 404, "without a record as what does not exist"
    own = await own_record(browser)
    assert (await browser.get("/account/record")).status_code == 404, "one is enough"

    # The own side: the record as any patient's; of the patients nothing.
    csrf = (await browser.get("/upload/token")).json()["csrf"]
    root = f"/patients/{own}/dicomweb"
    mine = await keep(
        browser, people, doctor, root=root, headers={"x-csrf-token": csrf}, PatientBirthDate="19700517"
    )
    assert await uids(browser) == [mine.uid]
    assert (await browser.get(f"/studies/{mine.uid}")).status_code == 200
    assert (await browser.get(f"/studies/{theirs.uid}")).status_code == 404
    given = await browser.get("/account/permission")
    assert 'value="education" checked' in given.text
    crossing = await browser.get(f"/my-patients/{patient.fhir_id}")
    assert crossing.status_code == 200
    assert "Kranich" not in crossing.text
    before = browser.cookies["lightbox_session"]
    page = f"/my-patients/{patient.fhir_id}"
    arrived = await press(browser, page, hat="doctor", next=page)
    assert arrived.headers["location"] == page

    # The doctor's side: what is shared, and nothing of the own record.
    assert browser.cookies["lightbox_session"] != before, "no process takes the one hat for the other"
    assert await uids(browser) == [theirs.uid]
    assert (await browser.get(f"/studies/{mine.uid}")).status_code == 404
    assert (await browser.get(f"/fhir/Patient/{own}")).status_code == 404
    home = (await browser.get("/my-patients")).text.partition("<main")[2]
    assert "Kranich" in home
    assert "Doppel" not in home
    assert "Go on with my own record" in (await browser.get("/sharing")).text
    # An address that names the record decides by itself: an upload goes on though the sides were changed.
    assert await uids(browser, root) == [mine.uid]
    assert await uids(browser, f"/patients/{patient.fhir_id}/dicomweb") == [theirs.uid]
    # What is asked for the account is asked for all of it: deleting it names the own record.
    assert own in (await browser.get("/account/data")).text

    # What they did in their own record is their own doing, and no look of another.
    await press(browser, "/my-patients", hat="patient")
    diary = (await browser.get("/activity")).text
    assert "You looked at a study" in diary
    assert "Dora Doppel looked" not in diary
    copy = await submit(browser, "/account/data", "/account/data/copy", profile=own)
    assert copy.headers["location"] == "/account/data?done=copy"
    needless = await submit(browser, "/sharing/new", name="Me", email=doctor.email, right=["images"])
    assert needless.status_code == 422, "sharing with oneself"

    # Apps: whoever works with patients does not get the own record by it; one for the own record gets that alone.
    assert await subjects(client, await people.token(doctor, "user/*.rs")) == [f"Patient/{patient.fhir_id}"]
    token = await people.token(doctor, "patient/*.rs user/*.rs", patient=own)
    assert await subjects(client, token) == [f"Patient/{own}"]
    refused = await client.get(f"/fhir/Patient/{patient.fhir_id}", headers=bearer(token))
    assert refused.status_code == 404


async def test_an_app_is_given_the_own_record_or_a_patients(
    server: RunningServer,
    people: People,
    client: httpx.AsyncClient,
    browser: httpx.AsyncClient,
    doctor: Person,
) -> None:
    """SMART App Launch 2.2, launch/patient: both are offered, whatever side is shown; fhirUser is the Practitioner."""
    patient = await people.patient("Pia Kranich")
    await people.share(patient, doctor)
    own = await own_record(browser)
    app = (await register(server)).with_scope("launch/patient openid fhirUser offline_access patient/*.rs")
    for wanted, other in ((own, patient.fhir_id), (patient.fhir_id, own)):
        answer = await Browser(browser).connect(app, patient=wanted)
        again = await client.post("/oauth/token", data=app.refresh(answer["refresh_token"]))
        for token in (answer["access_token"], again.json()["access_token"]):
            assert (await client.get(f"/fhir/Patient/{wanted}", headers=bearer(token))).status_code == 200
            assert (await client.get(f"/fhir/Patient/{other}", headers=bearer(token))).status_code == 404
        user = (await client.get("/oauth/userinfo", headers=bearer(token))).json()["fhirUser"]
        assert user.endswith(f"/Practitioner/{doctor.fhir_id}")


async def test_a_patient_registers_as_a_doctor_and_a_change_is_checked_again(
    server: RunningServer, people: People, client: httpx.AsyncClient
) -> None:
    """Row 45: the verification state is shown, and holds for what was checked and nothing else."""
    both, operator = await people.patient("Nora Beides"), await people.operator()
    patient = await people.patient("Karl Kranich")
    said = {"number": "99", "authority": "GMC", "specialty": "Surgery", "organization": "St Mary"}
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
        await people.session(browser, both)
        assert (await submit(browser, "/account/registration", **said | {"number": ""})).status_code == 422
        done = await submit(browser, "/account/registration", **said)
        assert done.headers["location"] == "/my-patients?done=registered"
        row = await server.services.db.fetch_one(PRACTITIONER, {"account": both.account_id})
        assert row is not None
        assert row["verification"] == "unverified"
        doctor = Person(both.account_id, both.email, both.name, "doctor", row["id"])
        await people.share(patient, doctor)
        assert "Kranich" in (await browser.get("/my-patients")).text
        await press(browser, "/my-patients", hat="patient")
        assert (await browser.get("/account/profile")).status_code == 200
        assert (await browser.get("/account/registration")).status_code == 404, "on the other side"
        await press(browser, "/imaging", hat="doctor")

        async with httpx.AsyncClient(base_url=server.url, timeout=30) as staff:
            await people.session(staff, operator)
            judge = f"/operator/doctors/{doctor.fhir_id}"
            await submit(staff, judge, reason="Looked up.", state="verified")
            assert "Registration checked" in (await browser.get("/account/registration")).text
            same = await submit(browser, "/account/registration")
            assert same.headers["location"] == "/account?done=saved"
            assert "Registration checked" in (await browser.get("/account/registration")).text
            changed = await submit(browser, "/account/registration", number="100")
            assert changed.headers["location"] == "/account?done=registration"
            page = (await staff.get(judge)).text
            assert "not checked yet" in page
            assert "99, GMC" in page
            assert "100, GMC" in page
            # Suspended stays suspended, whatever they write.
            await submit(staff, judge, reason="Struck off.", state="suspended")
            await submit(browser, "/account/registration", number="99")
            assert "does not lift that" in (await browser.get("/account/registration")).text
        resource = await client.get(
            f"/fhir/Practitioner/{doctor.fhir_id}", headers=bearer(await people.token(patient, "user/*.rs"))
        )
        assert [each["value"] for each in resource.json()["identifier"]] == ["99"]


async def test_the_doctors_list_is_searched_and_sorted_and_studies_are_compared(
    people: People, client: httpx.AsyncClient, browser: httpx.AsyncClient, doctor: Person
) -> None:
    """Issue 6, the doctor: search and sort among the patients who share, new since the last visit, comparison."""
    zoe, adam = (
        await people.patient("Zoë Ziegler", "1950-01-02"),
        await people.patient("Adam Adler", "1990-03-04"),
    )
    kept = [await keep(client, people, zoe, PatientBirthDate="19500102") for _ in range(2)]
    for patient in (adam, zoe):
        await people.share(patient, doctor)
    await browser.get(f"/my-patients/{zoe.fhir_id}")

    async def order(sort: str, **text: str) -> list[str]:
        page = await browser.get(f"/my-patients?sort={sort}")
        if text:
            page = await submit(browser, f"/my-patients?sort={sort}", **text)
        assert page.status_code == 200
        return re.findall(r"<a class=\"title\" href=\"/my-patients/[^\"]+\">(\w)", page.text)

    assert await order("name") == ["A", "Z"]
    assert await order("since") == ["Z", "A"]
    assert await order("born") == ["Z", "A"]
    assert await order("studies") == ["Z", "A"]
    late = await keep(client, people, adam, PatientBirthDate="19900304")
    assert await order("new") == ["A", "Z"], "one study more since the last visit"
    assert await order("name", text="zoe") == ["Z"]
    assert await order("name", text="1990") == ["A"]
    assert await order("name", text="nobody") == []
    page = f"/my-patients/{zoe.fhir_id}"
    ticks = re.findall(r'name="study" value="([^"]+)"', (await browser.get(page)).text)
    assert sorted(ticks) == sorted(each.uid for each in kept)
    beside = await browser.get(f"{page}/compare", params={"study": ticks})
    assert beside.headers["location"].startswith(f"/viewer/viewer?StudyInstanceUIDs={ticks[0]}%2C{ticks[1]}&")
    for few in (ticks[:1], [], ["x&y", "//z"]):
        back = await browser.get(f"{page}/compare", params={"study": few})
        assert back.headers["location"] == f"{page}?done=tick-two"
    assert late.uid in (await browser.get(f"/my-patients/{adam.fhir_id}")).text
    assert 'name="study"' not in (await browser.get(f"/my-patients/{adam.fhir_id}")).text, "one alone"


async def test_patients_come_by_a_doctors_page_and_a_reset_makes_it_dead(
    server: RunningServer,
    people: People,
    client: httpx.AsyncClient,
    browser: httpx.AsyncClient,
    doctor: Person,
) -> None:
    """Product "Beyond the seed" 6: a doctor's own upload page and QR code, resettable. Rows 4-6, 45 and 47."""
    await submit(browser, "/my-patients/page", act="make")
    page = (await browser.get("/my-patients/page")).text
    found = re.search(r"<code>https?://[^/]+(/give/[0-9A-Z-]{14})</code>", page)
    assert found
    give = found[1]
    picture = await browser.get("/my-patients/page/qr.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert b"<svg" in picture.content

    # A stranger reads whose page it is, and nothing happens by opening it.
    stranger = await client.get(give)
    assert stranger.status_code == 200
    assert "Dora Doppel" in stranger.text
    assert "1234567" not in stranger.text
    assert f"/sign-up?next={give}" in stranger.text
    assert (await client.post(give, data={"right": "images"})).status_code == 303, "to the sign-in"
    assert (await client.get(give.lower())).status_code == 200, "typed from a card"

    # Who signs up comes back to it, once the address is confirmed, with nothing given on the way.
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as newcomer:
        who = {
            "name": "Nele Neu",
            "birth_date": "1990-01-02",
            "email": "nele@example.org",
            "password": PASSWORD,
        }
        await submit(newcomer, f"/sign-up?next={give}", "/sign-up", **who)
        mail = await mail_to(server.data / "outbox", "nele@example.org")
        await submit(newcomer, link_in(mail, "/verify/"))
        form = {"email": who["email"], "password": PASSWORD}
        back = await submit(newcomer, "/sign-in", **form)
        assert back.headers["location"] == give
        assert "There is no study to choose from yet" in (await newcomer.get(give)).text

    patient, other = await people.patient("Greta Geber"), await people.patient("Olaf Ander")
    study = await keep(client, people, patient)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as giver:
        await people.session(giver, patient)
        nothing = await submit(giver, give, right=[])
        assert nothing.status_code == 422
        assert await uids(browser) == [], "looking gave nothing"
        assert (await giver.post(give, data={"right": "images"})).status_code == 403, (
            "no token of the session"
        )
        given = await submit(giver, give, right=["images", "reports"], which="chosen", study=[study.uid])
        assert given.headers["location"] == f"{give}?done=given"
        assert "Add imaging" in (await giver.get(give)).text
        assert (
            await giver.post(give, data={"csrf": csrf_of(await giver.get("/sharing"))})
        ).status_code == 422

        # It is a share like any other: on every surface, in the log, and ended by its patient.
        assert await uids(browser) == [study.uid]
        later = await keep(client, people, patient)
        assert await uids(browser) == [study.uid], "some of the studies were chosen"
        assert (await browser.get(f"/dicomweb/studies/{later.uid}/metadata")).status_code == 404
        token = bearer(await people.token(patient))
        [consent] = [
            each["resource"]
            for each in (await client.get("/fhir/Consent?status=active", headers=token)).json()["entry"]
        ]
        [recipient] = consent["provision"]["actor"]
        assert recipient["reference"]["reference"] == f"Practitioner/{doctor.fhir_id}"
        assert "You gave Dora Doppel access." in (await giver.get("/activity")).text
        listed = (await browser.get("/my-patients/page")).text
        assert "Greta Geber" in listed
        assert "Olaf Ander" not in listed

        # A reset: the old address is dead at once, what was given stays.
        await press(browser, "/my-patients/page", act="reset")
        assert (await client.get(give)).status_code == 410
        fresh = re.search(
            r"<code>https?://[^/]+(/give/[^<]+)</code>", (await browser.get("/my-patients/page")).text
        )
        assert fresh
        assert fresh[1] != give
        assert await uids(browser) == [study.uid]
        dead = await giver.post(give, data={"csrf": csrf_of(await giver.get("/sharing")), "right": "images"})
        assert dead.status_code == 410
        await giver.post(f"/sharing/{consent['id']}/end", data={"csrf": csrf_of(await giver.get("/sharing"))})
        assert await uids(browser) == []
        listed = (await browser.get("/my-patients/page")).text
        assert "Greta Geber" not in listed
        assert "shares no more" in listed

    # Others: the doctor's own page, a doctor who is no patient, a request that waits, a suspension, closing.
    assert "This is your own page" in (await browser.get(fresh[1])).text
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as colleague:
        await people.session(colleague, await people.doctor())
        assert "not signed in as a patient" in (await colleague.get(fresh[1])).text
        token = csrf_of(await colleague.get("/my-patients"))
        refused = await colleague.post(fresh[1], data={"csrf": token, "right": "images"})
        assert refused.status_code == 403
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as asked:
        await people.session(asked, other)
        await invite(server.services, other, doctor.email)
        await submit(asked, fresh[1], right=["images"])
        states = await server.services.db.fetch_all(STATES, {"patient": other.fhir_id})
        assert [row["state"] for row in states] == ["active"], "the invitation that waited is answered by it"
    await press(browser, "/my-patients/page", act="close")
    assert (await client.get(fresh[1])).status_code == 410


def csrf_of(page: httpx.Response) -> str:
    return str(forms_of(page)[0]["fields"]["csrf"][0])
