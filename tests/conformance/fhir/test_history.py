"""FHIR R4, 3.1.0.13 (history)."""

from __future__ import annotations

from tests.factories import People

from .conftest import Api


async def test_instance_history_is_newest_first(api: Api) -> None:
    """3.1.0.13: entries carry request and response."""
    made = await api.made(api.observation())
    await api.put(f"Observation/{made['id']}", made | {"status": "amended"})
    bundle = (await api.get(f"Observation/{made['id']}/_history")).json()
    assert (bundle["type"], bundle["total"]) == ("history", 2)
    assert [each["resource"]["meta"]["versionId"] for each in bundle["entry"]] == ["2", "1"]
    assert [each["request"]["method"] for each in bundle["entry"]] == ["PUT", "POST"]
    assert [each["response"]["etag"] for each in bundle["entry"]] == ['W/"2"', 'W/"1"']
    assert (await api.get("Observation/nothing/_history")).status_code == 404


async def test_type_and_system_history_show_only_what_may_be_seen(api: Api, stranger: Api) -> None:
    made = await api.made(api.observation())
    for path in ("Observation/_history", "_history"):
        theirs = (await stranger.get(path)).json()
        mine = (await api.get(path)).json()
        assert made["id"] not in str(theirs)
        assert made["id"] in str(mine)


async def test_since_and_count(api: Api) -> None:
    """3.1.0.13: _since, _count; pages follow each other without gap."""
    made = [await api.made(api.observation()) for _ in range(5)]
    since = made[2]["meta"]["lastUpdated"]
    late = (await api.get(f"Observation/_history?_since={since}")).json()
    assert {each["resource"]["id"] for each in late["entry"]} == {each["id"] for each in made[2:]}
    seen: list[str] = []
    url: str | None = "Observation/_history?_count=2"
    while url:
        page = (await api.get(url.partition("/fhir/")[2] or url)).json()
        seen += [each["resource"]["id"] for each in page.get("entry", [])]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    assert seen == [each["id"] for each in reversed(made)]
    assert (await api.get("Observation/_history?_since=nonsense")).status_code == 400


async def test_at(api: Api) -> None:
    """3.1.0.13: _at gives the versions that were current then."""
    made = await api.made(api.observation())
    later = await api.put(f"Observation/{made['id']}", made | {"status": "amended"})
    moment = later.json()["meta"]["lastUpdated"]
    bundle = (await api.get(f"Observation/{made['id']}/_history?_at={moment}")).json()
    assert [each["resource"]["meta"]["versionId"] for each in bundle["entry"]] == ["2"]
    bundle = (await api.get(f"Observation/{made['id']}/_history?_elements=status&_count=1")).json()
    shown = bundle["entry"][0]["resource"]  # 3.1.0.1.2: _summary and _elements go with every interaction
    assert "subject" not in shown
    assert shown["meta"]["tag"][0]["code"] == "SUBSETTED"
    bundle = (await api.get(f"Observation/{made['id']}/_history?_summary=count")).json()
    assert (bundle["total"], "entry" in bundle) == (2, False)
    bundle = (await api.get(f"Observation/{made['id']}/_history?_count=1")).json()
    second = (await api.get(bundle["link"][1]["url"].partition("/fhir/")[2])).json()
    assert [link["relation"] for link in second["link"]] == ["self", "first", "previous"]


async def test_histories_do_not_enumerate_people(people: People, api: Api) -> None:
    """A doctor's own history is open, that of all doctors would be a list of them."""
    doctor = await people.doctor()
    assert (await api.get(f"Practitioner/{doctor.fhir_id}/_history")).status_code == 200
    assert (await api.get("Practitioner/_history")).status_code == 405
    assert (await api.get("AuditEvent/_history")).status_code == 405
    assert doctor.fhir_id not in (await api.get("_history")).text
