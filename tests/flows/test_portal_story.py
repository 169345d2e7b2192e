"""The portal's story over HTTP: coming in, sharing, taking it back. As a browser without JavaScript does it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from server.core import clock
from tests.conftest import RunningServer
from tests.factories import People, Person
from tests.second_steps import told

from .portal_steps import PASSWORD, link_in, mail_to, submit

Browser = Callable[[], httpx.AsyncClient]


@pytest.fixture
async def browser(server: RunningServer) -> AsyncIterator[Browser]:
    """Makes browsers, each with cookies of its own."""
    async with AsyncExitStack() as stack:
        made: list[httpx.AsyncClient] = []

        def new() -> httpx.AsyncClient:
            client = httpx.AsyncClient(base_url=server.url, timeout=30)
            made.append(client)
            return client

        yield new
        for client in made:
            stack.push_async_callback(client.aclose)


@pytest.fixture
def outbox(server: RunningServer) -> Path:
    return server.data / "outbox"


async def signed_in(browser: Browser, people: People, person: Person) -> httpx.AsyncClient:
    client = browser()
    await people.session(client, person)
    return client


async def test_a_patient_signs_up_and_finds_an_empty_record(browser: Browser, outbox: Path) -> None:
    """Rows 1, 39, 48, 61: a profile of one's own; permissions are separate and unticked."""
    visitor, email = browser(), "new.patient@example.org"
    page = await visitor.get("/sign-up")
    assert page.text.count('name="permission"') == 4
    assert not any("checked" in line for line in page.text.splitlines() if 'name="permission"' in line)
    fields = {"name": "Nora Patient", "birth_date": "1990-05-04", "email": email, "password": PASSWORD}
    answer = await submit(visitor, "/sign-up", **fields, permission=["education"])
    assert answer.headers["location"] == "/verify"

    early = await submit(visitor, "/sign-in", email=email, password=PASSWORD)
    assert early.headers["location"] == "/verify", "no session before the address is confirmed"

    await mail_to(outbox, email)
    again = await submit(visitor, "/verify", email=email)
    unknown = await submit(visitor, "/verify", email="nobody.at.all@example.org")
    assert again.headers["location"] == unknown.headers["location"]
    link = link_in(await mail_to(outbox, email, number=2), "/verify/")
    assert "Nora" not in await mail_to(outbox, email)
    assert (await visitor.get(link)).status_code == 200  # a scanner opens it: nothing happens
    assert (await submit(visitor, link)).headers["location"] == "/sign-in?done=verified"
    assert (await visitor.get(link)).status_code == 410

    await submit(visitor, "/sign-in", email=email, password=PASSWORD)
    home = await visitor.get("/", follow_redirects=True)
    assert home.url.path == "/imaging"
    for words in ("My imaging", "Sharing", "Add imaging", "Your images will be here"):
        assert words in home.text
    permissions = await visitor.get("/account/permission")
    assert permissions.text.count(" checked") == 1
    assert "You gave: Education" in permissions.text


async def test_an_address_in_use_is_not_given_away(browser: Browser, people: People, outbox: Path) -> None:
    known = await people.patient()
    fields = {"name": "Eve", "birth_date": "1990-05-04", "password": PASSWORD}
    one = await submit(browser(), "/sign-up", email=known.email, **fields)
    other = await submit(browser(), "/sign-up", email="nobody.yet@example.org", **fields)
    assert (one.status_code, one.headers["location"]) == (other.status_code, other.headers["location"])
    assert "has an account already" in await mail_to(outbox, known.email)


async def test_bad_input_comes_back_marked_and_kept(browser: Browser) -> None:
    """The page again, the field marked, what was typed kept (interface.md)."""
    fields = {"name": "Ada <b>", "birth_date": "2990-01-01", "email": "not an address", "password": "short"}
    page = await submit(browser(), "/sign-up", **fields)
    assert page.status_code == 422
    assert page.text.count('aria-invalid="true"') == 3
    assert 'value="Ada &lt;b&gt;"' in page.text
    assert "short" not in page.text.replace("is too short", "")


@pytest.mark.parametrize(
    "path",
    ["/imaging", "/sharing", "/activity", "/account", "/studies/1.2.3", "/my-patients", "/imaging/add"],
)
async def test_without_a_session_pages_lead_to_sign_in(browser: Browser, path: str) -> None:
    """Row 2."""
    answer = await browser().get(path)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/sign-in?next={path}"


