"""Every page in a real browser, narrow and dark, wide and light: WCAG 2.2 AA by axe-core, nothing cut off."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests import browser as browsers
from tests.browser import accessibility, too_wide, visiting
from tests.conftest import RunningServer
from tests.factories import PASSWORD, People

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
)
OF_PATIENTS = (
    *("/imaging", "/imaging/add", "/sharing", "/sharing/new", "/activity", "/account", "/account/profile"),
    *("/account/permission", "/account/security", "/oauth/manage", "/studies/1.2.3"),
    *("/imaging/removed", "/records/new"),
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


async def test_the_check_sees_what_is_wrong(chromium: Browser, server: RunningServer) -> None:
    async with visiting(chromium, server.url, viewport=PHONE) as visitor:
        await visitor.page.set_content(
            '<html lang="en"><title>x</title><img src="x" width="400" height="9"></html>'
        )
        assert [found.partition(":")[0] for found in await accessibility(visitor.page)] == ["image-alt"]
        assert await too_wide(visitor.page)
