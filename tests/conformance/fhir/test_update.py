"""FHIR R4, 3.1.0.4 (update), 3.1.0.4.3 (conditional update), 3.1.0.5 (contention), 3.1.0.6 (patch)."""

from __future__ import annotations

import asyncio

import pytest

from tests.factories import bearer

from .conftest import Api


async def test_update_makes_the_next_version(api: Api) -> None:
    """3.1.0.4: 200 with the new version."""
    made = await api.made(api.observation())
    answer = await api.put(f"Observation/{made['id']}", made | {"status": "amended"})
    assert answer.status_code == 200
    assert answer.json()["meta"]["versionId"] == "2"
    assert answer.headers["etag"] == 'W/"2"'


async def test_update_that_changes_nothing_makes_no_version(api: Api) -> None:
    """3.1.0.4: a server may leave the version as it is."""
    made = await api.made(api.observation())
    answer = await api.put(f"Observation/{made['id']}", made)
    assert (answer.status_code, answer.json()["meta"]["versionId"]) == (200, "1")


async def test_the_body_must_carry_the_id_of_the_address(api: Api) -> None:
    """3.1.0.4: missing or different is 400."""
    made = await api.made(api.observation())
    for body in (api.observation(), made | {"id": "other"}):
        answer = await api.put(f"Observation/{made['id']}", body)
        assert answer.status_code == 400
        assert answer.json()["issue"][0]["expression"] == ["Observation.id"]


async def test_if_match(api: Api) -> None:
    """3.1.0.5: another version is 412; what is no entity tag is 400."""
    made = await api.made(api.observation())
    path = f"Observation/{made['id']}"
    assert (await api.put(path, made | {"status": "amended"}, if_match='W/"1"')).status_code == 200
    assert (await api.put(path, made | {"status": "corrected"}, if_match='W/"1"')).status_code == 412
    assert (await api.put(path, made | {"status": "corrected"}, if_match="nonsense")).status_code == 400
    assert (await api.get(path)).json()["status"] == "amended"


async def test_of_two_writers_with_if_match_one_wins(api: Api) -> None:
    """3.1.0.5."""
    made = await api.made(api.observation())
    path = f"Observation/{made['id']}"
    answers = await asyncio.gather(
        *(
            api.put(path, api.observation(id=made["id"], issued=f"202{n}-01-01T00:00:00Z"), if_match='W/"1"')
            for n in range(5)
        )
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(200) == 1
    assert set(statuses[1:]) <= {409, 412}


async def test_a_deleted_resource_comes_back_by_put(api: Api) -> None:
    """3.1.0.4.1: 201, and its history goes on."""
    made = await api.made(api.observation())
    await api.delete(f"Observation/{made['id']}")
    answer = await api.put(f"Observation/{made['id']}", made)
    assert (answer.status_code, answer.json()["meta"]["versionId"]) == (201, "3")


async def test_people_do_not_choose_ids(api: Api) -> None:
    """Decision 1: PUT to an unknown id is 405 for people and apps."""
    answer = await api.put("Observation/of-mine", api.observation(id="of-mine"))
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    root = await api.client.delete("/fhir", headers=bearer(api.token))  # RFC 9110, 15.5.6
    assert (root.status_code, root.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_a_resource_does_not_move_to_another_patient(api: Api, stranger: Api) -> None:
    """Whose a resource is stays; and whether the other patient exists is not told."""
    made = await api.made(api.observation())
    for other in (stranger.patient, "nobody"):
        moved = made | {"subject": {"reference": f"Patient/{other}"}}
        assert (await api.put(f"Observation/{made['id']}", moved)).status_code == 422


async def test_conditional_update(api: Api) -> None:
    """3.1.0.4.3."""
    resource = api.observation(identifier=[{"system": "urn:cu", "value": api.patient}])
    criteria = f"Observation?identifier=urn:cu|{api.patient}"
    created = await api.put(criteria, resource)
    updated = await api.put(criteria, resource | {"status": "amended"})
    assert (created.status_code, updated.status_code) == (201, 200)
    assert updated.json()["id"] == created.json()["id"]
    assert (await api.put(criteria, resource | {"id": "other"})).status_code == 400
    await api.made(resource)
    assert (await api.put(criteria, resource)).status_code == 412
    assert (await api.put("Observation", resource)).status_code in (400, 412)


async def test_json_patch(api: Api) -> None:
    """3.1.0.6 with RFC 6902."""
    made = await api.made(api.observation(valueQuantity={"value": 1, "unit": "mg"}))
    path = f"Observation/{made['id']}"
    steps = [
        {"op": "test", "path": "/status", "value": "final"},
        {"op": "replace", "path": "/status", "value": "amended"},
        {"op": "add", "path": "/category", "value": [{"text": "a"}]},
        {"op": "add", "path": "/category/-", "value": {"text": "b"}},
        {"op": "remove", "path": "/valueQuantity"},
    ]
    answer = await api.patch(path, steps)
    patched = answer.json()
    assert answer.status_code == 200
    assert (patched["status"], [c["text"] for c in patched["category"]]) == ("amended", ["a", "b"])
    assert "valueQuantity" not in patched
    assert patched["meta"]["versionId"] == "2"


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([{"op": "test", "path": "/status", "value": "wrong"}], 422),
        ([{"op": "replace", "path": "/status", "value": "wrong"}], 422),
        ([{"op": "replace", "path": "/nowhere/9", "value": 1}], 422),
        ([{"op": "replace", "path": "/id", "value": "x"}], 400),
        ([{"op": "replace", "path": "/meta/versionId", "value": "7"}], 400),
        ([{"op": "remove", "path": ""}], 422),
        ([{"op": "explode", "path": "/status"}], 400),
        ({"op": "test"}, 400),
        ([5], 400),
        ("not json", 400),
    ],
)
async def test_a_patch_that_cannot_be(api: Api, steps: object, status: int) -> None:
    """3.1.0.6: a failed test 422, what is no patch 400; nothing changes."""
    made = await api.made(api.observation())
    answer = await api.patch(f"Observation/{made['id']}", steps)
    assert answer.status_code == status, answer.text
    assert (await api.get(f"Observation/{made['id']}")).json() == made


async def test_a_patch_of_nothing_makes_no_version(api: Api) -> None:
    made = await api.made(api.observation())
    answer = await api.patch(f"Observation/{made['id']}", [])
    assert (answer.status_code, answer.json()["meta"]["versionId"]) == (200, "1")
