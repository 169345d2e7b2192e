"""Every sample file that the registries have, through the whole way: stored by DICOMweb, and what FHIR makes of it.

R4 structure, bindings and invariants as four validators of others see them (outside.py). The long form: some minutes.
"""

from __future__ import annotations

import httpx
import pytest

from tests.conformance.dicomweb.samples import MULTIPART, body
from tests.factories import People, bearer
from tests.unit.imaging.reports import encapsulated
from tests.unit.imaging.samples import all_samples

from .conftest import Json
from .outside import findings

TYPES = (
    "ImagingStudy",
    "DiagnosticReport",
    "Device",
    "Provenance",
    "Endpoint",
    "DocumentReference",
    "Binary",
)


@pytest.mark.long
async def test_what_real_files_become_is_valid(client: httpx.AsyncClient, people: People) -> None:
    ada = await people.patient()
    headers = bearer(await people.token(ada))
    stored = 0
    for path in [*all_samples(), None]:
        content = body([path.read_bytes() if path else encapsulated(b"%PDF-1.7 " + b"0" * 200_000)])
        answer = await client.post(
            "/dicomweb/studies", content=content, headers=headers | {"Content-Type": MULTIPART}
        )
        assert answer.status_code in (200, 202, 400, 409), path
        stored += answer.status_code == 200
    assert stored > 150
    found: dict[str, Json] = {}
    for type in TYPES:
        next_page = f"/fhir/{type}?_count=100"
        while next_page:
            page = (await client.get(next_page, headers=headers)).json()
            assert page["resourceType"] == "Bundle", page
            found |= {each["fullUrl"]: each["resource"] for each in page.get("entry", [])}
            next_page = next((each["url"] for each in page["link"] if each["relation"] == "next"), "")
    for each in [one for one in found.values() if one["resourceType"] == "ImagingStudy"]:
        manifest = (await client.get(f"/fhir/Bundle/{each['id']}", headers=headers)).json()
        assert manifest["type"] == "document"
        found[f"manifest of {each['id']}"] = manifest
    kinds = {each["resourceType"] for each in found.values()}
    assert {*TYPES, "Bundle"} <= kinds
    said = await findings(list(found.values()))
    assert not said, "\n".join(said[:40])
