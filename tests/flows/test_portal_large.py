"""Ten thousand studies in one record: the list stays quick, because the server pages it."""

from __future__ import annotations

import re
import time

import httpx

from server.core import clock
from tests.conftest import RunningServer
from tests.factories import People

STUDIES = """
INSERT INTO study (patient_id, study_uid, fhir_id, standing, modalities, study_date, study_day, created_at, updated_at,
                   series_count, instance_count, fhir_stale, attributes)
SELECT $1, '1.2.' || n, $1 || '-' || n, 'mine', ARRAY[CASE WHEN n % 10 = 0 THEN 'MR' ELSE 'CT' END],
       day, to_char(day, 'YYYYMMDD'), $2, $2, 1, 100, false,
       convert_to('{"00081030": {"vr": "LO", "Value": ["Study ' || n || '"]}}', 'UTF8')
  FROM (SELECT n, date '2026-01-01' - n AS day FROM generate_series(1, 10000) AS n) AS many
"""


async def test_ten_thousand_studies(client: httpx.AsyncClient, server: RunningServer, people: People) -> None:
    ada = await people.patient("Ada Moor")
    async with server.services.db.raw() as connection:
        await connection.execute(STUDIES, ada.fhir_id, clock.now())
    await people.session(client, ada)
    seconds = []
    for path in ("/imaging", "/imaging?page=100", "/imaging?kind=MR", "/sharing/new"):
        began = time.perf_counter()
        page = await client.get(path)
        seconds.append(time.perf_counter() - began)
        assert page.status_code == 200
        assert len(page.content) < 150_000
    assert max(seconds) < 2, seconds  # a fraction of it on a machine that does nothing else
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
        await connection.execute(STUDIES, ada.fhir_id, clock.now())
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
    assert (await client.post("/imaging", data={"csrf": token, "text": "  "})).headers[
        "location"
    ] == "/imaging"
