"""Every page in a real browser, narrow and dark, wide and light: WCAG 2.2 AA by axe-core, nothing cut off."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from playwright.async_api import Browser

from tests import browser as browsers
from tests.browser import accessibility, too_wide, visiting
from tests.conftest import RunningServer
from tests.factories import PASSWORD, People
from tests.flows.portal_studies import keep

pytestmark = pytest.mark.browser

OPEN = (
    "/",
    "/data",
    "/help",
    "/sign-in",
    "/sign-up",
    "/sign-up/doctor",
    "/reset",
    "/verify",
    "/no-such-page",
    "/link/made-up",
)
OF_PATIENTS = (
    *("/imaging", "/imaging/add", "/sharing", "/sharing/new", "/activity", "/account", "/account/profile"),
    *("/account/permission", "/account/security", "/oauth/manage", "/studies/1.2.3"),
    *("/imaging/removed", "/imaging/letter", "/records/new", "/sharing/links/new"),
)
OF_DOCTORS = ("/my-patients", "/my-patients/ask", "/account", "/account/security")
PHONE = {"width": 320, "height": 640}
DESK = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with browsers.chromium() as browser:
        yield browser


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "dark"), (DESK, "light")], ids=["phone", "desk"])
@pytest.mark.parametrize("who", ["visitor", "patient", "doctor"])
async def test_pages_are_accessible(
    chromium: Browser, server: RunningServer, people: People, who: str, scheme: str, width: dict[str, int]
) -> None:
    async with visiting(chromium, server.url, viewport=width, color_scheme=scheme) as visitor:
        if who != "visitor":
            person = await (people.patient() if who == "patient" else people.doctor())
            await visitor.sign_in(person.email, PASSWORD)
        problems = {}
        for path in {"visitor": OPEN, "patient": OF_PATIENTS, "doctor": OF_DOCTORS}[who]:
            await visitor.open(path)
            found = await accessibility(visitor.page)
            if await too_wide(visitor.page):
                found.append("the page scrolls sideways")
            if found:
                problems[path] = found
        assert problems == {}
        assert visitor.errors == []


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (DESK, "dark")], ids=["phone", "desk"])
async def test_pages_with_something_on_them(
    chromium: Browser,
    server: RunningServer,
    people: People,
    client: httpx.AsyncClient,
    scheme: str,
    width: dict[str, int],
) -> None:
    """A study, somebody who can see it, a link and a key: their pages, at 320 px and in the dark."""
    person, doctor = await people.patient(), await people.doctor()
    study = await keep(client, people, person)
    share = await people.share(person, doctor)
    async with visiting(chromium, server.url, viewport=width, color_scheme=scheme) as visitor:
        await visitor.sign_in(person.email, PASSWORD)
        await visitor.open("/sharing/links/new")
        await visitor.page.fill("#name", "Uncle Ed")
        await visitor.page.fill("#email", "ed@family.example")
        await visitor.submit("Make the link")
        link = visitor.page.url.partition("?")[0]
        await visitor.open(f"/studies/{study.uid}/correct")
        await visitor.page.fill("#description", "What it truly was")
        await visitor.submit("Save")
        await visitor.open(f"/studies/{study.uid}/viewers")
        await visitor.submit("Make a link for Weasis")
        problems = {"viewers": await accessibility(visitor.page)}
        below = f"/studies/{study.uid}"
        for path in (
            *(link, below, f"{below}/correct", f"{below}/preview", f"{below}/viewers"),
            *(f"/sharing/{share}", "/sharing", "/imaging", "/activity"),
        ):
            await visitor.open(path)
            problems[path] = await accessibility(visitor.page)
            if await too_wide(visitor.page):
                problems[path].append("the page scrolls sideways")
        assert {path: found for path, found in problems.items() if found} == {}
        assert visitor.errors == []


async def test_the_check_sees_what_is_wrong(chromium: Browser, server: RunningServer) -> None:
    async with visiting(chromium, server.url, viewport=PHONE) as visitor:
        await visitor.page.set_content(
            '<html lang="en"><title>x</title><img src="x" width="400" height="9"></html>'
        )
        assert [found.partition(":")[0] for found in await accessibility(visitor.page)] == ["image-alt"]
        assert await too_wide(visitor.page)
