"""A real Chromium for the tests that look at pages: found on the machine, never downloaded."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Error, Page, Playwright, async_playwright, expect

# Software rendering: WebGL without a graphics card; no sandbox, for tests that run as root.
FLAGS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NAMES = ("chromium", "chromium-browser", "google-chrome")
AXE = Path(__file__).parent / "assets" / "axe-core" / "axe.min.js"
VIEWER_SECONDS = 60  # OHIF is large, and the pixels are drawn by the processor

expect.set_options(timeout=30_000)  # its own five seconds are few on a busy machine

# How many levels of grey are on OHIF's canvas; a viewport without an image has one or two.
LEVELS = """() => {
  const canvas = document.querySelector('canvas.cornerstone-canvas');
  if (!canvas || !canvas.width || !canvas.height) return 0;
  const copy = document.createElement('canvas');
  copy.width = 128; copy.height = 128;
  const context = copy.getContext('2d');
  context.drawImage(canvas, 0, 0, 128, 128);
  const levels = new Set();
  const data = context.getImageData(0, 0, 128, 128).data;
  for (let at = 0; at < data.length; at += 4) levels.add(data[at]);
  return levels.size;
}"""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser; without one the test is left out, save in CI, where it must be there."""
    executable = next((found for name in NAMES if (found := shutil.which(name))), None)
    if executable is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Chromium here")
        pytest.skip("there is no Chromium here (apt-get install chromium)")
    async with async_playwright() as playwright, _launched(playwright, executable) as browser:
        yield browser


@asynccontextmanager
async def _launched(playwright: Playwright, executable: str) -> AsyncIterator[Browser]:
    browser = await playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
    try:
        yield browser
    finally:
        await browser.close()


@dataclass
class Visitor:
    """Somebody with a browser window of their own, and what went wrong in it."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", self._page_error)
        self.page.on("console", self._console)

    def _page_error(self, error: Error) -> None:
        self.errors.append(str(error))

    def _console(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.errors.append(message.text)

    async def open(self, path: str) -> None:
        """Go to an address of the server under test."""
        await self.page.goto(path if "://" in path else self.url + path)

    async def sign_in(self, email: str, password: str) -> None:
        await self.open("/sign-in")
        await self.page.fill("#email", email)
        await self.page.fill("#password", password)
        await self.submit("Sign in", within="main form")

    async def submit(self, button: str, *, within: str = "main") -> None:
        """Press the button and wait for the page it leads to."""
        async with self.page.expect_navigation():
            await self.page.locator(within).get_by_role("button", name=button).click()

    async def follow(self, link: str) -> None:
        """Click the link and wait for the page it leads to."""
        async with self.page.expect_navigation():
            await self.page.locator("main").get_by_role("link", name=link).first.click()

    async def pixels(self) -> int:
        """The levels of grey on OHIF's canvas, once there is an image on it; 0 when there is none in time."""
        # Asked from outside: the page's policy lets no waiting expression be evaluated inside.
        for _ in range(VIEWER_SECONDS * 4):
            found: int = await self.page.evaluate(LEVELS)
            if found > 16:
                return found
            await asyncio.sleep(0.25)
        return 0

    async def fetch(self, path: str) -> int:
        """The status of a read that the page itself makes, with its cookie."""
        found: int = await self.page.evaluate("path => fetch(path).then(answer => answer.status)", path)
        return found


@asynccontextmanager
async def visiting(browser: Browser, url: str, **context: Any) -> AsyncIterator[Visitor]:
    """A new window, without cookies."""
    window = await browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | context))
    window.set_default_timeout(60_000)
    try:
        yield Visitor(await window.new_page(), url)
    finally:
        await window.close()


async def accessibility(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA, one line each; left out where it was not fetched."""
    if not AXE.exists():
        pytest.skip("axe-core was not fetched (scripts/test does)")
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    return await _found(page, tags)


async def contrast(page: Page) -> list[str]:
    """Of the same, what another colour scheme can change; axe-core is in the page already."""
    return await _found(page, {"type": "rule", "values": ["color-contrast"]})


async def _found(page: Page, only: Any) -> list[str]:
    found = await page.evaluate(
        "only => axe.run(document, { runOnly: only, resultTypes: ['violations'] })", only
    )
    return [
        f"{violation['id']}: {violation['help']} ({node['html'][:120]})"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


async def too_wide(page: Page) -> bool:
    """Whether the page scrolls sideways."""
    found: bool = await page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    return found
