"""Every page in a real browser, narrow and dark, wide and light: WCAG 2.2 AA by axe-core, nothing cut off."""

from __future__ import annotations

import pytest

from tests import every_page
from tests.browser import accessibility, chromium, contrast, too_wide, visiting
from tests.conftest import RunningServer
from tests.factories import People

pytestmark = pytest.mark.browser

PHONE = {"width": 320, "height": 640}
ZOOMED = {"width": 640, "height": 400}  # 1280 x 800 at 200 %


async def test_every_page(server: RunningServer, people: People) -> None:
    """320 px wide in the dark, at 200 % zoom in the light: axe-core finds nothing, nothing scrolls sideways."""
    pat, doc, ops = await people.patient(), await people.doctor(), await people.operator()
    problems: dict[str, list[str]] = {}
    async with every_page.built(server, pat=pat, doc=doc, ops=ops) as scene, chromium() as browser:
        for who in dict.fromkeys(place.who for place in scene.places):
            async with visiting(
                browser, server.url, viewport=PHONE, color_scheme="dark", reduced_motion="reduce"
            ) as visitor:
                await scene.dress(visitor.page.context, who)
                for place in (each for each in scene.places if each.who == who):
                    await visitor.page.set_viewport_size(PHONE)
                    await visitor.page.emulate_media(color_scheme="dark")
                    answer = await visitor.page.goto(server.url + place.path)
                    found = await accessibility(visitor.page)
                    if answer is None or answer.status >= 500:
                        found.append("went wrong on our side")
                    if await too_wide(visitor.page):
                        found.append("scrolls sideways at 320 px")
                    await visitor.page.set_viewport_size(ZOOMED)
                    await visitor.page.emulate_media(color_scheme="light")
                    if await too_wide(visitor.page):
                        found.append("scrolls sideways at 200 % zoom")
                    found += await contrast(visitor.page)
                    problems[f"{place.name} ({who}, {place.path})"] = found + visitor.errors
                    visitor.errors.clear()
        seen = {every_page.route_of(place.path) for place in scene.places}
    assert {name: found for name, found in problems.items() if found} == {}
    assert every_page.pages_of_registry() - seen - set(every_page.NO_PAGES) == set()


async def test_the_check_sees_what_is_wrong(server: RunningServer) -> None:
    async with chromium() as browser, visiting(browser, server.url, viewport=PHONE) as visitor:
        await visitor.page.set_content(
            '<html lang="en"><title>x</title><img src="x" width="400" height="9"><p style="color:#ccc">pale</p></html>'
        )
        found = {found.partition(":")[0] for found in await accessibility(visitor.page)}
        assert found == {"image-alt", "color-contrast"}
        assert [each.partition(":")[0] for each in await contrast(visitor.page)] == ["color-contrast"]
        assert await too_wide(visitor.page)