async def test_signing_in_goes_on_to_where_one_wanted(browser: Browser, people: People) -> None:
    patient, visitor = await people.patient(), browser()
    answer = await submit(
        visitor, "/sign-in?next=/sharing", action="/sign-in", email=patient.email, password=patient.password
    )
    assert answer.headers["location"] == "/sharing"
    again = browser()
    answer = await submit(
        again, "/sign-in", email=patient.email, password=patient.password, next="//evil.example"
    )
    assert answer.headers["location"] == "/"


async def test_a_wrong_password_is_told_alike_and_written_down(browser: Browser, people: People) -> None:
    patient = await people.patient()
    wrong = await submit(browser(), "/sign-in", email=patient.email, password="not the password")
    nobody = await submit(browser(), "/sign-in", email="nobody@example.org", password="not the password")
    assert wrong.status_code == nobody.status_code == 422
    assert wrong.text.replace(patient.email, "") == nobody.text.replace("nobody@example.org", "")
    client = await signed_in(browser, people, patient)
    assert "wrong password" in (await client.get("/activity")).text


async def test_the_share_story(browser: Browser, people: People, outbox: Path) -> None:
    """Rows 3-6, 30-34, 45: invite, register by the link, accept, see, end; refused from then on."""
    patient = await people.patient("Ada Moor")
    ada, email = await signed_in(browser, people, patient), "dr.berg@example.org"
    await submit(ada, "/sharing/new", name="Dr Anna Berg", email=email, message="For Tuesday")
    sharing = await ada.get("/sharing")
    assert "Waiting for them" in sharing.text
    assert "14 days left" in sharing.text

    mail = await mail_to(outbox, email)
    assert "Ada" not in mail
    link = link_in(mail, "/invitation/")
    berg = browser()
    stranger = await berg.get(link)
    assert "Ada" not in stranger.text
    assert "For Tuesday" not in stranger.text
    registration = {"number": "77", "authority": "GMC", "specialty": "Cardiology", "organization": "City"}
    answer = await submit(
        berg,
        f"/sign-up/doctor?next={link}",
        action="/sign-up/doctor",
        name="Dr Anna Berg",
        email=email,
        password=PASSWORD,
        **registration,
    )
    assert answer.headers["location"] == link, (
        "who came by the mailed link has shown that the address is theirs"
    )
    offer = await berg.get(link)
    assert "Ada Moor" in offer.text
    assert "For Tuesday" in offer.text
    accepted = await submit(berg, link, answer="accept")
    assert accepted.headers["location"].startswith(f"/my-patients/{patient.fhir_id}")
    assert "Ada Moor" in (await berg.get("/my-patients")).text

    page = await ada.get("/sharing")
    assert "Can see now" in page.text
    person = next(
        part.split('"')[0] for part in page.text.split('href="/sharing/')[1:] if "new" not in part[:4]
    )
    details = (await ada.get(f"/sharing/{person}")).text
    for words in ("Cardiology", "77, GMC", "City", email, "not checked", "End sharing"):
        assert words in details, words
    assert "Last access</dt><dd>not yet" in details  # that they accepted is no look
    assert "has not looked yet" in page.text
    assert (await berg.get(f"/fhir/ImagingStudy?patient={patient.fhir_id}")).status_code == 200
    assert "has not looked yet" not in (await ada.get("/sharing")).text
    assert "not yet" not in (await ada.get(f"/sharing/{person}")).text
    ended = await submit(ada, f"/sharing/{person}", action=f"/sharing/{person}/end")
    assert ended.status_code == 303
    assert (await berg.get(f"/my-patients/{patient.fhir_id}")).status_code == 404
    assert "Ada Moor" not in (await berg.get("/my-patients")).text
    after = (await ada.get(f"/sharing/{person}")).text
    assert "Sharing has ended" in after
    diary = (await ada.get("/activity")).text
    assert "You invited Dr Anna Berg." in diary
    assert "You ended sharing with Dr Anna Berg." in diary


