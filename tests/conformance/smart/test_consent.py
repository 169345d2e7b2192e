"""The consent page: whose record, which images, who stands behind the app, how long; and that the token obeys it."""

from __future__ import annotations

import asyncio
import io
import re
import socket
from datetime import timedelta
from typing import Any

import httpx
import pytest
from PIL import Image

from server.access.scopes import Scopes
from server.core import clock, outbound
from server.oauth import clients
from tests.conformance.dicomweb.samples import instance
from tests.conformance.dicomweb.samples import store as store_samples
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.waiting import tries

from .driver import CALLBACK, App, Browser, Form, register, returned

WILD = "launch/patient patient/*.rs"
SEVERAL = "launch/patient patient/Patient.rs patient/ImagingStudy.read user/*.rs"
DCM = "http://dicom.nema.org/resources/ontology/DCM"


@pytest.fixture(scope="module")
async def archive(server: RunningServer) -> tuple[Person, dict[str, str]]:
    """A patient with three studies: a CT of 2022, an MR of 2024, a CT of 2024; their UIDs, and ImagingStudy ids."""
    people = People(server.services)
    person = await people.patient()
    samples = {
        "old-ct": instance(Modality="CT", StudyDate="20220301"),
        "mr": instance(Modality="MR", StudyDate="20240131"),
        "ct": instance(Modality="CT", StudyDate="20240630"),
    }
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        headers = bearer(await people.token(person))
        answer = await store_samples(client, *samples.values(), **headers)
        assert answer.status_code == 200, answer.text
    return person, {name: sample.study for name, sample in samples.items()}


@pytest.fixture(scope="module")
async def signed_in(archive: tuple[Person, dict[str, str]], server: RunningServer) -> httpx.Cookies:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        await Browser(client).sign_in(archive[0])
        return client.cookies


@pytest.fixture
async def owner(archive: tuple[Person, dict[str, str]], signed_in: httpx.Cookies, browser: Browser) -> Person:
    browser.client.cookies.update(signed_in)
    return archive[0]


async def seen(browser: Browser, tokens: dict[str, Any], studies: dict[str, str]) -> dict[str, set[str]]:
    """The names of the studies a token sees, on each surface."""
    headers, names = bearer(tokens["access_token"]), {uid: name for name, uid in studies.items()}
    found: dict[str, set[str]] = {"qido": set(), "wado": set(), "fhir": set(), "everything": set()}
    listed = await browser.client.get("/dicomweb/studies", headers=headers)
    for study in listed.json() if listed.status_code == 200 else []:
        found["qido"].add(names[study["0020000D"]["Value"][0]])
    for name, uid in studies.items():
        answer = await browser.client.get(f"/dicomweb/studies/{uid}/metadata", headers=headers)
        assert answer.status_code in (200, 404)
        found["wado"] |= {name} if answer.status_code == 200 else set()
    for key, path in (
        ("fhir", "ImagingStudy?_count=50"),
        ("everything", f"Patient/{tokens['patient']}/$everything"),
    ):
        async for _ in tries():  # resources are built soon after the store
            answer = await browser.client.get(f"/fhir/{path}", headers=headers)
            assert answer.status_code == 200, answer.text
            entries = [each["resource"] for each in answer.json().get("entry", [])]
            uids = [
                each["identifier"][0]["value"].removeprefix("urn:oid:")
                for each in entries
                if each["resourceType"] == "ImagingStudy"
            ]
            if len(uids) >= len(found["qido"]):
                break
        found[key] = {names[uid] for uid in uids}
    return found


