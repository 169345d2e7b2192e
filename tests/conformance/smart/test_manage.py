"""The person's page of connected apps: SMART App Launch 2.2, "management_endpoint"."""

from __future__ import annotations

import re
from datetime import timedelta

import httpx

from server.core import clock
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer

from .driver import App, Browser, register


async def page_of(browser: Browser) -> str:
    answer = await browser.client.get("/oauth/manage")
    assert answer.status_code == 200
    return answer.text


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found[1]


async def status(browser: Browser, person: Person, tokens: dict[str, str]) -> int:
    path = f"/fhir/Patient/{person.fhir_id}"
    return (await browser.client.get(path, headers=bearer(tokens["access_token"]))).status_code


async def test_each_app_and_each_family_is_there(
    server: RunningServer, browser: Browser, own_patient: Person
) -> None:
    """What each may do, about whom, since when, until when; and each ends by itself, or all of an app at once."""
    app, other = await register(server), await register(server, "confidential-symmetric")
    one = await browser.connect(app)
    two = await browser.connect(app, untick=("patient/ImagingStudy.rs",))
    three = await browser.connect(other)
    page = await page_of(browser)
    families = re.findall(r'name="grant" value="([^"]+)"', page)
    assert len(families) == 2, "of the app with two; the newest first"
    assert page.count("About the record of Ada Moor.") == 3
    assert page.count("See your imaging studies and their images.") == 2
    form = {"csrf": csrf_of(page), "client_id": app.id, "grant": families[0]}
    assert (await browser.client.post("/oauth/manage", data=form)).status_code == 303
    assert [await status(browser, own_patient, each) for each in (one, two, three)] == [200, 401, 200]
    form.pop("grant")
    assert (await browser.client.post("/oauth/manage", data=form)).status_code == 303
    assert [await status(browser, own_patient, each) for each in (one, three)] == [401, 200]
    assert (await page_of(browser)).count("About the record of") == 1


async def test_when_it_last_acted(app: App, browser: Browser, own_patient: Person) -> None:
    """Not when it was allowed, and not only when it refreshed: when it used what it has."""
    tokens = await browser.connect(app)
    assert await status(browser, own_patient, tokens) == 200
    clock.travel(timedelta(minutes=10))
    db = app.server.services.db
    app.server.services.gate._grant_names.clear()  # as five minutes later, for the memory counts real ones
    assert await status(browser, own_patient, tokens) == 200
    used = await db.fetch_val(
        _statement("SELECT used_at - created_at FROM app_grant WHERE client_id = :client"), {"client": app.id}
    )
    assert used >= timedelta(minutes=9)


async def test_nobody_ends_what_is_anothers(
    app: App, browser: Browser, own_patient: Person, people: People
) -> None:
    tokens = await browser.connect(app)
    page = await page_of(browser)
    grant = await app.server.services.db.fetch_val(
        _statement("SELECT id FROM app_grant WHERE client_id = :client"), {"client": app.id}
    )
    assert (
        await browser.client.post("/oauth/manage", data={"client_id": app.id, "csrf": "x"})
    ).status_code == 403
    await browser.sign_in(await people.patient("Other One"))
    assert own_patient.name not in await page_of(browser)
    csrf = csrf_of((await browser.client.get("/account")).text)
    form = {"csrf": csrf, "client_id": app.id, "grant": str(grant)}
    assert (await browser.client.post("/oauth/manage", data=form)).status_code == 303
    assert await status(browser, own_patient, tokens) == 200
    form["grant"] = "no uuid"
    assert (await browser.client.post("/oauth/manage", data=form)).status_code == 400
    assert page


async def test_a_token_that_changes_and_does_not_read_is_shown_nothing(
    client: httpx.AsyncClient, people: People
) -> None:
    """Scopes: `u` is update and patch; a patch that changes nothing is no way to read."""
    person = await people.patient("Quill Onfeather")
    token = bearer(await people.token(person, "patient/Patient.u"))
    headers = token | {"Content-Type": "application/json-patch+json"}
    answer = await client.patch(f"/fhir/Patient/{person.fhir_id}", content=b"[]", headers=headers)
    assert answer.status_code < 500
    assert "Onfeather" not in answer.text


def _statement(text: str) -> object:
    from server.storage.sql import Statement

    return Statement("test", text)
