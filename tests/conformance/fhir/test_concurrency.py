"""Two at once: one wins, nothing is half written, nobody gets a 500.

FHIR R4, 3.1.0.2.3 (If-Match), 3.1.0.8.1 (conditional create), 3.1.0.11 (transactions are atomic).
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from server.core.ids import new_id
from tests.factories import bearer

Json = dict[str, Any]
WRITERS = 6


async def at_once(*asked: Any) -> list[httpx.Response]:
    answers = await asyncio.gather(*asked)
    assert all(answer.status_code < 500 for answer in answers), [a.text for a in answers]
    return list(answers)


def statuses(answers: list[httpx.Response]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


async def test_writers_with_if_match(api):
    """Exactly one of those who saw the same version changes it."""
    made = await api.made(api.observation())
    path = f"Observation/{made['id']}"
    bodies = [{**made, "valueString": f"by {number}"} for number in range(WRITERS)]
    answers = await at_once(*(api.put(path, body, if_match='W/"1"') for body in bodies))
    assert statuses(answers) == [200] + [412] * (WRITERS - 1)
    history = (await api.get(f"{path}/_history")).json()
    assert history["total"] == 2


async def test_writers_without_if_match(api):
    """Each is a version of its own, numbered without gaps."""
    made = await api.made(api.observation())
    path = f"Observation/{made['id']}"
    bodies = [{**made, "valueString": f"by {number}"} for number in range(WRITERS)]
    answers = await at_once(*(api.put(path, body) for body in bodies))
    assert set(statuses(answers)) <= {200, 409}
    entries = (await api.get(f"{path}/_history")).json()["entry"]
    versions = [int(entry["resource"]["meta"]["versionId"]) for entry in entries]
    assert versions == list(range(len(entries), 0, -1))
    assert len(entries) == 1 + statuses(answers).count(200)


async def test_patches_at_once(api):
    """A patch is applied to what is there, never to what was read before."""
    made = await api.made(api.observation(note=[{"text": "begin"}]))
    path = f"Observation/{made['id']}"
    patches = [[{"op": "add", "path": "/note/-", "value": {"text": f"n{n}"}}] for n in range(WRITERS)]
    answers = await at_once(*(api.patch(path, patch) for patch in patches))
    done = statuses(answers).count(200)
    notes = (await api.get(path)).json()["note"]
    assert len(notes) == 1 + done


async def test_conditional_creates_of_one_identifier(api):
    """One creates, the others find what it created (or are asked to try again)."""
    value = new_id()
    body = api.observation(identifier=[{"system": "urn:once", "value": value}])
    query = f"identifier=urn:once|{value}"
    answers = await at_once(*(api.post("Observation", body, if_none_exist=query) for _ in range(WRITERS)))
    assert statuses(answers).count(201) == 1
    assert set(statuses(answers)) <= {200, 201, 409, 412}
    assert len(await api.found(f"Observation?{query}")) == 1


async def test_conditional_updates_of_one_identifier(api):
    """The same by PUT: one is created, the others change it."""
    value = new_id()
    query = f"Observation?identifier=urn:once|{value}"
    bodies = [
        api.observation(identifier=[{"system": "urn:once", "value": value}], valueString=f"by {n}")
        for n in range(WRITERS)
    ]
    answers = await at_once(*(api.put(query, body) for body in bodies))
    assert statuses(answers).count(201) == 1
    assert set(statuses(answers)) <= {200, 201, 409, 412}
    assert len(await api.found(query)) == 1


def transaction(*entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


async def test_a_transaction_against_updates(client, api):
    """The transaction is whole or not there, whatever happens to what it touches."""
    made = await api.made(api.observation())
    path, headers = f"Observation/{made['id']}", bearer(api.token)
    marks = [new_id() for _ in range(3)]

    def both(mark: str) -> Json:
        tagged = [{"system": "urn:mark", "value": mark}]
        return transaction(
            {
                "request": {"method": "POST", "url": "Observation"},
                "resource": api.observation(identifier=tagged),
            },
            {"request": {"method": "PUT", "url": path}, "resource": {**made, "identifier": tagged}},
        )

    answers = await at_once(
        *(client.post("/fhir", headers=headers, json=both(mark)) for mark in marks),
        *(api.put(path, {**made, "valueString": f"by {n}"}) for n in range(3)),
    )
    assert set(statuses(answers)) <= {200, 409, 412}
    versions = (await api.get(f"{path}/_history")).json()["entry"]
    written = {each["value"] for entry in versions for each in entry["resource"].get("identifier", [])}
    for mark, answer in zip(marks, answers, strict=False):
        created = len(await api.found(f"Observation?identifier=urn:mark|{mark}&_id:not={made['id']}"))
        assert (created == 1) == (mark in written) == (answer.status_code == 200)


async def test_transactions_that_create_the_same(client, api):
    """If-None-Exist inside of transactions: one resource comes of it."""
    value = new_id()
    body = api.observation(identifier=[{"system": "urn:once", "value": value}])
    request = {"method": "POST", "url": "Observation", "ifNoneExist": f"identifier=urn:once|{value}"}
    whole = transaction({"request": request, "resource": body})
    answers = await at_once(
        *(client.post("/fhir", headers=bearer(api.token), json=whole) for _ in range(WRITERS))
    )
    assert set(statuses(answers)) <= {200, 409, 412}
    assert len(await api.found(f"Observation?identifier=urn:once|{value}")) == 1


async def test_deletes_and_updates(api):
    """Whoever comes last: the history is one line of versions."""
    made = await api.made(api.observation())
    path = f"Observation/{made['id']}"
    answers = await at_once(
        *(api.delete(path) for _ in range(3)),
        *(api.put(path, {**made, "valueString": "x"}) for _ in range(3)),
    )
    assert set(statuses(answers)) <= {200, 201, 204, 409}
    entries = (await api.get(f"{path}/_history")).json()["entry"]
    tags = [entry["response"]["etag"] for entry in entries]
    assert tags == [f'W/"{number}"' for number in range(len(entries), 0, -1)]


async def test_systems_that_put_the_same_new_id(client, people):
    """Create by PUT: one creates, the others update or are told to try again."""
    headers = bearer(await people.system_token(await people.backend("Putter")))
    patient = {"resourceType": "Patient", "id": new_id(), "active": True}
    answers = await at_once(
        *(
            client.put(f"/fhir/Patient/{patient['id']}", headers=headers, json={**patient, "gender": gender})
            for gender in ("male", "female", "other", "unknown")
        )
    )
    assert statuses(answers).count(201) == 1
    assert set(statuses(answers)) <= {200, 201, 409}
