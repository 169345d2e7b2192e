"""Look at every page: a demo server is started, its pages are photographed in Chromium. Called by `screenshots`."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

OUT = Path(__file__).resolve().parent.parent / "screenshots"
WIDTHS = {"desk": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
SCHEMES = ("light", "dark")
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

OPEN = {
    "front": "/",
    "sign-in": "/sign-in",
    "sign-up": "/sign-up",
    "sign-up-doctor": "/sign-up/doctor",
    "check-mail": "/verify",
    "forgotten": "/reset",
    "help": "/help",
    "data": "/data",
    "missing": "/nothing-here",
    "dead-invitation": "/invitation/made-up",
}
PATIENT = {
    "imaging": "/imaging",
    "study": "study:CT",
    "study-ultrasound": "study:Ultrasound",
    "preview": "preview:CT",
    "preview-ultrasound": "preview:Ultrasound",
    "add": "/imaging/add",
    "removed": "/imaging/removed",
    "report-form": "report:CT",
    "record-form": "/records/new",
    "record": "record:Left knee",
    "record-add": "record-add:Left knee",
    "sharing": "/sharing",
    "share-form": "/sharing/new",
    "person": "person:",
    "activity": "/activity",
    "account": "/account",
    "profile": "/account/profile",
    "permission": "/account/permission",
    "security": "/account/security",
    "apps": "/oauth/manage",
}
DOCTOR = {"patients": "/my-patients", "patient": "patient:", "ask": "/my-patients/ask"}
BELOW = {
    "study": "",
    "preview": "/preview",
    "report": "/reports/add",
    "record": "",
    "record-add": "/add",
}
PEOPLE = {
    "pat@demo.example": ("demo-patient-pass", PATIENT),
    "doc@demo.example": ("demo-doctor-pass", DOCTOR),
}


@asynccontextmanager
async def demo_server() -> AsyncIterator[str]:
    """`lightbox serve --demo` on a free port; stopped in order at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "server", "serve", "--demo", "--port", str(port), "--data", data]
        server = await asyncio.create_subprocess_exec(*command)
        try:
            address = f"http://127.0.0.1:{port}"
            await ready(address, server)
            yield address
        finally:
            if server.returncode is None:
                server.terminate()
            await server.wait()


async def ready(address: str, server: asyncio.subprocess.Process) -> None:
    """Wait until the server answers; raises SystemExit when it ended instead."""
    while server.returncode is None:
        try:
            await asyncio.to_thread(urllib.request.urlopen, f"{address}/health/live")
            return
        except (urllib.error.URLError, ConnectionError):
            await asyncio.sleep(0.3)
    raise SystemExit("the server did not start")


async def sign_in(page: Page, address: str, email: str) -> None:
    await page.goto(f"{address}/sign-in")
    await page.fill("#email", email)
    await page.fill("#password", PEOPLE[email][0])
    async with page.expect_navigation():
        await page.click("main button")


async def prepare(browser: Browser, address: str) -> None:
    """Something to see: a share that holds, an invitation that waits."""
    window = await browser.new_context()
    page = await window.new_page()
    await sign_in(page, address, "pat@demo.example")
    for name, email in (("Dr Dana Doctor", "doc@demo.example"), ("Dr Anna Berg", "berg@clinic.example")):
        await page.goto(f"{address}/sharing/new")
        await page.fill("#name", name)
        await page.fill("#email", email)
        async with page.expect_navigation():
            await page.get_by_role("button", name="Send the invitation").click()
    await page.goto(f"{address}/records/new")
    await page.select_option("#kind", "DX")
    await page.fill("#year", "1998")
    await page.fill("#body_part", "Left knee")
    await page.fill("#notes", "After a fall. The films are with my mother.")
    async with page.expect_navigation():
        await page.get_by_role("button", name="Save and continue").click()
    await window.close()
    window = await browser.new_context()
    page = await window.new_page()
    await sign_in(page, address, "doc@demo.example")
    async with page.expect_navigation():
        await page.get_by_role("button", name="Accept").click()
    await window.close()


async def resolve(page: Page, address: str, path: str) -> str:
    """The address of a page that is known by what is on another one."""
    kind, _, what = path.partition(":")
    if kind in BELOW:
        await page.goto(f"{address}/imaging")
        link = page.locator("main .list a.title", has_text=re.compile(what)).first
        return (await link.get_attribute("href") or "") + BELOW[kind]
    if kind in ("person", "patient"):
        await page.goto(f"{address}/{'sharing' if kind == 'person' else 'my-patients'}")
        return await page.locator("main .list a.title").first.get_attribute("href") or ""
    return path


async def take(page: Page, address: str, pages: dict[str, str], mark: str, only: set[str]) -> None:
    for name, path in pages.items():
        if only and name not in only:
            continue
        where = await resolve(page, address, path)
        await page.goto(address + where, wait_until="networkidle")
        await page.screenshot(path=OUT / f"{name}-{mark}.png", full_page=True)
        print(f"{name}-{mark}.png")


async def main(only: set[str]) -> None:
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    OUT.mkdir(exist_ok=True)
    async with demo_server() as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=FLAGS)
        await prepare(browser, address)
        for size, viewport in WIDTHS.items():
            for scheme in SCHEMES:
                mark = f"{size}-{scheme}"
                for email in (None, *PEOPLE):
                    window = await browser.new_context(viewport=viewport, color_scheme=scheme)
                    page = await window.new_page()
                    if email:
                        await sign_in(page, address, email)
                    await take(page, address, PEOPLE[email][1] if email else OPEN, mark, only)
                    await window.close()
        await browser.close()


if __name__ == "__main__":
    os.chdir(OUT.parent)
    asyncio.run(main(set(sys.argv[1:])))
