"""Activity: every access by anyone, narrowed and taken along ("Beyond the seed" 3)."""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from io import StringIO

import httpx

from server.core import clock
from tests.factories import bearer
from tests.flows.portal_steps import submit
from tests.flows.portal_studies import keep


async def test_who_what_and_when(server, people, client):
    """The diary by person, kind and date; a refused try is in it; the table holds what the page shows."""
    person, doctor = await people.patient("Ada Moor"), await people.doctor("Bo Reader")
    stranger = await people.doctor("=Cmd Injector")
    study = await keep(client, people, person, StudyDescription="Knee")
    await people.share(person, doctor)
    headers = bearer(await people.token(doctor, "user/*.rs"))
    assert (await client.get(f"/dicomweb/studies/{study.uid}/metadata", headers=headers)).status_code == 200
    refused = bearer(await people.token(stranger, "user/*.rs"))
    asked = await client.get(f"/fhir/ImagingStudy?patient={person.fhir_id}", headers=refused)
    assert asked.status_code == 403
    async with httpx.AsyncClient(base_url=server.url) as browser:
        await people.session(browser, person)
        page = (await browser.get("/activity")).text
        assert "looked at a study: Knee (CT)" in page
        option = re.search(r'<option value="([0-9a-f-]{36})">Bo Reader</option>', page)
        assert option
        theirs = (await browser.get(f"/activity?who={option[1]}")).text
        assert "looked at a study: Knee" in theirs
        assert "You added images" not in theirs
        tries = (await browser.get("/activity?kind=refused")).text
        assert "was refused" in tries
        assert "looked at a study: Knee" not in tries
        tomorrow = (clock.now() + timedelta(days=1)).date()
        assert "Nothing fits" in (await browser.get(f"/activity?since={tomorrow}")).text
        assert "looked at a study: Knee" in (await browser.get(f"/activity?until={tomorrow}&kind=looks")).text
        for odd in ("who=x", "kind=x", "since=2026-13-01", "until=%00", "page=-1"):
            assert (await browser.get(f"/activity?{odd}")).status_code == 200, odd

        table = await browser.get("/activity.csv")
        assert table.headers["content-type"].startswith("text/csv")
        rows = list(csv.reader(StringIO(table.text.lstrip("\ufeff"))))
        assert rows[0][:2] == ["When (UTC)", "Who"]
        assert ["Bo Reader", "doctor"] in [row[1:3] for row in rows]
        assert not [cell for row in rows for cell in row if cell.startswith("=")]
        assert "Bo Reader" in (await browser.get(f"/activity.csv?who={option[1]}")).text
        fhir = await browser.get(f"/fhir/AuditEvent?patient={person.fhir_id}&_count=1000")
        assert fhir.status_code == 200
        assert "Bo Reader" in fhir.text
        exported = (await browser.get("/activity")).text
        assert "You exported the record" in exported

    async with httpx.AsyncClient(base_url=server.url) as browser:  # of one's own record only
        await people.session(browser, await people.patient("Other Person"))
        assert "Bo Reader" not in (await browser.get(f"/activity.csv?who={option[1]}")).text
        assert "Bo Reader" not in (await browser.get(f"/activity?who={option[1]}")).text


async def test_a_guest_and_a_viewer_are_in_it(server, people, client):
    """What a viewer on a desktop does stands under its person, with the program's name."""
    person = await people.patient("Ada Moor")
    study = await keep(client, people, person)
    async with httpx.AsyncClient(base_url=server.url) as browser:
        await people.session(browser, person)
        made = await submit(browser, f"/studies/{study.uid}/viewers", viewer="Weasis")
        key = re.search(r"Bearer%20(lbp_[\w-]+)", made.text)
        assert key
        root = f"/patients/{person.fhir_id}/dicomweb/studies/{study.uid}"
        assert (await client.get(f"{root}/metadata", headers=bearer(key[1]))).status_code == 200
        assert "You (through Weasis) looked at a study" in (await browser.get("/activity")).text
