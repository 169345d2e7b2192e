"""Bulk Data Access 2.0: kick-off, status, manifest, files, deletion; and who gets what."""

from __future__ import annotations

import json
from typing import Any

import httpx

from server.sharing import share as sharing
from tests.factories import bearer
from tests.sharing_steps import actor_of, consent_reach
from tests.waiting import tries

Json = dict[str, Any]
ASYNC = {"Prefer": "respond-async", "Accept": "application/fhir+json"}


async def exported(client: httpx.AsyncClient, token: str, path: str, **asked: Any) -> tuple[Json, str]:
    """The manifest of an export, and the address of its status."""
    begun = await client.request(
        asked.pop("method", "GET"), f"/fhir/{path}", headers=bearer(token) | ASYNC, **asked
    )
    assert begun.status_code == 202, begun.text
    address = begun.headers["content-location"]
    return await waited(client, token, address), address


async def waited(client: httpx.AsyncClient, token: str, address: str) -> Json:
    async for _ in tries():
        answer = await client.get(address, headers=bearer(token))
        if answer.status_code != 202:
            assert answer.status_code == 200, answer.text
            manifest: Json = answer.json()
            return manifest
        assert answer.headers["x-progress"]
        assert int(answer.headers["retry-after"]) > 0
    raise AssertionError("the export did not come to an end")


async def lines(client: httpx.AsyncClient, token: str, manifest: Json, kind: str = "output") -> list[Json]:
    found = []
    for file in manifest[kind]:
        answer = await client.get(file["url"], headers=bearer(token))
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/fhir+ndjson")
        found += [json.loads(line) for line in answer.text.splitlines()]
    return found


async def test_a_person_exports_her_own_record(client, api):
    """2.4.1: Patient/$export; 2.6.1: the manifest; a file is NDJSON."""
    made = await api.made(api.observation())
    manifest, address = await exported(client, api.token, "Patient/$export")
    assert manifest["requiresAccessToken"] is True
    assert manifest["request"].endswith("/fhir/Patient/$export")
    assert manifest["error"] == []
    found = {f"{one['resourceType']}/{one['id']}" for one in await lines(client, api.token, manifest)}
    assert {f"Patient/{api.patient}", f"Observation/{made['id']}"} <= found
    counts = {file["type"]: file["count"] for file in manifest["output"]}
    assert counts["Observation"] == 1
    status = await client.get(address, headers=bearer(api.token))
    assert status.headers["expires"]


async def test_a_kick_off_must_be_asynchronous(client, api):
    """2.4.3: Prefer: respond-async is required."""
    answer = await client.get("/fhir/$export", headers=bearer(api.token))
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_what_is_not_supported_is_refused_or_left_out(client, api):
    """2.4.4: an unknown parameter is an error, unless handling=lenient; then the manifest says so."""
    headers = bearer(api.token) | ASYNC
    for query in (
        "_outputFormat=csv",
        "includeAssociatedData=LatestProvenanceResources",
        "_type=Spoon",
        "_since=x",
    ):
        assert (await client.get(f"/fhir/$export?{query}", headers=headers)).status_code == 400, query
    lenient = headers | {"Prefer": "respond-async, handling=lenient"}
    begun = await client.get("/fhir/$export?_type=Patient&includeAssociatedData=x", headers=lenient)
    manifest = await waited(client, api.token, begun.headers["content-location"])
    [said] = await lines(client, api.token, manifest, "error")
    assert said["resourceType"] == "OperationOutcome"


