"""SMART's own JavaScript client goes through whole launches in a real browser, from an origin of its own.

SMART App Launch 2.2: discovery, PKCE, CORS, refresh; https://docs.smarthealthit.org/client-js/
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.browser import chromium
from tests.conftest import RunningServer
from tests.factories import People, Person

from .driver import register

CLIENT = Path(__file__).parents[2] / "assets" / "fhirclient" / "build" / "fhir-client.pure.min.js"
SCOPE = "launch/patient openid fhirUser offline_access patient/Patient.read patient/ImagingStudy.read"
LAUNCH = """<!doctype html><script src="/fhir-client.js"></script><script>
const app = {clientId: %(client)r, scope: %(scope)r, redirectUri: "index.html", pkceMode: "required", %(iss)s};
FHIR.oauth2.authorize(app)
  .catch(error => document.title = "ERROR " + error.message)
</script>"""
INDEX = """<!doctype html><script src="/fhir-client.js"></script><script>
FHIR.oauth2.ready()
  .then(async client => {
    const patient = await client.patient.read();
    const user = await client.user.read();
    const studies = await client.request("ImagingStudy?patient=" + client.patient.id);
    await client.refresh();
    const again = await client.patient.read();
    document.title = ["READ", patient.id, again.id, user.id, studies.resourceType].join(" ");
  })
  .catch(error => document.title = "ERROR " + error.message)
</script>"""


@asynccontextmanager
async def app_at(pages: dict[str, str]) -> AsyncIterator[str]:
    """A web server of the app's; the pages may be filled in while it runs."""

    if not CLIENT.exists():
        pytest.skip("SMART's JavaScript client was not fetched (scripts/test does)")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        path = line.partition("?")[0]
        text = CLIENT.read_text() if path == "/fhir-client.js" else pages.get(path, "")
        kind = "text/javascript" if path.endswith(".js") else "text/html"
        body = text.encode()
        status = "200 OK" if body else "404 Not Found"
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def sign_in_and_allow(page: Page, person: Person) -> None:
    await page.fill("input[name=email]", person.email)
    await page.fill("input[name=password]", person.password)
    await page.press("input[name=password]", "Enter")
    await page.click("button[name=decision][value=allow]")


@pytest.mark.browser
async def test_standalone_launch(server: RunningServer, people: People) -> None:
    person = await people.patient()
    pages = {"/index.html": INDEX}
    async with app_at(pages) as origin, chromium() as browser:
        app = await register(server, redirect_uris=[f"{origin}/index.html"])
        iss = f"iss: {server.url + '/fhir'!r}"
        pages["/launch.html"] = LAUNCH % {"client": app.id, "scope": SCOPE, "iss": iss}
        page = await browser.new_page()
        await page.goto(f"{origin}/launch.html")
        await sign_in_and_allow(page, person)
        await page.wait_for_function("/READ|ERROR/.test(document.title)")
        assert await page.title() == f"READ {person.fhir_id} {person.fhir_id} {person.fhir_id} Bundle"


@pytest.mark.browser
async def test_ehr_launch(server: RunningServer, people: People) -> None:
    person = await people.patient()
    pages = {"/index.html": INDEX}
    async with app_at(pages) as origin, chromium() as browser:
        start = f"{origin}/launch.html"
        app = await register(server, redirect_uris=[f"{origin}/index.html"], launch_url=start)
        scope = SCOPE.replace("launch/patient", "launch")
        pages["/launch.html"] = LAUNCH % {"client": app.id, "scope": scope, "iss": ""}
        page = await browser.new_page()
        await page.goto(f"{server.url}/oauth/launch?patient={person.fhir_id}")
        await page.fill("input[name=email]", person.email)
        await page.fill("input[name=password]", person.password)
        await page.press("input[name=password]", "Enter")
        await page.click(f"form:has(input[value='{app.id}']) button")
        await page.click("button[name=decision][value=allow]")
        await page.wait_for_function("/READ|ERROR/.test(document.title)")
        assert (await page.title()).startswith(f"READ {person.fhir_id}")
