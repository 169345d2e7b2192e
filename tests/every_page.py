"""Every page there is, with something on it: a scene of people and records, and the way to each page of it.

One list for the test that looks with axe-core (tests/flows/test_pages.py) and for `scripts/screenshots`. A page that
the registry of routes has and the list has not is found by the test.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from playwright.async_api import BrowserContext
from starlette.routing import BaseRoute, Route

from server.access.services import Services
from server.accounts import people as accounts
from server.oauth.routes import routes as oauth_routes
from server.portal.routes import routes as portal_routes
from tests import mails
from tests.conformance.smart.driver import register
from tests.conftest import RunningServer
from tests.factories import People, Person
from tests.flows.portal_steps import forms_of, mail_to, submit
from tests.flows.portal_studies import keep

# Addresses that answer with something else than a page, and those that another test looks at on its way.
NO_PAGES = (
    *("/upload/token", "/studies/{uid}/frames", "/studies/{uid}/other/{sop}", "/studies/{uid}/hashes"),
    *("/reports/{report}/files/{number:int}", "/records/{record}/files/{number:int}", "/activity.csv"),
    *("/sharing/links/{link}/qr.svg", "/my-patients/page/qr.svg", "/my-patients/{patient}/upload/token"),
    "/my-patients/{patient}/compare",
    *("/link/{guest}/studies/{uid}/frames", "/link/{guest}/reports/{report}/files/{number:int}"),
    *("/account/data/copies/{copy}", "/erased/{erasure}/proof.json"),
    *("/oauth/userinfo", "/oauth/register/{client_id}", "/oauth/jwks", "/oauth/smart-style.json"),
    *("/oauth/style.css", "/operator/research/{project}/deliveries/{delivery}"),
    *("/sign-in/second", "/sign-in/set-up", "/confirm"),  # tests/flows/test_sign_in_browser.py
)
SCOPE = (
    "launch/patient openid fhirUser offline_access patient/Patient.rs patient/ImagingStudy.rs?modality=CT"
    " patient/*.cruds patient/Consent.cu user/ImagingStudy.rs"
)


@dataclass(frozen=True)
class Place:
    """One page: what a picture of it is called, who looks, where it is, and the route behind it."""

    name: str
    who: str  # visitor | patient | doctor | operator | guest
    path: str
    route: str = ""


@dataclass
class Scene:
    """People with sessions, and the pages they can open."""

    server: RunningServer
    browsers: dict[str, httpx.AsyncClient] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)

    @property
    def services(self) -> Services:
        return self.server.services

    def add(self, who: str, **paths: str) -> None:
        """Pages by their names; two underscores stand for a dash."""
        self.places += [Place(name.replace("_", "-"), who, path) for name, path in paths.items()]

    async def dress(self, window: BrowserContext, who: str) -> None:
        """Give a window the cookies of this person."""
        cookies = self.browsers[who].cookies.jar if who in self.browsers else ()
        await window.add_cookies(
            [
                {"name": each.name, "value": each.value or "", "domain": "127.0.0.1", "path": each.path}
                for each in cookies
            ]
        )


def pages_of_registry() -> set[str]:
    """Every route that answers a GET."""
    found = {each.path for each in portal_routes if _is_get(each) and isinstance(each, Route)}
    return found | {
        f"/oauth{each.path}" for each in oauth_routes if _is_get(each) and isinstance(each, Route)
    }


def route_of(path: str) -> str:
    """The route that an address leads to."""
    plain = path.partition("?")[0]
    for prefix, routes in (("/oauth", oauth_routes), ("", portal_routes)):
        if not plain.startswith(prefix + "/"):
            continue
        for each in routes:
            if (
                isinstance(each, Route)
                and _is_get(each)
                and each.path_regex.match(plain.removeprefix(prefix))
            ):
                return prefix + each.path
    return plain


def _is_get(route: BaseRoute) -> bool:
    return isinstance(route, Route) and "GET" in (route.methods or ())


@asynccontextmanager
async def built(server: RunningServer, *, pat: Person, doc: Person, ops: Person) -> AsyncIterator[Scene]:
    """The scene around these three; what they hold already stays."""
    scene, people = Scene(server), People(server.services)
    async with AsyncExitStack() as stack:
        for who, person in (("patient", pat), ("doctor", doc), ("operator", ops), ("guest", None)):
            client = httpx.AsyncClient(base_url=server.url, timeout=60)
            scene.browsers[who] = await stack.enter_async_context(client)
            if isinstance(person, Person):
                await people.session(client, person)
        _open_to_all(scene)
        await _of_patient(scene, people, pat, doc)
        await _of_guest(scene, pat)
        await _of_doctor(scene, people, pat)
        await _of_operator(scene, people, pat)
        await _of_apps(scene, server)
        yield scene


def _open_to_all(scene: Scene) -> None:
    secret = "made-up"
    scene.add(
        "visitor",
        front="/",
        data="/data",
        help="/help",
        sign_in="/sign-in",
        sign_up="/sign-up",
        sign_up_doctor="/sign-up/doctor",
        check_mail="/verify",
        verify_dead=f"/verify/{secret}",
        forgotten="/reset",
        reset_dead=f"/reset/{secret}",
        factor_stop=f"/second-step/stop/{secret}",
        factor_take_off=f"/second-step/take-off/{secret}",
        address_confirm=f"/address/confirm/{secret}",
        address_keep=f"/address/keep/{secret}",
        invitation_dead=f"/invitation/{secret}",
        give_dead=f"/give/{secret}",
        guest_dead=f"/link/{secret}",
        erased="/erased/00000000-0000-4000-8000-000000000000",
        missing="/no-such-page",
    )


async def _of_patient(scene: Scene, people: People, pat: Person, doc: Person) -> None:
    browser = scene.browsers["patient"]
    study = (await keep(browser, people, pat, StudyDescription="CT of the chest")).uid
    await submit(browser, f"/studies/{study}/reports/add", title="Radiology report", text="No finding.")
    report = _first(await browser.get(f"/studies/{study}"), r'href="/reports/([^"/]+)"')
    made = await submit(
        browser, "/records/new", kind="DX", year="1998", body_part="Left knee", notes="After a fall."
    )
    record = made.headers["location"].split("/")[2].partition("?")[0]
    share = await people.share(pat, doc)
    await submit(
        browser, "/sharing/new", name="Dr Anna Berg", email=f"berg{share[:8]}@clinic.example", act="send"
    )
    waiting = await people.doctor("Carla Caller")
    async with httpx.AsyncClient(base_url=scene.server.url, timeout=60) as other:
        await people.session(other, waiting)
        await submit(other, "/my-patients/ask", email=pat.email)
    second = await _second_record(scene, people, browser)
    scene.add(
        "patient",
        imaging="/imaging",
        letter="/imaging/letter",
        add="/imaging/add",
        removed="/imaging/removed",
        study=f"/studies/{study}",
        preview=f"/studies/{study}/preview",
        correct=f"/studies/{study}/correct",
        viewers=f"/studies/{study}/viewers",
        study_missing="/studies/1.2.3",
        report_form=f"/studies/{study}/reports/add",
        report=f"/reports/{report}",
        record_form="/records/new",
        record=f"/records/{record}",
        record_add=f"/records/{record}/add",
        sharing="/sharing",
        share_form="/sharing/new",
        person=f"/sharing/{share}",
        link_form="/sharing/links/new",
        activity="/activity",
        account="/account",
        profile="/account/profile",
        people="/account/people",
        join=f"/account/people/join?record={second}",
        permission="/account/permission",
        security="/account/security",
        security_app="/account/security/app",
        security_codes="/account/security/codes",
        apps="/oauth/manage",
        your_data="/account/data",
        consents="/account/consents",
        policy="/account/policy",
        research="/account/research",
        delete="/account/delete",
        help_signed_in="/help",
    )


async def _second_record(scene: Scene, people: People, browser: httpx.AsyncClient) -> str:
    """A record of another name that the patient has taken over, which so stands beside their own."""
    born = re.search(r'id="birth_date"[^>]*value="([^"]+)"', (await browser.get("/account/profile")).text)
    assert born
    async with httpx.AsyncClient(base_url=scene.server.url, timeout=60) as doctor:
        await people.session(doctor, await people.doctor("Mara Maker"))
        page = await submit(
            doctor, "/my-patients/new", name="Patricia Oldname", birth_date=born[1], gender="female"
        )
    code, other = _first(page, r'class="secret">([0-9A-Z-]+)<'), _first(page, r"/my-patients/([^/\"]+)/add")
    here = _first(await browser.get("/imaging/add"), r"/patients/([^/\"]+)/dicomweb")
    await submit(browser, "/account/people", "/account/people/claim", code=code, born=born[1])
    csrf = forms_of(await browser.get("/account/people"))[0]["fields"]["csrf"][0]
    await browser.post("/account/people/show", data={"csrf": csrf, "patient": here})
    return other


async def _of_guest(scene: Scene, pat: Person) -> None:
    browser, guest = scene.browsers["patient"], scene.browsers["guest"]
    email = f"ed{pat.account_id.hex[:6]}@family.example"
    made = await submit(browser, "/sharing/links/new", name="Uncle Ed", email=email)
    link = made.headers["location"].partition("?")[0]
    door = _first(await browser.get(link), r"(/link/[0-9a-f-]{36})")
    scene.add("patient", link=link)
    scene.add("visitor", guest_door=door)
    born = re.search(r'id="birth_date"[^>]*value="([^"]+)"', (await browser.get("/account/profile")).text)
    assert born
    await submit(guest, door, birth_date=born[1])
    outbox = scene.services.settings.data / "outbox"
    await mail_to(outbox, email, "code")
    code = _digits(outbox, email)
    await submit(guest, door, code=code)
    listed = await guest.get(door)
    study = _first(listed, rf'href="({door}/studies/[0-9.]+)"')
    reports = re.findall(
        rf'href="({door}/reports/[^"/]+)"', listed.text + (await _all_studies(guest, listed, door))
    )
    scene.add("guest", guest_studies=door, guest_study=study, guest_preview=f"{study}/preview")
    scene.add("guest", guest_report=reports[0])


async def _all_studies(guest: httpx.AsyncClient, listed: httpx.Response, door: str) -> str:
    found = dict.fromkeys(re.findall(rf'href="({door}/studies/[0-9.]+)"', listed.text))
    return "".join([(await guest.get(each)).text for each in found])


async def _of_doctor(scene: Scene, people: People, pat: Person) -> None:
    browser = scene.browsers["doctor"]
    patient = f"/my-patients/{pat.fhir_id}"
    made = await submit(
        browser, "/my-patients/new", name="Nora New", birth_date="1990-01-02", gender="female"
    )
    new = _first(made, r"(/my-patients/[^/\"]+)/add")
    page = await browser.get("/my-patients/page")
    form = next(each for each in forms_of(page) if each["action"] == "/my-patients/page")
    await browser.post("/my-patients/page", data={**form["fields"], "act": "make"})
    give = re.search(r"(/give/[0-9A-Za-z_-]+)", (await browser.get("/my-patients/page")).text)
    scene.add(
        "doctor",
        patients="/my-patients",
        patient=patient,
        patient_new="/my-patients/new",
        patient_made=new,
        patient_add=f"{new}/add",
        pass_on=f"{new}/pass-on",
        ask="/my-patients/ask",
        emergency="/my-patients/emergency",
        doctor_page="/my-patients/page",
        doctor_account="/account",
        registration="/account/registration",
        own_record="/account/record",
        doctor_study_missing="/studies/1.2.3",
    )
    if give:
        scene.add("patient", give=give[1])
        scene.add("visitor", give_visitor=give[1])


async def _of_operator(scene: Scene, people: People, pat: Person) -> None:
    browser, services = scene.browsers["operator"], scene.services
    ops = await services.db.fetch_one(_ACCOUNT, {"email": _email_of(await browser.get("/account"))})
    assert ops is not None
    await accounts.set_duties(services.db, ops["id"], list(accounts.DUTIES))
    await submit(
        scene.browsers["patient"], "/help", subject="rights", message="Please send me a copy of all."
    )
    await submit(browser, "/operator/incidents", words="A laptop was lost.", patients=pat.fhir_id)
    request = _first(await browser.get("/operator/requests"), r"(/operator/requests/[0-9a-f-]{36})")
    doctor = await _unverified(scene)
    project = await submit(
        browser,
        "/operator/research",
        **{"name": "Lungs", "organization": "University", "contact": "lungs@university.example"},
        **{"description": "How lungs age.", "purpose": "research-nonprofit", "until": "2030-01-01"},
    )
    incident = _first(await browser.get("/operator/incidents"), r"(/operator/incidents/[0-9a-f-]{36})")
    scene.add(
        "operator",
        operator="/operator",
        requests="/operator/requests",
        request=request,
        doctors="/operator/doctors",
        doctor=f"/operator/doctors/{doctor}",
        incidents="/operator/incidents",
        incident=incident,
        records="/operator/records",
        record_found=f"/operator/records?record={pat.fhir_id}",
        record_unknown="/operator/records?record=nobody",
        proposals="/operator/proposals",
        disclosures="/operator/disclosures",
        jobs="/operator/jobs",
        research_projects="/operator/research",
        research_project=project.headers["location"].partition("?")[0],
    )


async def _unverified(scene: Scene) -> str:
    made = await People(scene.services).doctor("Uma Unknown")
    await scene.services.db.execute(_UNVERIFY, {"id": made.fhir_id})
    return made.fhir_id


async def _of_apps(scene: Scene, server: RunningServer) -> None:
    app = (await register(server, launch_url="https://app.example/launch")).with_scope(SCOPE)
    scene.add(
        "patient",
        consent=f"/oauth/authorize?{urlencode(app.parameters())}",
        consent_error="/oauth/authorize?client_id=unknown",
        developers="/oauth/developers",
    )
    patient = next(each.path for each in scene.places if each.name == "patient").rpartition("/")[2]
    scene.add("doctor", launch=f"/oauth/launch?patient={patient}")


def _first(page: httpx.Response, pattern: str) -> str:
    found = re.search(pattern, page.text)
    assert found, (pattern, page.status_code, page.text[-3000:])
    return found[1]


def _digits(outbox: Path, email: str) -> str:
    found = re.findall(
        r"Your code: (\d{8})", "\n".join(str(mail["Subject"]) for mail in mails.to(outbox, email))
    )
    assert found, email
    return str(found[-1])


def _email_of(page: httpx.Response) -> str:
    return _first(page, r"([\w.+-]+@[\w.-]+\.\w+)")


def _sql(text: str) -> Any:
    from server.storage.sql import Statement

    return Statement("scene", text)


_ACCOUNT = _sql("SELECT id FROM account WHERE email_folded = lower(:email)")
_UNVERIFY = _sql("UPDATE practitioner SET verification = 'unverified' WHERE id = :id")
