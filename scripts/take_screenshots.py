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

TOP = Path(__file__).resolve().parent.parent
OUT = Path(os.environ.get("SCREENSHOTS") or Path(tempfile.gettempdir()) / "lightbox-screenshots")
BIRTH_DATE = "1975-05-17"  # of the demo patient
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
    "guest-door": "door:",
    "guest-dead": "/link/made-up",
}
PATIENT = {
    "imaging": "/imaging",
    "study": "study:CT",
    "study-ultrasound": "study:Ultrasound",
    "correct": "correct:CT",
    "viewers": "viewers:CT",
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
    "link-form": "/sharing/links/new",
    "link": "link:",
    "person": "person:",
    "activity": "/activity",
    "account": "/account",
    "profile": "/account/profile",
    "permission": "/account/permission",
    "security": "/account/security",
    "apps": "/oauth/manage",
    "your-data": "/account/data",
    "consents": "/account/consents",
    "delete": "/account/delete",
}
DOCTOR = {"patients": "/my-patients", "patient": "patient:", "ask": "/my-patients/ask"}
BELOW = {
    "study": "",
    "preview": "/preview",
    "report": "/reports/add",
    "correct": "/correct",
    "viewers": "/viewers",
    "record": "",
    "record-add": "/add",
}
GUEST = {"guest-studies": "door:", "guest-study": "guest:CT", "guest-preview": "guest-preview:CT"}
doors: dict[str, str] = {}  # the guest's, once it is made
PEOPLE = {
    "pat@demo.example": ("demo-patient-pass", PATIENT),
    "doc@demo.example": ("demo-doctor-pass", DOCTOR),
}


@asynccontextmanager
async def demo_server() -> AsyncIterator[tuple[str, Path]]:
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
            yield address, Path(data)
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
            await page.get_by_role("button", name="See what they will see").click()
        if name == "Dr Dana Doctor":
            await page.screenshot(path=OUT / "share-preview.png", full_page=True)
        async with page.expect_navigation():
            await page.get_by_role("button", name="Send the invitation").click()
    await page.goto(f"{address}/sharing/links/new")
    await page.fill("#name", "Uncle Ed")
    await page.fill("#email", "ed@family.example")
    async with page.expect_navigation():
        await page.get_by_role("button", name="Make the link").click()
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


async def link_of_guest(browser: Browser, address: str) -> str:
    """The path of the guest's link, from the patient's page."""
    window = await browser.new_context()
    page = await window.new_page()
    await sign_in(page, address, "pat@demo.example")
    await page.goto(address + await resolve(page, address, "link:"))
    found = re.search(r"/link/[0-9a-f-]{36}", await page.inner_text("main"))
    await window.close()
    assert found
    return found[0]


async def enter(page: Page, address: str, data: Path) -> None:
    """Through the guest's door, with the code from the mail."""
    before = len(codes_in(data))
    await page.goto(address + doors["guest"])
    await page.fill("#birth_date", BIRTH_DATE)
    async with page.expect_navigation():
        await page.get_by_role("button", name="Go on").click()
    for _ in range(100):
        if len(codes_in(data)) > before:
            break
        await asyncio.sleep(0.2)
    await page.fill("#code", codes_in(data)[-1])
    async with page.expect_navigation():
        await page.get_by_role("button", name="Open the images").click()


def codes_in(data: Path) -> list[str]:
    """The codes mailed so far, the oldest first."""
    mails = sorted((data / "outbox").glob("*.eml"), key=lambda each: each.stat().st_mtime_ns)
    found = (re.search(r"Subject: Your code: (\d{8})", mail.read_text()) for mail in mails)
    return [each[1] for each in found if each]


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
    if kind == "link":
        await page.goto(f"{address}/sharing")
        return await page.locator("a.title[href^='/sharing/links/']").first.get_attribute("href") or ""
    if kind == "door":
        return doors["guest"]
    if kind.startswith("guest"):
        await page.goto(address + doors["guest"])
        link = page.locator("main .list a.title", has_text=re.compile(what)).first
        return (await link.get_attribute("href") or "") + ("/preview" if "preview" in kind else "")
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
    await asyncio.to_thread(OUT.mkdir, parents=True, exist_ok=True)
    async with demo_server() as (address, data), async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=FLAGS)
        await prepare(browser, address)
        doors["guest"] = await link_of_guest(browser, address)
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
                if not only or only & GUEST.keys():
                    window = await browser.new_context(viewport=viewport, color_scheme=scheme)
                    page = await window.new_page()
                    await enter(page, address, data)
                    await take(page, address, GUEST, mark, only)
                    await window.close()
        await browser.close()


if __name__ == "__main__":
    os.chdir(TOP)
    asyncio.run(main(set(sys.argv[1:])))
