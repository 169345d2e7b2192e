"""FHIR R4, Patient-match: who is it probably, among those in reach."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import bearer

Json = dict[str, Any]
GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
SYSTEM = "urn:oid:1.2.3"


@pytest.fixture
async def hospital(client, people):
    """A system's headers, and three patients it made."""
    headers = bearer(await people.system_token(await people.backend("Matcher")))
    for number, (family, given, born) in enumerate(
        [("Moor", "Ada", "1980-02-29"), ("Moor", "Adam", "1980-02-29"), ("Stone", "Ada", "1950-01-01")]
    ):
        body = {
            "resourceType": "Patient",
            "identifier": [{"system": SYSTEM, "value": f"MRN-{number}"}],
            "name": [{"family": family, "given": [given]}],
            "birthDate": born,
            "gender": "female",
        }
        assert (await client.post("/fhir/Patient", headers=headers, json=body)).status_code == 201
    return headers


async def matched(client, headers, patient: Json, **more: Any) -> list[tuple[str, str]]:
    """(given name, grade) of each match, in order."""
    parameter = [{"name": "resource", "resource": {"resourceType": "Patient", **patient}}]
    parameter += [{"name": name, **value} for name, value in more.items()]
    body = {"resourceType": "Parameters", "parameter": parameter}
    answer = await client.post("/fhir/Patient/$match", headers=headers, json=body)
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    assert bundle["type"] == "searchset"
    found = []
    scores = []
    for one in bundle.get("entry", []):
        [grade] = [each["valueCode"] for each in one["search"]["extension"] if each["url"] == GRADE]
        scores.append(one["search"]["score"])
        found.append((one["resource"]["name"][0]["given"][0], grade))
    assert scores == sorted(scores, reverse=True)
    return found


async def test_by_identifier(client, hospital):
    asked = {"identifier": [{"system": SYSTEM, "value": "MRN-0"}], "name": [{"family": "MOOR"}]}
    assert await matched(client, hospital, asked) == [("Ada", "certain")]
    against = {"identifier": [{"system": SYSTEM, "value": "MRN-0"}], "birthDate": "1933-03-03"}
    assert await matched(client, hospital, against) == [("Ada", "probable")]


async def test_by_demographics(client, hospital):
    asked = {"name": [{"family": "Moor", "given": ["Ada"]}], "birthDate": "1980-02-29"}
    found = await matched(client, hospital, asked)
    assert found[0] == ("Ada", "probable")
    assert ("Adam", "possible") in found
    assert await matched(client, hospital, asked, onlyCertainMatches={"valueBoolean": True}) == []
    assert len(await matched(client, hospital, asked, count={"valueInteger": 1})) == 1


async def test_only_among_those_in_reach(client, people, hospital):
    """Another organization, and a patient's own app, find nobody of ours."""
    asked = {"identifier": [{"system": SYSTEM, "value": "MRN-0"}]}
    other = bearer(await people.system_token(await people.backend("Elsewhere")))
    assert await matched(client, other, asked) == []
    body = {"resourceType": "Patient", **asked}
    own = bearer(await people.token(await people.patient("Eve")))
    assert (await client.post("/fhir/Patient/$match", headers=own, json=body)).status_code == 403


async def test_nothing_to_match_by(client, hospital):
    for body, status in [
        ({"resourceType": "Patient", "gender": "female"}, 422),
        ({"resourceType": "Parameters"}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "resource"}]}, 400),
        ({"resourceType": "Observation"}, 400),
    ]:
        assert (await client.post("/fhir/Patient/$match", headers=hospital, json=body)).status_code == status
