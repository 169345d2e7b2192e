"""FHIR R4, 3.1.0.11 (batch and transaction)."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

from .conftest import Api, Json


def bundle(type: str, *entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def entry(method: str, url: str, resource: Json | None = None, *, full_url: str = "", **request: str) -> Json:
    made: Json = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        made["resource"] = resource
    return made | ({"fullUrl": full_url} if full_url else {})


async def send(api: Api, body: Any) -> Json:
    answer = await api.client.post("/fhir", json=body, headers={"authorization": f"Bearer {api.token}"})
    assert answer.status_code == 200, answer.text
    result: Json = answer.json()
    return result


async def refused(api: Api, body: Any) -> tuple[int, Json]:
    answer = await api.client.post("/fhir", json=body, headers={"authorization": f"Bearer {api.token}"})
    return answer.status_code, answer.json()


async def test_entries_of_a_transaction_refer_to_each_other(api: Api) -> None:
    """3.1.0.11.2: references, urls and narrative links follow; canonicals and values of identifiers do not."""
    urn = "urn:uuid:3c9e1f4c-0000-4000-8000-000000000001"
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{urn}">x</a></div>'
    whole = api.observation(
        hasMember=[{"reference": urn}],
        identifier=[{"value": urn}],
        meta={"profile": [urn]},
        text={"status": "generated", "div": div},
        extension=[{"url": "http://example.org/e", "valueUri": urn}],
    )
    answer = await send(
        api,
        bundle(
            "transaction",
            entry("POST", "Observation", whole),
            entry("POST", "Observation", api.observation(), full_url=urn),
        ),
    )
    assert answer["type"] == "transaction-response"
    assert [each["response"]["status"] for each in answer["entry"]] == ["201 Created"] * 2
    stored, member = (each["resource"] for each in answer["entry"])
    here = f"Observation/{member['id']}"
    assert stored["hasMember"] == [{"reference": here}]
    assert stored["extension"][0]["valueUri"] == here
    assert f'href="{here}"' in stored["text"]["div"]
    assert (stored["meta"]["profile"], stored["identifier"]) == ([urn], [{"value": urn}])
    assert answer["entry"][0]["response"]["location"].endswith(f"Observation/{stored['id']}/_history/1")
    for each in answer[
        "entry"
    ]:  # Bundle.entry.response.lastModified: "the timestamp that the server assigned"
        assert each["response"]["lastModified"] == each["resource"]["meta"]["lastUpdated"]


async def test_whatever_is_read_is_read_in_a_batch(api: Api) -> None:
    """3.1.0.11: a GET of a Bundle is that of the address: histories, several types, a compartment, parts of a
    resource; in a compartment that is not one of ours there is nothing."""
    made = await api.made(api.observation())
    here, me = f"Observation/{made['id']}", f"Patient/{api.patient}"
    reads = {
        "metadata": "CapabilityStatement", "_history?_count=1": "Bundle", "Observation/_history": "Bundle",
        f"{here}/_history": "Bundle", f"{here}/_history/1": "Observation", "?_type=Patient,Observation": "Bundle",
        f"{me}/*": "Bundle", f"{me}/Observation?_count=1": "Bundle", "AuditEvent?_count=1": "Bundle",
        f"{api.client.base_url}/fhir/{here}": "Observation",
    }  # fmt: skip
    answer = await send(api, bundle("batch", *(entry("GET", url) for url in reads)))
    for (url, type), one in zip(reads.items(), answer["entry"], strict=True):
        assert (one["response"]["status"], one.get("resource", {}).get("resourceType")) == ("200 OK", type), (
            url
        )
    parts, gone, history = (await send(api, bundle("batch", entry("GET", f"{here}?_elements=status"),
        entry("GET", f"Encounter/x/{here}"), entry("GET", "AuditEvent/_history"))))["entry"]  # fmt: skip
    assert "subject" not in parts["resource"]
    assert (gone["response"]["status"], history["response"]["status"]) == ("404", "405")


async def test_the_element_at_fault_is_named_in_the_bundle(api: Api) -> None:
    """OperationOutcome.issue.expression: from the root of what was sent."""
    code, outcome = await refused(
        api, bundle("transaction", entry("POST", "Observation", api.observation()),
                    entry("POST", "Observation", api.observation(status="x")))
    )  # fmt: skip
    assert code == 422
    assert outcome["issue"][0]["expression"] == ["Bundle.entry[1].resource.status"]


async def test_a_transaction_is_all_or_nothing(api: Api) -> None:
    """3.1.0.11.1: one OperationOutcome, and nothing is left."""
    good = api.observation(identifier=[{"system": "urn:tx", "value": api.patient}])
    for bad, status in (
        (entry("POST", "Observation", api.observation(status="wrong")), 422),
        (entry("POST", "Observation", api.observation(subject={"reference": "Patient/nobody"})), 422),
        (entry("PUT", "Observation/none", api.observation(id="none")), 405),
        (entry("GET", "Observation/none"), 404),
        (entry("GET", "Observation?date=nonsense"), 400),
        (entry("POST", "Nonsense", {"resourceType": "Nonsense"}), 404),
    ):
        code, outcome = await refused(api, bundle("transaction", entry("POST", "Observation", good), bad))
        assert (code, outcome["resourceType"]) == (status, "OperationOutcome"), outcome
    assert await api.found(f"Observation?identifier=urn:tx|{api.patient}") == []


async def test_the_order_of_a_transaction_is_not_that_of_its_entries(api: Api) -> None:
    """3.1.0.11.2: DELETE, POST, PUT, GET; the answers come in the order of the entries."""
    old = await api.made(api.observation(valueString="old"))
    kept = await api.made(api.observation(valueString="kept"))
    answer = await send(
        api,
        bundle(
            "transaction",
            entry("GET", "Observation?value-string=old,new,kept&_sort=value-string"),
            entry("PUT", f"Observation/{kept['id']}", kept | {"status": "amended"}, ifMatch='W/"1"'),
            entry("POST", "Observation", api.observation(valueString="new")),
            entry("DELETE", f"Observation/{old['id']}"),
        ),
    )
    found, updated, created, deleted = answer["entry"]
    shown = [
        (each["resource"]["valueString"], each["resource"]["status"]) for each in found["resource"]["entry"]
    ]
    assert shown == [("kept", "amended"), ("new", "final")]
    statuses = [each["response"]["status"][:3] for each in (found, updated, created, deleted)]
    assert statuses == ["200", "200", "201", "204"]


async def test_conditional_entries(api: Api) -> None:
    """3.1.0.11.2: a conditional create that finds one leads references to it; conditional references are resolved."""
    identifier = {"system": "urn:ce", "value": api.patient}
    criteria = f"identifier=urn:ce|{api.patient}"
    first = await api.made(api.observation(identifier=[identifier]))
    answer = await send(
        api,
        bundle(
            "transaction",
            entry(
                "POST",
                "Observation",
                api.observation(identifier=[identifier]),
                full_url="urn:uuid:a",
                ifNoneExist=criteria,
            ),
            entry("POST", "Observation", api.observation(hasMember=[{"reference": "urn:uuid:a"}])),
            entry(
                "POST", "Observation", api.observation(hasMember=[{"reference": f"Observation?{criteria}"}])
            ),
        ),
    )
    assert [each["response"]["status"][:3] for each in answer["entry"]] == ["200", "201", "201"]
    for each in answer["entry"][1:]:
        assert each["resource"]["hasMember"] == [{"reference": f"Observation/{first['id']}"}]
    dangling = api.observation(hasMember=[{"reference": "Observation?identifier=urn:ce|nothing"}])
    assert (await refused(api, bundle("transaction", entry("POST", "Observation", dangling))))[0] == 412


async def test_entries_that_overlap_fail(api: Api) -> None:
    """3.1.0.11.2."""
    made = await api.made(api.observation())
    path = f"Observation/{made['id']}"
    code, _ = await refused(api, bundle("transaction", entry("PUT", path, made), entry("DELETE", path)))
    assert code == 400
    assert (await api.get(path)).status_code == 200


async def test_each_entry_of_a_batch_stands_on_its_own(api: Api, stranger: Api) -> None:
    """3.1.0.11.1: 200 with an answer for each."""
    made = await api.made(api.observation())
    theirs = await stranger.made(stranger.observation())
    patch = {"resourceType": "Binary", "contentType": "application/json-patch+json",
             "data": b64encode(b'[{"op":"replace","path":"/status","value":"amended"}]').decode()}  # fmt: skip
    answer = await send(
        api,
        bundle(
            "batch",
            entry("POST", "Observation", api.observation()),
            entry("POST", "Observation", api.observation(status="wrong")),
            entry("GET", f"Observation/{theirs['id']}"),
            entry("GET", f"Observation?patient={stranger.patient}"),
            entry("PATCH", f"Observation/{made['id']}", patch),
            entry("GET", f"Observation/{made['id']}/_history/1"),
            entry("GET", f"Observation/{made['id']}", ifNoneMatch='W/"2"'),
            entry("DELETE", f"Observation/{theirs['id']}"),
            entry("POST", "Observation"),
            entry("GET", "Nonsense/1"),
        ),
    )
    statuses = [each["response"]["status"][:3] for each in answer["entry"]]
    assert answer["type"] == "batch-response"
    assert statuses == ["201", "422", "404", "403", "200", "200", "304", "204", "400", "404"]
    assert answer["entry"][1]["response"]["outcome"]["issue"][0]["expression"] == ["Observation.status"]
    assert (await stranger.get(f"Observation/{theirs['id']}")).status_code == 200


async def test_a_bundle_that_cannot_be_read(api: Api) -> None:
    for body in (
        {"resourceType": "Bundle", "type": "collection"},
        {"resourceType": "Patient"},
        {"resourceType": "Bundle", "type": "batch", "entry": {"a": 1}},
        {"resourceType": "Bundle", "type": "batch", "entry": [5]},
        {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET"}}]},
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [{"request": {"method": "FLY", "url": "x"}}],
        },
        {
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [{"request": {"method": "GET", "url": "x", "ifMatch": 5}}],
        },
    ):
        assert (await refused(api, body))[0] == 400, body
    empty = await send(api, {"resourceType": "Bundle", "type": "transaction"})
    assert empty.get("entry") is None


async def test_transactions_at_once_leave_nothing_half_written(api: Api) -> None:
    """Either both resources of a transaction are there, or none."""
    made = await api.made(api.observation())

    async def once(number: int) -> int:
        body = bundle(
            "transaction",
            entry(
                "PUT",
                f"Observation/{made['id']}",
                api.observation(id=made["id"], valueString=f"{number}"),
                ifMatch='W/"1"',
            ),
            entry("POST", "Observation", api.observation(valueString=f"with {number}")),
        )
        return (await refused(api, body))[0]

    statuses = await asyncio.gather(*(once(number) for number in range(4)))
    assert sorted(statuses)[0] == 200
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 409, 412}
    assert len(await api.found("Observation?value-string=with")) == 1


async def test_conditional_entries_that_find_nothing(api: Api) -> None:
    """3.1.0.11.2: a conditional create and a conditional update inside of a transaction."""
    one = {"system": "urn:cn", "value": f"1-{api.patient}"}
    two = {"system": "urn:cn", "value": f"2-{api.patient}"}
    body = bundle(
        "transaction",
        entry(
            "POST",
            "Observation",
            api.observation(identifier=[one]),
            full_url="urn:uuid:a",
            ifNoneExist=f"identifier=urn:cn|{one['value']}",
        ),
        entry("PUT", f"Observation?identifier=urn:cn|{two['value']}", api.observation(identifier=[two])),
        entry("POST", "Observation", api.observation(hasMember=[{"reference": "urn:uuid:a"}])),
    )
    first, again = await send(api, body), await send(api, body)
    assert [each["response"]["status"][:3] for each in first["entry"]] == ["201"] * 3
    assert [each["response"]["status"][:3] for each in again["entry"]] == ["200", "200", "201"]
    assert again["entry"][2]["resource"]["hasMember"] == first["entry"][2]["resource"]["hasMember"]


async def test_transactions_of_one_patient_do_not_stand_in_each_others_way(api: Api) -> None:
    """Serialization failures are tried again."""

    async def once(number: int) -> int:
        body = bundle("transaction", *(entry("POST", "Observation", api.observation()) for _ in range(3)))
        return (await refused(api, body))[0]

    assert await asyncio.gather(*(once(number) for number in range(4))) == [200] * 4
    assert len(await api.found("Observation?_count=100")) == 12