@pytest.mark.parametrize(
    ("how", "left", "scope"),
    [
        ({}, {"old-ct", "mr", "ct"}, WILD),
        ({"untick": ("MR",)}, {"old-ct", "ct"}, WILD),
        ({"untick": ("MR",)}, {"old-ct", "ct"}, SEVERAL),
        ({"since": "2024-01-01"}, {"mr", "ct"}, WILD),
        ({"until": "2024-01-31"}, {"old-ct", "mr"}, SEVERAL),
        ({"since": "2024-01-31", "until": "2024-01-31"}, {"mr"}, WILD),
        ({"untick": ("MR",), "since": "2024-01-01"}, {"ct"}, WILD),
        ({"only": "old-ct"}, {"old-ct"}, SEVERAL),
        ({"only": "old-ct", "untick": ("CT",)}, set(), WILD),
    ],
)
async def test_what_is_left_of_the_images_is_in_the_token(
    app: App, browser: Browser, owner: Person, archive: tuple[Person, dict[str, str]],
    how: dict[str, Any], left: set[str], scope: str,
) -> None:  # fmt: skip
    """By kind, by date and by study, for wildcards too; on FHIR and DICOMweb alike."""
    app = app.with_scope(scope)
    page = await browser.ask(app)
    async for _ in tries():
        if page.text.count('name="only"') == 3:
            break
        page = await browser.ask(app)
    if "only" in how:
        uid = archive[1][how["only"]]
        row = "SELECT fhir_id FROM study WHERE study_uid = :uid"
        how = how | {"only": await app.server.services.db.fetch_val(_statement(row), {"uid": uid})}
    code = returned(await browser.decide(page, **how))["code"]
    tokens = (await browser.client.post("/oauth/token", data=app.exchange(code))).json()
    assert Scopes.parse(tokens["scope"]).subset_of(Scopes.parse(scope))
    assert (tokens["scope"] == scope) is (not how)
    found = await seen(browser, tokens, archive[1])
    assert found == dict.fromkeys(("qido", "wado", "fhir", "everything"), left)
    headers = bearer(tokens["access_token"])
    patient = f"/fhir/Patient/{owner.fhir_id}"
    assert (await browser.client.get(patient, headers=headers)).status_code == 200, "the rest stays"


