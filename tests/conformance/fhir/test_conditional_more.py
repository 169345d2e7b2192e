"""FHIR R4, 3.1.0.6 (conditional patch), 3.1.0.11 (what entries of a Bundle may be) and Patient-everything."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import People

from .conftest import Api, Json
from .test_search_results import below_base, link


def named(api: Api, value: str, **elements: Any) -> Json:
    return api.observation(identifier=[{"system": "urn:n", "value": value}], **elements)


PATCH = [{"op": "replace", "path": "/status", "value": "amended"}]


async def test_conditional_patch(api: Api, stranger: Api) -> None:
    """3.1.0.6: none 404, one is patched, many 412; no criteria 412; unknown ones 400; nobody else's."""
    made = await api.made(named(api, "1"))
    patched = await api.patch("Observation?identifier=urn:n|1", PATCH)
    assert (patched.status_code, patched.json()["status"]) == (200, "amended")
    assert patched.json()["meta"]["versionId"] == "2"
    assert (await api.patch("Observation?identifier=urn:n|1", PATCH, if_match='W/"1"')).status_code == 412
    assert (await stranger.patch("Observation?identifier=urn:n|1", PATCH)).status_code == 404
    await api.made(named(api, "1"))
    for query, status in (
        ("identifier=urn:n|1", 412),
        ("identifier=urn:n|2", 404),
        ("nonsense=1", 400),
        ("", 412),
    ):
        assert (await api.patch(f"Observation?{query}", PATCH)).status_code == status, query
    entry = {"request": {"method": "PATCH", "url": f"Observation?_id={made['id']}"}, "resource": {
        "resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
            {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Observation.status"},
            {"name": "value", "valueCode": "final"}]}]}}  # fmt: skip
    answer = await api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert answer.json()["entry"][0]["resource"]["status"] == "final"


async def test_preconditions_of_every_way(api: Api) -> None:
    """RFC 9110, 13.1: If-None-Match keeps an update off what is there, If-Match a conditional delete off another
    version; 3.1.0.8.1: a conditional create says where the match is, and heeds Prefer."""
    made = await api.made(named(api, "p"))
    path, where = f"Observation/{made['id']}", "Observation?identifier=urn:n|p"
    for address in (path, where):
        assert (await api.put(address, made, if_none_match="*")).status_code == 412
        assert (await api.put(address, made, if_none_match='W/"7"')).status_code == 200
    missing = "Observation?identifier=urn:n|nobody"  # the id of the body says which is meant
    assert (await api.put(missing, made, if_none_match="*")).status_code == 412
    assert (await api.put(missing, made, if_none_match='W/"7"')).status_code == 200
    again = {"if_none_exist": "identifier=urn:n|p", "prefer": "return=MINIMAL"}
    answer = await api.post("Observation", named(api, "p"), **again)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["location"].endswith(f"{path}/_history/1")
    assert (await api.delete(where, if_match='W/"9"')).status_code == 412
    assert (await api.delete(where, if_match='W/"1"')).status_code == 204


async def test_entries_that_meet_by_their_criteria(api: Api) -> None:
    """3.1.0.11.2: identities found by criteria overlap as ids do; a resource that a conditional update makes can be
    referred to."""
    made = await api.made(named(api, "a"))
    changed = {**named(api, "a", status="amended")}
    by_id = {
        "request": {"method": "PUT", "url": f"Observation/{made['id']}"},
        "resource": {**changed, "id": made["id"]},
    }
    by_name = {"request": {"method": "PUT", "url": "Observation?identifier=urn:n|a"}, "resource": changed}
    ended = {"request": {"method": "DELETE", "url": "Observation?identifier=urn:n|a"}}
    for pair in ([by_id, by_name], [by_name, ended]):
        answer = await api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": pair})
        assert answer.status_code == 400
    assert (await api.get(f"Observation/{made['id']}")).json()["meta"]["versionId"] == "1"
    full = "urn:uuid:0b8c2f5e-58a4-4c3c-8a0e-3a0d5e3a6c11"
    whole = api.observation(hasMember=[{"reference": full}])
    entries = [
        {"request": {"method": "POST", "url": "Observation"}, "resource": whole},
        {
            "fullUrl": full,
            "request": {"method": "PUT", "url": "Observation?identifier=urn:n|new"},
            "resource": named(api, "new"),
        },
    ]
    answer = await api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    first, second = (each["resource"] for each in answer.json()["entry"])
    assert first["hasMember"] == [{"reference": f"Observation/{second['id']}"}]


async def test_what_is_read_in_a_batch(api: Api, stranger: Api) -> None:
    """3.1.0.11.1: histories and the whole record too, each with the caller's reach."""
    made = await api.made(api.observation())
    urls = [f"Observation/{made['id']}/_history", f"Patient/{api.patient}/$everything?_type=Observation"]
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": u}} for u in urls],
    }
    own = (await api.post("", batch)).json()["entry"]
    assert [each["resource"]["entry"][0]["resource"]["id"] for each in own] == [made["id"]] * 2
    others = (await stranger.post("", batch)).json()["entry"]
    assert [each["response"]["status"] for each in others] == ["404", "404"]


async def test_everything_of_a_time(api: Api, people: People) -> None:
    """Patient-everything: start and end of the care, POST, links, those who took part; an unknown type is 400."""
    doctor = await people.doctor()
    old = await api.made(api.observation(effectiveDateTime="2001-05-01"))
    new = await api.made(
        api.observation(
            effectiveDateTime="2020-05", performer=[{"reference": f"Practitioner/{doctor.fhir_id}"}]
        )
    )
    undated = await api.made(api.observation())
    path = f"Patient/{api.patient}/$everything"

    async def found(query: str) -> dict[str, str]:
        bundle = (await api.get(f"{path}?_type=Observation&{query}")).json()
        return {each["resource"]["id"]: each["search"]["mode"] for each in bundle["entry"]}

    came = {doctor.fhir_id: "include"}
    assert await found("start=2010") == {new["id"]: "match", undated["id"]: "match", **came}
    assert await found("end=2010-01-01") == {old["id"]: "match", undated["id"]: "match"}
    assert await found("start=2001&end=2002") == {old["id"]: "match", undated["id"]: "match"}
    for query in ("_type=Nonsense", "start=x", "_since=x", "_count=x"):
        assert (await api.get(f"{path}?{query}")).status_code == 400, query
    parameters = [{"name": "_count", "valueInteger": 1}, {"name": "_type", "valueCode": "Observation"}]
    page = (await api.post(path, {"resourceType": "Parameters", "parameter": parameters})).json()
    assert (link(page, "self") or "").endswith("$everything?_count=1&_type=Observation")
    following = (await api.get(below_base(link(page, "next") or ""))).json()
    assert link(following, "first") == link(page, "self")
    assert (await api.post(path, "")).status_code in (200, 400)


@pytest.mark.parametrize("path", ["$everything", "$everything?_type=Patient"])
async def test_everything_of_another(api: Api, stranger: Api, path: str) -> None:
    """By POST as by GET: 404."""
    for body in ({"resourceType": "Parameters"}, None):
        answer = await (stranger.post(f"Patient/{api.patient}/{path}", body) if body else
                        stranger.get(f"Patient/{api.patient}/{path}"))  # fmt: skip
        assert answer.status_code == 404
