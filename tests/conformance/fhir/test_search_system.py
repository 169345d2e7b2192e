"""FHIR R4, 3.1.0.9: search over several types at [base]."""

from __future__ import annotations

from tests.factories import bearer


async def ask(client, token, query):
    return await client.get(f"/fhir?{query}", headers=bearer(token))


async def test_types_that_are_named(client, api):
    made = await api.made(api.observation())
    answer = await ask(client, api.token, "_type=Patient,Observation&_total=accurate")
    body = answer.json()
    assert body["total"] == 2
    ids = {entry["resource"]["id"] for entry in body["entry"]}
    assert ids == {api.patient, made["id"]}
    one = await ask(client, api.token, f"_type=Observation&_id={made['id']}")
    assert [entry["resource"]["id"] for entry in one.json()["entry"]] == [made["id"]]
    posted = await client.post("/fhir/_search", headers=bearer(api.token), data={"_type": "Patient,List"})
    assert [entry["resource"]["id"] for entry in posted.json()["entry"]] == [api.patient]


async def test_all_types_and_pages(client, api, stranger):
    """Without `_type`: what the caller has scopes for; pages go from type to type, nothing twice."""
    for _ in range(3):
        await api.made(api.observation())
    seen: list[str] = []
    answer = await ask(client, api.token, "_count=2")
    while True:
        body = answer.json()
        assert answer.status_code == 200, answer.text
        seen += [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in body.get("entry", [])]
        following = [link["url"] for link in body["link"] if link["relation"] == "next"]
        if not following:
            break
        answer = await client.get(following[0], headers=bearer(api.token))
    assert len(seen) == len(set(seen)) == 4
    # the link gives nothing to somebody else
    first = (await ask(client, api.token, "_count=1")).json()
    [link] = [each["url"] for each in first["link"] if each["relation"] == "next"]
    theirs = await client.get(link, headers=bearer(stranger.token))
    assert api.patient not in theirs.text


async def test_parameters_that_not_all_have(client, api):
    query = "_type=Patient,Observation&family=x"
    assert (await ask(client, api.token, query)).json()["entry"]  # lenient: left out
    strict = await client.get(f"/fhir?{query}", headers=bearer(api.token) | {"Prefer": "handling=strict"})
    assert strict.status_code == 400
    assert (await ask(client, api.token, "_type=Patient,Observation&_include=*")).status_code == 400
    assert (await ask(client, api.token, "_type=Spoon")).status_code == 404


async def test_scopes_and_patients(client, people, ada, stranger):
    narrow = await people.token(ada, "patient/Patient.rs")
    assert (await ask(client, narrow, "_type=Patient,Observation")).status_code == 403
    everything = (await ask(client, narrow, "_count=50")).json()
    assert {entry["resource"]["resourceType"] for entry in everything["entry"]} == {"Patient"}
    foreign = f"_type=Observation,DiagnosticReport&patient={stranger.patient}"
    own = await people.token(ada)
    assert (await ask(client, own, foreign)).status_code == 403