async def test_withdrawn_declined_and_expired_links_look_alike(
    browser: Browser, people: People, outbox: Path
) -> None:
    """Rows 33, 35: the link is dead at once; a stranger learns nothing of why."""
    ada = await signed_in(browser, people, await people.patient())
    links = []
    for number in range(3):
        email = f"dead{number}@example.org"
        await submit(ada, "/sharing/new", name=f"Dr Dead {number}", email=email)
        links.append(link_in(await mail_to(outbox, email), "/invitation/"))
    listed = (await ada.get("/sharing")).text
    first = listed[: listed.index("Dr Dead 0")].rpartition('href="/sharing/')[2].partition('"')[0]
    await submit(ada, f"/sharing/{first}", action=f"/sharing/{first}/withdraw")
    declined = await submit(browser(), links[1], answer="decline")
    assert declined.status_code == 200
    pages = [await browser().get(link) for link in links[:2]]
    clock.travel(timedelta(hours=336))
    pages.append(await browser().get(links[2]))
    clock.travel(timedelta())
    pages.append(await browser().get("/invitation/made-up"))
    assert {page.status_code for page in pages} == {410}
    assert len({page.text for page in pages}) == 1


async def test_an_invitation_is_for_its_address_only(browser: Browser, people: People, outbox: Path) -> None:
    ada = await signed_in(browser, people, await people.patient("Ada Moor"))
    await submit(ada, "/sharing/new", name="Dr Right", email="right@example.org")
    link = link_in(await mail_to(outbox, "right@example.org"), "/invitation/")
    wrong = await signed_in(browser, people, await people.doctor())
    page = await wrong.get(link)
    assert "Ada Moor" not in page.text
    assert "another e-mail address" in page.text
    token = (await wrong.get("/account/security")).text.partition('name="csrf" value="')[2].partition('"')[0]
    answer = await wrong.post(link, data={"answer": "accept", "csrf": token})
    assert answer.status_code == 403
    patient = await ada.get(link)
    assert "not a doctor's" in patient.text


async def test_a_doctor_finds_what_waits_without_the_mail(browser: Browser, people: People) -> None:
    ada, doctor = await signed_in(browser, people, await people.patient("Ada Moor")), await people.doctor()
    await submit(ada, "/sharing/new", name=doctor.name, email=doctor.email)
    bo = await signed_in(browser, people, doctor)
    page = await bo.get("/my-patients")
    assert "Waiting for your answer" in page.text
    action = page.text.partition('action="/my-patients/invitations/')[2].partition('"')[0]
    await submit(bo, "/my-patients", action=f"/my-patients/invitations/{action}", answer="accept")
    assert "shares with you" in (await bo.get("/my-patients")).text


async def test_forged_requests_are_refused(browser: Browser, people: People) -> None:
    """No token, another session's token, another site: nothing happens."""
    patient = await people.patient()
    client, other = await signed_in(browser, people, patient), await signed_in(browser, people, patient)
    token = (await other.get("/account/security")).text.partition('name="csrf" value="')[2].partition('"')[0]
    form = {"name": "Dr E", "email": "e@example.org", "right": ["images"]}
    for data, headers in (
        (form, {}),
        (form | {"csrf": token}, {}),
        (form | {"csrf": "ü"}, {}),
        (form, {"sec-fetch-site": "cross-site"}),
    ):
        assert (await client.post("/sharing/new", data=data, headers=headers)).status_code == 403
    crossed = await browser().post(
        "/sign-in", data={"email": "a"}, headers={"origin": "https://evil.example"}
    )
    assert crossed.status_code == 403
    assert "Nobody but you" in (await client.get("/sharing")).text


async def test_signing_out_ends_the_session(browser: Browser, people: People) -> None:
    client = await signed_in(browser, people, await people.patient())
    cookies = dict(client.cookies)
    await submit(client, "/account", action="/sign-out")
    stale = browser()
    stale.cookies.update(cookies)
    assert (await stale.get("/imaging")).status_code == 303


async def test_the_profile_is_the_fhir_patient(
    browser: Browser, people: People, server: RunningServer
) -> None:
    """Rows 39, 53."""
    patient = await people.patient("Ada Moor")
    client = await signed_in(browser, people, patient)
    fields = {"given": "Ada Mary", "family": "Moor-Berg", "birth_date": "1980-02-28", "gender": "female"}
    await submit(client, "/account/profile", **fields, address="1 High Street\nLeeds", phone="0113 1")
    found = await client.get(f"/fhir/Patient/{patient.fhir_id}")
    assert found.status_code == 200
    resource = found.json()
    assert resource["name"][0]["given"] == ["Ada", "Mary"]
    assert (resource["birthDate"], resource["gender"]) == ("1980-02-28", "female")
    assert resource["address"][0]["text"] == "1 High Street\nLeeds"
    assert "You changed the profile." in (await client.get("/activity")).text