async def test_types_filters_elements_and_time(client, api):
    """2.4.4: _type, _typeFilter, _elements, _since and what was deleted since."""
    old = await api.made(api.observation())
    gone = await api.made(api.observation())
    manifest, _ = await exported(client, api.token, "$export?_type=Observation")
    assert {one["id"] for one in await lines(client, api.token, manifest)} == {old["id"], gone["id"]}
    new = await api.made(api.observation(status="amended"))
    await api.delete(f"Observation/{gone['id']}")
    since = manifest["transactionTime"]
    later, _ = await exported(client, api.token, f"$export?_type=Observation&_since={since}&_elements=status")
    [only] = await lines(client, api.token, later)
    assert only["id"] == new["id"]
    assert only["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert "category" not in only
    [deleted] = await lines(client, api.token, later, "deleted")
    assert deleted["entry"][0]["request"] == {"method": "DELETE", "url": f"Observation/{gone['id']}"}
    query = "$export?_type=Observation,Patient&_typeFilter=Observation%3Fstatus%3Damended"
    filtered, _ = await exported(client, api.token, query)
    ids = {one["id"] for one in await lines(client, api.token, filtered)}
    assert ids == {new["id"], api.patient}


async def test_a_version_of_the_time_of_the_export(client, api):
    """2.6.1, transactionTime: no change after it is in the files."""
    made = await api.made(api.observation())
    manifest, _ = await exported(client, api.token, "$export?_type=Observation")
    await api.put(f"Observation/{made['id']}", {**made, "status": "amended"})
    [found] = await lines(client, api.token, manifest)
    assert (found["meta"]["versionId"], found["status"]) == ("1", "final")


async def test_an_export_is_its_callers_alone(client, api, stranger, people, ada):
    """2.6: no other app, no other person; 2.5: after DELETE it is gone."""
    manifest, address = await exported(client, api.token, "Patient/$export")
    file = manifest["output"][0]["url"]
    assert (await client.get(file)).status_code == 401
    for one in (address, file):
        assert (await client.get(one, headers=bearer(stranger.token))).status_code == 404
    assert (await client.delete(address, headers=bearer(stranger.token))).status_code == 404
    assert (await client.delete(address, headers=bearer(api.token))).status_code == 202
    for one in (address, file):
        assert (await client.get(one, headers=bearer(api.token))).status_code == 404


async def test_a_scope_is_needed(client, people, ada):
    """A type that was named without a scope is 403; without naming it is left out."""
    token = await people.token(ada, "patient/Observation.rs")
    headers = bearer(token) | ASYNC
    assert (await client.get("/fhir/$export?_type=Patient", headers=headers)).status_code == 403
    manifest, _ = await exported(client, token, "Patient/$export")
    assert {file["type"] for file in manifest["output"]} <= {"Observation"}
    chain = "$export?_type=Observation&_typeFilter=Observation%3Fsubject:Patient.name%3DAda"
    assert (await client.get(f"/fhir/{chain}", headers=headers)).status_code == 403


async def test_a_system_exports_its_patients_and_groups(client, people, stranger):
    """2.4.1: Group/[id]/$export and the parameter patient of a POST; gzip."""
    system = await people.backend("Bulk")
    token = await people.system_token(system)
    headers = bearer(token)
    made = []
    for family in ("One", "Two"):
        body = {"resourceType": "Patient", "name": [{"family": family}]}
        made.append((await client.post("/fhir/Patient", headers=headers, json=body)).json()["id"])
    group = {
        "resourceType": "Group",
        "type": "person",
        "actual": True,
        "member": [
            {"entity": {"reference": f"Patient/{made[0]}"}},
            {"entity": {"reference": f"Patient/{stranger.patient}"}},
        ],
    }
    answer = await client.post("/fhir/Group", headers=headers, json=group)
    assert answer.status_code == 201, answer.text
    manifest, _ = await exported(client, token, f"Group/{answer.json()['id']}/$export?_type=Patient")
    assert [one["id"] for one in await lines(client, token, manifest)] == [made[0]]
    everybody, _ = await exported(client, token, "Patient/$export?_type=Patient")
    assert {one["id"] for one in await lines(client, token, everybody)} == set(made)
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "patient", "valueReference": {"reference": f"Patient/{made[1]}"}},
            {"name": "_type", "valueString": "Patient"},
        ],
    }
    named, _ = await exported(client, token, "Patient/$export", method="POST", json=parameters)
    assert [one["id"] for one in await lines(client, token, named)] == [made[1]]
    parameters["parameter"][0] = {
        "name": "patient",
        "valueReference": {"reference": f"Patient/{stranger.patient}"},
    }
    refused = await client.post("/fhir/Patient/$export", headers=headers | ASYNC, json=parameters)
    assert refused.status_code == 403
    # the Group is its organization's alone
    other = await people.system_token(await people.backend("Other"))
    address = f"/fhir/Group/{answer.json()['id']}"
    assert (await client.get(address, headers=bearer(other))).status_code == 404
    assert (await client.get(address, headers=bearer(stranger.token))).status_code == 404


async def test_what_was_taken_back_is_in_no_file(client, people, ada):
    """decision 2: the share is asked again when a file is downloaded."""
    doctor = await people.doctor()
    share = await people.share(ada, doctor)
    token = await people.token(doctor, "user/*.rs")
    manifest, _ = await exported(client, token, "Patient/$export?_type=Patient")
    assert [one["id"] for one in await lines(client, token, manifest)] == [ada.fhir_id]
    services = people.services
    await sharing.end(services, share, actor=actor_of(ada), reach=await consent_reach(services, ada))
    assert await lines(client, token, manifest) == []


async def test_a_file_of_many_pages(client, api):
    """Read a part at a time, in any number of parts: each resource once; gzip where it is accepted."""
    entries = [
        {"resource": api.observation(), "request": {"method": "POST", "url": "Observation"}}
        for _ in range(130)
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    done = await client.post("/fhir", headers=bearer(api.token), json=bundle)
    assert done.status_code == 200, done.text
    manifest, _ = await exported(client, api.token, "$export?_type=Observation")
    [file] = manifest["output"]
    assert file["count"] == 130
    ids = [one["id"] for one in await lines(client, api.token, manifest)]
    assert len(ids) == len(set(ids)) == 130
    zipped = await client.get(file["url"], headers=bearer(api.token) | {"Accept-Encoding": "gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    plain = await client.get(file["url"], headers=bearer(api.token) | {"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == zipped.text
