"""The pages of the authorization server in a real browser: WCAG 2.2 AA, phone width, no script, no policy broken."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from tests.browser import accessibility, chromium, too_wide, visiting
from tests.conftest import RunningServer
from tests.factories import People

from .driver import CALLBACK, register

SCOPE = (
    "launch/patient launch/imagingstudy openid fhirUser offline_access patient/Patient.rs"
    " patient/ImagingStudy.rs?modality=CT patient/*.cruds patient/Consent.cu user/ImagingStudy.rs"
)


@pytest.mark.browser
async def test_pages_are_for_everyone(server: RunningServer, people: People) -> None:
    """Wide; narrow and zoomed, they are looked at with all other pages (tests/flows/test_pages.py)."""
    doctor = await people.doctor()
    for name in ("Ada Moor", "Karl Weiss"):
        await people.share(await people.patient(name), doctor)
    app = (await register(server, launch_url="https://app.example/launch")).with_scope(SCOPE)
    patient = await server.services.db.fetch_val(_NEWEST)
    async with (
        chromium() as browser,
        visiting(
            browser, server.url, viewport={"width": 1280, "height": 844}, color_scheme="dark"
        ) as visitor,
    ):
        await visitor.sign_in(doctor.email, doctor.password)
        pages = {
            f"/oauth/authorize?{urlencode(app.parameters())}": "wants to",
            "/oauth/manage": "Connected apps",
            f"/oauth/launch?patient={patient}": "Open with an app",
            "/oauth/developers": "Register an app",
            "/oauth/authorize?client_id=unknown": "This did not work",
        }
        for path, words in pages.items():
            await visitor.open(path)
            assert words in await visitor.page.inner_text("main")
            assert await accessibility(visitor.page) == [], path
            assert not await too_wide(visitor.page), path
        assert visitor.errors == []


@pytest.mark.browser
async def test_consent_works_with_the_keyboard_and_without_javascript(
    server: RunningServer, people: People
) -> None:
    person = await people.patient()
    app = await register(server)
    async with (
        chromium() as browser,
        visiting(browser, server.url, java_script_enabled=False) as visitor,
    ):
        page = visitor.page
        answers: list[str] = []
        page.on("request", lambda request: answers.append(request.url))
        await visitor.open(f"/oauth/authorize?{urlencode(app.parameters())}")
        await page.fill("input[name=email]", person.email)
        await page.fill("input[name=password]", person.password)
        await page.press("input[name=password]", "Enter")
        await page.wait_for_selector("text=wants to")
        await page.focus("input[value='patient/ImagingStudy.rs']")
        await page.keyboard.press("Space")
        assert not await page.is_checked("input[value='patient/ImagingStudy.rs']")
        await page.focus("button[value=allow]")
        async with page.expect_request(lambda request: request.url.startswith(CALLBACK)):
            await page.keyboard.press("Enter")
        assert any(url.startswith(f"{CALLBACK}?code=") for url in answers)
        assert visitor.errors == []


def _statement(text: str) -> object:
    from server.storage.sql import Statement

    return Statement("test", text)


_NEWEST = _statement("SELECT patient_id FROM share WHERE state = 'active' ORDER BY created_at DESC LIMIT 1")
