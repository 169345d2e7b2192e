"""What was stored with markup, formulas, line ends and paths in it comes out as text wherever it is shown, and slow
clients hold up nobody else.

DICOM values, a person's name, FHIR strings and file names: on pages, in CSV, in headers, in the log, in a ZIP.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
import zipfile
from urllib.parse import urlsplit

import httpx
import pytest
import structlog

from tests.conformance.dicomweb.samples import instance, store
from tests.conftest import RunningServer
from tests.factories import People, bearer
from tests.flows.test_portal_reports import add_report

SCRIPT = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(1)>"
FORMULA = "=HYPERLINK(1)"
PATH = '../../../etc/passwd"\r\nX-Evil: 1\r\n\r\n.txt'
PDF = b"%PDF-1.4\n%%EOF\n"


async def test_what_was_stored_is_text(server: RunningServer, people: People) -> None:
    """Pages, CSV, headers, narrative, ZIP: nothing of it is markup, a formula, a header or a way out."""
    name = f"{FORMULA}{SCRIPT}"
    person = await people.patient(name)
    study = instance(
        StudyDescription=f"{IMAGE}{SCRIPT}",
        SeriesDescription=SCRIPT,
        InstitutionName=IMAGE,
        AccessionNumber="=1+1",
        StudyID="../../x",
        PatientName=f"{SCRIPT}^{IMAGE}",
    )
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as web:
        headers = bearer(await people.token(person))
        assert (await store(web, study, **headers)).status_code == 200
        finding = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": SCRIPT},
            "subject": {"reference": f"Patient/{person.fhir_id}"},
            "valueString": f"{FORMULA}{IMAGE}",
        }
        assert (await web.post("/fhir/Observation", headers=headers, json=finding)).status_code == 201
        archive = await web.get(
            f"/dicomweb/studies/{study.study}", headers=headers | {"Accept": "application/zip"}
        )
        _stays_inside(archive)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
        await people.session(browser, person)
        await browser.post(f"/studies/{study.study}/mine", data={"csrf": await _csrf(browser)})
        with structlog.testing.capture_logs() as logged:
            added = await add_report(browser, study.study, text=SCRIPT, files={PATH: PDF})
        assert added.status_code in (200, 303, 422)
        assert "alert(1)" not in str(logged)
        pages = [
            "/imaging",
            f"/studies/{study.study}",
            "/activity",
            "/account/profile",
            "/account",
            "/account/data",
        ]
        found = await browser.get(f"/studies/{study.study}")
        pages += sorted(set(re.findall(r'href="(/reports/[^"]+)"', found.text)))
        for path in pages:
            answer = await browser.get(path)
            assert answer.status_code == 200, path
            assert SCRIPT not in answer.text, path
            assert IMAGE not in answer.text, path
            assert "x-evil" not in answer.headers, path
            assert (
                "unsafe-inline"
                not in answer.headers["content-security-policy"].partition("script-src")[2].partition(";")[0]
            )
        table = await browser.get("/activity.csv")
        cells = [cell for row in csv.reader(io.StringIO(table.text.lstrip("\ufeff"))) for cell in row]
        assert any("HYPERLINK" in cell for cell in cells)
        assert not [cell for cell in cells if cell[:1] in "=+-@\t\r" and cell]


async def _csrf(browser: httpx.AsyncClient) -> str:
    return re.findall(r'name="csrf" value="([^"]+)"', (await browser.get("/account/security")).text)[0]


def _stays_inside(archive: httpx.Response) -> None:
    assert archive.status_code == 200, archive.text
    assert not re.search(
        r"[\r\n\"<>]|\.\./", archive.headers.get("content-disposition", "").replace('"', "", 2)
    )
    with zipfile.ZipFile(io.BytesIO(archive.content)) as read:
        for name in read.namelist():
            assert not name.startswith(("/", "\\"))
            assert ".." not in name.split("/")
            assert "<" not in name


@pytest.mark.parametrize("count", [80])
async def test_slow_clients_hold_up_nobody(server: RunningServer, people: People, count: int) -> None:
    """Connections that send a byte now and then, in the head or in the body: everybody else is answered at once."""
    parts = urlsplit(server.url)
    token = await people.token(await people.patient())
    form, stow = (
        "application/x-www-form-urlencoded",
        'multipart/related; type="application/dicom"; boundary=x',
    )
    heads = (
        "GET /fhir/Patient HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        f"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {form}\r\nContent-Length: 900\r\n\r\na",
        f"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {stow}\r\nContent-Length: 90000\r\n\r\n--x",
    )
    held = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(count)]
    try:
        for turn in range(3):
            for number, (_, writer) in enumerate(held):
                writer.write(heads[number % 3].encode() if turn == 0 else b"a")
            async with httpx.AsyncClient(base_url=server.url, timeout=10, headers=bearer(token)) as web:
                for path in ("/fhir/Patient", "/dicomweb/studies", "/sign-in"):
                    assert (await web.get(path)).status_code in (200, 204)
    finally:
        for _, writer in held:
            writer.transport.abort()
