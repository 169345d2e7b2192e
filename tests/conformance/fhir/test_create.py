"""FHIR R4, 3.1.0.8 (create), 3.1.0.8.1 (conditional create), 3.1.0.1.7 (Prefer)."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import Api


async def test_create_gives_an_id_and_a_location(api: Api) -> None:
    """3.1.0.8: 201, Location with id and version; id and meta of the body are ignored."""
    given = {
        "id": "mine",
        "meta": {"versionId": "9", "lastUpdated": "2001-01-01T00:00:00Z", "tag": [{"code": "t"}]},
    }
    answer = await api.post("Observation", api.observation(**given))
    made = answer.json()
    assert answer.status_code == 201
    assert made["id"] != "mine"
    assert (made["meta"]["versionId"], made["meta"]["tag"]) == ("1", [{"code": "t"}])
    assert made["meta"]["lastUpdated"] > "2020"
    assert answer.headers["location"].endswith(f"/fhir/Observation/{made['id']}/_history/1")
    assert answer.headers["etag"] == 'W/"1"'


@pytest.mark.parametrize(("wish", "kind"), [("minimal", None), ("OperationOutcome", "OperationOutcome")])
async def test_prefer_return(api: Api, wish: str, kind: str | None) -> None:
    """3.1.0.1.7."""
    answer = await api.post("Observation", api.observation(), prefer=f"return={wish}")
    assert answer.status_code == 201
    assert "location" in answer.headers
    assert (answer.json()["resourceType"] if answer.content else None) == kind


async def test_conditional_create(api: Api) -> None:
    """3.1.0.8.1: no match 201; one match 200 and nothing written; several 412."""
    code = f"urn:test|{api.patient}"
    resource = api.observation(identifier=[{"system": "urn:test", "value": api.patient}])
    first = await api.post("Observation", resource, if_none_exist=f"identifier={code}")
    again = await api.post("Observation", resource, if_none_exist=f"identifier={code}")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    await api.made(resource)
    many = await api.post("Observation", resource, if_none_exist=f"identifier={code}")
    assert many.status_code == 412


async def test_conditional_create_with_an_unknown_parameter_is_refused(api: Api) -> None:
    """3.1.0.8.1: what is not understood must not widen the search."""
    for criteria in ("nonsense=1", "", "_count=1"):
        answer = await api.post("Observation", api.observation(), if_none_exist=criteria)
        assert answer.status_code in (400, 412), criteria


async def test_of_two_conditional_creates_at_once_one_wins(api: Api) -> None:
    """3.1.0.8.1 is atomic: never two resources, never a 500."""
    resource = api.observation(identifier=[{"system": "urn:race", "value": api.patient}])
    criteria = f"identifier=urn:race|{api.patient}"
    answers = await asyncio.gather(
        *(api.post("Observation", resource, if_none_exist=criteria) for _ in range(6))
    )
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(201) == 1, statuses
    assert set(statuses) <= {200, 201, 409, 412}
    assert len(await api.found(f"Observation?{criteria}")) == 1


async def test_the_body_must_be_of_the_type_of_the_address(api: Api) -> None:
    """3.1.0.8: 400."""
    answer = await api.post("Observation", {"resourceType": "Patient"})
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == ["resourceType"]


async def test_a_broken_rule_is_422_and_names_its_element(api: Api) -> None:
    """3.1.0.1.5: 422 for rules; OperationOutcome.issue.expression."""
    answer = await api.post("Observation", api.observation(status="wrong"))
    issue = answer.json()["issue"][0]
    assert answer.status_code == 422
    assert (issue["severity"], issue["code"]) == ("error", "code-invalid")
    assert issue["expression"] == ["Observation.status"]


async def test_the_server_makes_some_types_itself(api: Api) -> None:
    """ImagingStudies come from images, Endpoints and AuditEvents from the server: 405, after the scope was asked."""
    patient = {"reference": f"Patient/{api.patient}"}
    study = {"resourceType": "ImagingStudy", "status": "available", "subject": patient}
    for body in (study, {"resourceType": "AuditEvent"}, {"resourceType": "Endpoint"}):
        assert (await api.post(body["resourceType"], body)).status_code == 405  # type: ignore[arg-type]