async def test_a_refresh_keeps_what_was_left(
    app: App, browser: Browser, owner: Person, archive: tuple[Person, dict[str, str]]
) -> None:
    """And cannot widen it: the wildcard that was asked for is more than what was granted."""
    tokens = await browser.connect(app.with_scope(f"{WILD} offline_access"), untick=("MR",))
    form = app.refresh(tokens["refresh_token"], scope=WILD)
    refused = await browser.client.post("/oauth/token", data=form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")
    again = (await browser.client.post("/oauth/token", data=app.refresh(tokens["refresh_token"]))).json()
    assert again["scope"] == tokens["scope"]
    assert (await seen(browser, again, archive[1]))["wado"] == {"old-ct", "ct"}


@pytest.mark.parametrize(
    "how", [{"untick": ("CT", "MR")}, {"since": "2024-02-01", "until": "2024-01-01"}], ids=str
)
async def test_with_no_image_left_there_is_no_imaging_scope(
    app: App, browser: Browser, owner: Person, how: dict[str, Any]
) -> None:
    tokens = await browser.connect(app.with_scope(WILD), **how)
    assert not Scopes.parse(tokens["scope"]).granting("ImagingStudy", "r")
    answer = await browser.client.get("/dicomweb/studies", headers=bearer(tokens["access_token"]))
    assert answer.status_code == 403


async def test_a_day_that_is_none_is_a_page(app: App, browser: Browser, owner: Person) -> None:
    answer = await browser.decide(await browser.ask(app.with_scope(WILD)), since="2024-02-31")
    assert answer.status_code == 400


async def test_where_no_image_is_asked_for_nothing_is_offered(
    app: App, browser: Browser, owner: Person
) -> None:
    page = await browser.ask(app.with_scope("launch/patient patient/Patient.rs"))
    assert "Which images?" not in page.text


async def test_a_doctor_looks_for_the_patient(app: App, browser: Browser, people: People) -> None:
    """Among those who share; with many, by name. Whoever does not share is not there, whatever is typed."""
    doctor = await people.doctor()
    names = ["Ángel Núñez", *(f"Person {number}" for number in range(13))]
    patients = [await people.patient(name) for name in names]
    for patient in patients:
        await people.share(patient, doctor)
    stranger = await people.patient("Angel Stranger")
    await browser.sign_in(doctor)
    page = await browser.ask(app)
    assert len(Form(page.text).choices) == 12
    assert "2 more" in page.text
    answer = await browser.decide(page, "find", find="angel nunez")
    page = await browser.client.get(answer.headers["location"])
    assert Form(page.text).choices == [patients[0].fhir_id]
    code = returned(await browser.decide(page))["code"]
    tokens = (await browser.client.post("/oauth/token", data=app.exchange(code))).json()
    assert tokens["patient"] == patients[0].fhir_id
    answer = await browser.decide(await browser.ask(app), "find", find="Angel Stranger")
    page = await browser.client.get(answer.headers["location"])
    assert Form(page.text).choices == []
    assert stranger.fhir_id not in page.text


async def test_how_long_is_what_the_person_said(app: App, browser: Browser, patient: Person) -> None:
    tokens = await browser.connect(app, period="1")
    clock.travel(timedelta(hours=23))
    again = await browser.client.post("/oauth/token", data=app.refresh(tokens["refresh_token"]))
    assert again.status_code == 200
    clock.travel(timedelta(hours=25))
    late = await browser.client.post("/oauth/token", data=app.refresh(again.json()["refresh_token"]))
    assert late.status_code == 400


async def test_a_period_that_was_not_offered_is_the_usual_one(
    app: App, browser: Browser, patient: Person
) -> None:
    tokens = await browser.connect(app, period="36500")
    clock.travel(timedelta(days=91))
    late = await browser.client.post("/oauth/token", data=app.refresh(tokens["refresh_token"]))
    assert late.status_code == 400


@pytest.mark.parametrize(
    ("headers", "more", "language", "word"),
    [
        ({}, {}, "en", "Allow"),
        ({"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}, {}, "de", "Erlauben"),
        ({"Accept-Language": "fr"}, {"ui_locales": "xx de-CH en"}, "de", "Erlauben"),
        ({"Accept-Language": "de"}, {"ui_locales": "en"}, "en", "Allow"),
    ],
)
async def test_it_speaks_the_readers_language(
    app: App, browser: Browser, patient: Person, headers: dict[str, str], more: dict[str, str],
    language: str, word: str,
) -> None:  # fmt: skip
    parameters = app.parameters(**more)
    page = await browser.client.get("/oauth/authorize", params=parameters, headers=headers)
    assert f'<html lang="{language}">' in page.text
    assert page.headers["content-language"] == language
    assert re.search(rf'value="allow">{word}<', page.text)
    assert sorted(Form(page.text).boxes) == sorted(app.scope.split()), (
        "the values are the scopes, in any language"
    )


def logo(size: tuple[int, int] = (300, 200), mode: str = "RGB") -> bytes:
    made = io.BytesIO()
    Image.new(mode, size).save(made, "PNG")
    return made.getvalue()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What addresses answer, in place of the network: status, body."""
    given: dict[str, Any] = {}

    async def get(url: str, *, accept: str, private: bool = False) -> outbound.Answer:
        if url not in given:
            raise outbound.Refused("nobody there")
        return outbound.Answer(*given[url])

    monkeypatch.setattr(outbound, "get", get)
    return given


async def test_who_stands_behind_an_app(
    server: RunningServer, browser: Browser, patient: Person, answers: dict[str, Any]
) -> None:
    """Logo, home page, policy, contact and where it gets its answer: as text and links, the logo as our own picture."""
    answers["https://maker.example/logo"] = (200, httpx.Headers(), logo())
    metadata = {
        "client_name": "Tulip <b>",
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
        "logo_uri": "https://maker.example/logo",
        "client_uri": "https://maker.example/",
        "policy_uri": "https://maker.example/privacy",
        "contacts": ["help@maker.example"],
    }
    made = (await browser.client.post("/oauth/register", json=metadata)).json()
    app = App(server, made["client_id"])
    page = await browser.ask(app)
    shown = re.search(r'<img src="data:image/png;base64,([^"]+)"', page.text)
    assert shown
    assert "https://maker.example/logo" not in page.text, "nobody's browser asks the app's address"
    for text in ("Tulip &lt;b&gt;", "maker.example", "help@maker.example", "app.example", "Not verified"):
        assert text in page.text
    assert "img-src 'self' data:" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    "answer",
    [
        (404, httpx.Headers(), logo()),
        (200, httpx.Headers(), b"<svg onload='alert(1)'/>"),
        (200, httpx.Headers(), b""),
        (200, httpx.Headers(), logo()[:60]),
        (200, httpx.Headers(), logo((4097, 4096), "1")),
    ],
    ids=["not found", "svg", "empty", "cut", "bomb"],
)
async def test_a_logo_that_is_none_is_left_out(
    server: RunningServer, browser: Browser, patient: Person, answers: dict[str, Any], answer: Any
) -> None:
    answers["https://maker.example/logo"] = answer
    metadata = {
        "client_name": "Tulip",
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
        "logo_uri": "https://maker.example/logo",
    }
    made = await browser.client.post("/oauth/register", json=metadata)
    assert made.status_code == 201, made.text
    page = await browser.ask(App(server, made.json()["client_id"]))
    assert page.status_code == 200
    assert "data:image" not in page.text


async def test_a_logo_is_not_fetched_from_inside(server: RunningServer, client: httpx.AsyncClient) -> None:
    """SSRF: the port is never asked, and the app is registered without a logo."""
    asked = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(10))
        writer.close()

    listening = await asyncio.start_server(note, "127.0.0.1", 0, family=socket.AF_INET)
    port = listening.sockets[0].getsockname()[1]
    try:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"):
            metadata = {
                "redirect_uris": [CALLBACK],
                "token_endpoint_auth_method": "none",
                "logo_uri": f"https://{host}:{port}/logo",
            }
            answer = await client.post("/oauth/register", json=metadata)
            assert answer.status_code in (201, 400)
            if answer.status_code == 201:
                found = await clients.find(server.services.db, answer.json()["client_id"])
                assert found is not None
                assert found.logo is None
        assert asked == []
    finally:
        listening.close()


def _statement(text: str) -> object:
    from server.storage.sql import Statement

    return Statement("test", text)


async def test_the_driver_of_before_goes_through(
    browser: Browser, patient: Person, server: RunningServer
) -> None:
    """interface.md: a ticked box per scope, value = scope; `decision` = allow | deny; nothing else is needed."""
    app = await register(server)
    page = await browser.ask(app)
    form = Form(page.text)
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    kept = {name: value.replace("&amp;", "&") for name, value in hidden}
    answer = await browser.client.post(form.action, data={**kept, "scope": form.boxes, "decision": "allow"})
    assert "code" in returned(answer)


async def test_names_are_text(app: App, browser: Browser, people: People) -> None:
    """Of patients too, in the picker and at a launch: no markup, and a per cent sign is one."""
    doctor = await people.doctor()
    patients = [await people.patient(f'<i>{number}</i> 100% "of" %(x)s') for number in range(2)]
    for patient in patients:
        await people.share(patient, doctor)
    await register(app.server, launch_url="https://app.example/launch")
    await browser.sign_in(doctor)
    pages = [await browser.ask(app.with_scope("launch/patient launch/imagingstudy patient/ImagingStudy.rs"))]
    path = f"/oauth/launch?patient={patients[0].fhir_id}"
    pages.append(await browser.client.get(path, headers={"Accept-Language": "de"}))
    for page in pages:
        assert page.status_code == 200
        assert "<i>" not in page.text
        assert "&lt;i&gt;" in page.text
        assert "100%" in page.text
