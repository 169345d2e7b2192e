"""Passkeys in a real Chromium with a virtual authenticator: a doctor sets one up, signs in with it, confirms with it.

The pages of the second step and of operators are looked at by axe-core on the way, at the width of a phone.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from server.core import clock
from server.rights import incidents
from tests import browser as browsers
from tests.browser import Visitor, accessibility, too_wide, visiting
from tests.conftest import RunningServer, serving
from tests.databases import create_database, drop_database
from tests.factories import PASSWORD, People
from tests.second_steps import code_of, later

pytestmark = pytest.mark.browser
PHONE = {"width": 320, "height": 720}
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
PICTURES = os.environ.get("LIGHTBOX_TEST_PICTURES")  # a folder, to look at the pages


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with browsers.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
async def strict(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    url = create_database(cluster, "t_passkeys")
    async with serving(url, tmp_path_factory.mktemp("passkeys"), second_factor="required") as running:
        yield running
    drop_database(cluster, "t_passkeys")


async def plug_in(page: Page) -> None:
    """A device with a passkey store and a finger on it."""
    devices = await page.context.new_cdp_session(page)
    await devices.send("WebAuthn.enable")
    await devices.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})


async def look(visitor: Visitor, name: str) -> None:
    """Accessible, nothing cut off; and a picture for who asked for it."""
    found = await accessibility(visitor.page)
    if await too_wide(visitor.page):
        found.append("the page scrolls sideways")
    assert found == [], name
    assert visitor.errors == [], name
    if PICTURES:
        for scheme in ("light", "dark"):
            for width in (320, 1280):
                await visitor.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                await visitor.page.set_viewport_size({"width": width, "height": 800})
                await visitor.page.screenshot(
                    path=Path(PICTURES) / f"{name}-{width}-{scheme}.png", full_page=True
                )
        await visitor.page.set_viewport_size(PHONE)


async def type_password(visitor: Visitor, email: str) -> None:
    await visitor.open("/sign-in")
    await visitor.page.fill("#email", email)
    await visitor.page.fill("#password", PASSWORD)
    await visitor.submit("Sign in", within="main form")


async def test_a_doctor_lives_with_a_passkey(chromium: Browser, strict: RunningServer) -> None:
    """Decision 13: set up before anything opens; then no password at all; and it confirms grave acts."""
    doctor = await People(strict.services).doctor()
    url = strict.url.replace("127.0.0.1", "localhost")
    async with visiting(chromium, url, viewport=PHONE) as visitor:
        page = visitor.page
        await plug_in(page)
        await type_password(visitor, doctor.email)
        assert page.url.endswith("/sign-in/set-up")
        await look(visitor, "set-up")
        async with page.expect_navigation():
            await page.get_by_role("button", name="Make a passkey").click()
        assert "/account/security/codes" in page.url
        await look(visitor, "codes-ask")
        await visitor.submit("Make ten codes")
        assert await page.locator("ol.codes li").count() == 10
        await look(visitor, "codes")
        await visitor.open("/account/security")
        await page.get_by_label("Name it").fill("my phone")
        await look(visitor, "security")
        await page.context.clear_cookies()
        await visitor.open("/sign-in?next=/my-patients")
        await look(visitor, "sign-in")
        async with page.expect_navigation():
            await page.get_by_role("button", name="Sign in with a passkey").click()
        assert page.url.endswith("/my-patients")
        later(16 * 60)
        await visitor.open("/account/security/app")
        await look(visitor, "confirm")
        async with page.expect_navigation():
            await page.get_by_role("button", name="Use a passkey instead").click()
        assert page.url.endswith("/account/security/app")
        await look(visitor, "app")
        secret = (await page.locator("code.secret").inner_text()).replace(" ", "")
        await page.fill("#code", code_of(secret))
        await visitor.submit("Use this app")
        await page.context.clear_cookies()
        await type_password(visitor, doctor.email)
        await look(visitor, "second")
        await page.get_by_text("I have lost the device").click()
        later()
        await page.fill("#code", code_of(secret))
        await visitor.submit("Sign in")
        assert page.url.endswith("/my-patients")
    async with visiting(chromium, strict.url) as elsewhere:
        await elsewhere.open("/sign-in")
        hint = elsewhere.page.get_by_text("Passkeys work at this address")
        assert await hint.is_visible()  # 127.0.0.1 is no domain
        assert not await elsewhere.page.get_by_role("button", name="passkey").is_visible()


async def test_pages_of_operators(chromium: Browser, server: RunningServer, people: People) -> None:
    """Every page of operators is accessible, narrow and wide."""
    olga, pat, doctor = await people.operator(), await people.patient(), await people.doctor("Dr Look Up")
    found = incidents.Found("many-refusals", f"look {olga.email}", 12, clock.now(), words="")
    incident = await incidents.keep(server.services, found)
    async with visiting(chromium, server.url, viewport=PHONE) as visitor:
        await visitor.sign_in(olga.email, PASSWORD)
        assert visitor.page.url.endswith("/operator")
        await visitor.open("/help")
        await visitor.page.select_option("#subject", "rights")
        await visitor.page.fill("#message", "Please delete my account.")
        await visitor.submit("Send")
        paths = {
            "operator": "/operator",
            "requests": "/operator/requests",
            "doctors": "/operator/doctors",
            "doctor": f"/operator/doctors/{doctor.fhir_id}",
            "incidents": "/operator/incidents",
            "incident": f"/operator/incidents/{incident}",
            "records": f"/operator/records?record={pat.fhir_id}",
            "disclosures": "/operator/disclosures",
            "proposals": "/operator/proposals",
            "jobs": "/operator/jobs",
        }
        for name, path in paths.items():
            await visitor.open(path)
            await look(visitor, name)
        await visitor.open("/operator/requests")
        await visitor.page.get_by_role("link", name=re.compile("^No. ")).last.click()
        await visitor.page.wait_for_url("**/operator/requests/*")
        await look(visitor, "request")