async def test_help_is_stored_and_mailed(browser: Browser, server: RunningServer) -> None:
    """Rows 12, 37, 66: a contact form on every page."""
    visitor = browser()
    assert 'href="/help"' in (await visitor.get("/data")).text
    fields = {"subject": "rights", "name": "Zoë", "email": "zoe@example.org", "message": "Where is\nmy data?"}
    assert (await submit(visitor, "/help", **fields)).status_code == 200
    mail = await told(server.services, server.services.settings.mail_from, "Where is my data?")
    assert "zoe@example.org" in mail


async def test_an_other_session_is_signed_out_from_here(browser: Browser, people: People) -> None:
    patient = await people.patient()
    here, there = await signed_in(browser, people, patient), await signed_in(browser, people, patient)
    page = await here.get("/account/security")
    assert "this one" in page.text
    session = page.text.partition('name="session" value="')[2].partition('"')[0]
    await submit(here, "/account/security", action="/account/security/end", session=session)
    assert (await there.get("/imaging")).status_code == 303
    assert (await here.get("/imaging")).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/sign-in", "/sign-up", "/help", "/data", "/nothing", "/static/lightbox.css"]
)
async def test_every_page_carries_its_headers(browser: Browser, path: str) -> None:
    answer = await browser().get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    if not path.startswith("/static"):
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


async def test_the_portal_speaks_german(browser: Browser, people: People) -> None:
    """A full second language, chosen by the browser."""
    client = browser()
    client.headers["accept-language"] = "de-DE,de;q=0.9,en;q=0.8"
    front = await client.get("/")
    assert '<html lang="de">' in front.text
    assert "Jede Aufnahme, die Sie je hatten" in front.text
    patient = await people.patient()
    wrong = await submit(client, "/sign-in", email=patient.email, password="falsch")
    assert "E-Mail-Adresse oder Passwort stimmen nicht." in wrong.text
    await submit(client, "/sign-in", email=patient.email, password=patient.password)
    home = await client.get("/imaging")
    for words in ("Meine Bilder", "0 Studien", "Bilder hinzufügen", "Freigaben"):
        assert words in home.text
    assert "Sie: angemeldet." in (await client.get("/activity")).text
    assert "Ordner, Dateien, ein .zip oder" in (await client.get("/imaging/add")).text


async def test_the_care_team_shares_under_the_patients_share(
    browser: Browser, people: People, outbox: Path
) -> None:
    """Rows 41, 42, 46: only if the share allows it; the patient sees the chain; ending the parent ends the child."""
    patient, doctor, colleague = (
        await people.patient("Ada Moor"),
        await people.doctor(),
        await people.doctor("Cy Team"),
    )
    other = await people.doctor("Not Allowed")
    rights = ("images", "reports", "pass-on")
    share, _ = await people.share(patient, doctor, rights=rights), await people.share(patient, other)
    ada, bo = await signed_in(browser, people, patient), await signed_in(browser, people, doctor)
    page = f"/my-patients/{patient.fhir_id}/pass-on"
    assert "Pass on to a colleague" in (await bo.get(f"/my-patients/{patient.fhir_id}")).text
    assert (await (await signed_in(browser, people, other)).get(page)).status_code == 404
    form = (await bo.get(page)).text
    assert 'value="images"' in form
    assert 'value="download"' not in form
    assert 'value="pass-on"' not in form
    await submit(bo, page, name="Dr Cy Team", email=colleague.email)
    cy = await signed_in(browser, people, colleague)
    await submit(cy, link_in(await mail_to(outbox, colleague.email), "/invitation/"), answer="accept")
    assert "Ada Moor" in (await cy.get("/my-patients")).text
    listed = (await ada.get("/sharing")).text
    assert "Dr Cy Team" in listed
    child = listed[: listed.index("Dr Cy Team</a>")].rpartition('href="/sharing/')[2].partition('"')[0]
    assert f'href="/sharing/{share}"' in (await ada.get(f"/sharing/{child}")).text
    await submit(ada, f"/sharing/{share}", action=f"/sharing/{share}/end")
    assert "Ada Moor" not in (await cy.get("/my-patients")).text
