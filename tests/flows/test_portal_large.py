"""Ten thousand studies in one record: the list stays quick, because the server pages it."""

from __future__ import annotations

import re

import httpx

from server.core import clock
from tests.conftest import RunningServer
from tests.factories import People
from tests.flows.portal_steps import forms_of, submit

STUDIES = """
INSERT INTO study (patient_id, study_uid, fhir_id, standing, modalities, study_date, study_day, created_at, updated_at,
                   series_count, instance_count, fhir_stale, attributes)
SELECT $1, '1.2.' || n, $1 || '-' || n, 'mine', ARRAY[CASE WHEN n % 10 = 0 THEN 'MR' ELSE 'CT' END],
       day, to_char(day, 'YYYYMMDD'), $2, $2, 1, 100, false,
       convert_to('{"00081030": {"vr": "LO", "Value": ["Study ' || n || '"]}}', 'UTF8')
  FROM (SELECT n, date '2026-01-01' - n AS day FROM generate_series(1, $3) AS n) AS many
"""


async def test_ten_thousand_studies(client: httpx.AsyncClient, server: RunningServer, people: People) -> None:
    ada = await people.patient("Ada Moor")
    async with server.services.db.raw() as connection:
        await connection.execute(STUDIES, ada.fhir_id, clock.now(), 10_000)
    await people.session(client, ada)
    for path in ("/imaging", "/imaging?page=100", "/imaging?kind=MR", "/sharing/new"):
        page = await client.get(path)
        assert page.status_code == 200
        assert len(page.content) < 150_000
    first = await client.get("/imaging")
    assert "10000 studies" in first.text.replace(",", "")
    titles = re.findall(r'class="title"[^>]*>(Study \d+) ', first.text)
    assert titles == [f"Study {n}" for n in range(1, 51)]
    assert 'href="/imaging?page=2"' in first.text
    last = await client.get("/imaging?page=200")
    assert "Study 10000 " in last.text
    assert 'rel="next"' not in last.text
    assert "1000 studies" in (await client.get("/imaging?kind=MR")).text.replace(",", "")


async def test_finding_a_study(client: httpx.AsyncClient, server: RunningServer, people: People) -> None:
    """By its words or its kind; what is looked for stands in no address."""
    ada = await people.patient("Ada Moor")
    async with server.services.db.raw() as connection:
        await connection.execute(STUDIES, ada.fhir_id, clock.now(), 10_000)
        await connection.execute(
            "UPDATE study SET title_folded = 'knie 100%_links' WHERE patient_id = $1 AND study_uid = '1.2.77'",
            ada.fhir_id,
        )
    await people.session(client, ada)
    token = (await client.get("/imaging")).text.partition('name="csrf" value="')[2].partition('"')[0]
    for text, found in (("Knie 100%_", 1), ("100%l", 0), ("mri", 200), ("x' OR true --", 0)):
        page = await client.post("/imaging", data={"csrf": token, "text": text})
        assert page.status_code == 200
        assert page.text.count('class="title"') == found, text
        assert ("More than 200 studies fit" in page.text) is (text == "mri")
    assert (await client.post("/imaging", data={"csrf": token, "text": "  "})).headers[
        "location"
    ] == "/imaging"


async def test_a_choice_is_never_everything(
    client: httpx.AsyncClient, server: RunningServer, people: People
) -> None:
    """Rows 30-32, "Beyond the seed" 4: an old study among many stays chosen; no study ticked is not all of them."""
    ada = await people.patient("Ada Moor")
    async with server.services.db.raw() as connection:
        await connection.execute(STUDIES, ada.fhir_id, clock.now(), 250)
    await people.session(client, ada)
    old, older = "1.2.249", "1.2.250"
    for form in ("/sharing/new", "/sharing/links/new"):  # from the old study's own page
        fields = _fields(await client.get(f"{form}?study={old}"), form)
        assert (fields["which"], fields["study"]) == (["chosen"], [old])
        assert _fields(await client.get(form), form)["which"] == ["whole"]
        odd = _fields(await client.get(f"{form}?study=x%FF'"), form)
        assert (odd["which"], odd.get("study")) == (["chosen"], None)  # nothing is ticked, so nothing is sent
        to = {"name": "Dr Berg", "email": "berg@clinic.example", "act": "send"}
        for wrong in ({"which": "chosen", "study": []}, {"which": "whole", "study": [old]}):
            assert (await submit(client, form, **to, **wrong)).status_code == 422
    share = await people.share(ada, await people.doctor("Anna Berg"), studies=[old, older])
    person = f"/sharing/{share}"
    assert _fields(await client.get(person), f"{person}/change")["study"] == [old, older]
    kept = await submit(client, person, f"{person}/change", right=["images"])
    assert kept.status_code == 303
    chosen = "SELECT studies FROM share WHERE id::text = $1"
    async with server.services.db.raw() as connection:
        assert set(await connection.fetchval(chosen, share)) == {old, older}
        # Both were deleted since: whoever presses Save on that page shares no more than before.
        await connection.execute(
            "UPDATE study SET deleted_at = $2 WHERE patient_id = $1 AND study_uid = ANY ($3)",
            *(ada.fhir_id, clock.now(), [old, older]),
        )
    refused = await submit(client, person, f"{person}/change", right=["images"])
    assert refused.status_code == 422
    assert "Tick at least one study" in refused.text
    async with server.services.db.raw() as connection:
        await connection.execute(
            "UPDATE study SET deleted_at = $2 WHERE patient_id = $1", ada.fhir_id, clock.now()
        )
    await submit(client, person, f"{person}/change", right=["images", "reports"])
    async with server.services.db.raw() as connection:
        assert set(await connection.fetchval(chosen, share)) == {old, older}


def _fields(page: httpx.Response, action: str) -> dict[str, list[str]]:
    found = next(each["fields"] for each in forms_of(page) if each["action"] == action)
    return dict(found)
