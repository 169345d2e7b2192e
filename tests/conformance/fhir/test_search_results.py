"""FHIR R4, 3.1.1.3 (handling) and 3.1.1.5 (sorting, paging, includes, totals, summaries)."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from tests.factories import People, bearer

from .conftest import Api, Json


def link(bundle: Json, relation: str) -> str | None:
    return next((each["url"] for each in bundle["link"] if each["relation"] == relation), None)


def below_base(url: str) -> str:
    parts = urlsplit(url)
    return parts.path.removeprefix("/fhir/") + (f"?{parts.query}" if parts.query else "")


async def pages(api: Api, query: str) -> list[list[str]]:
    """The ids on each page."""
    result, url = [], query
    while url:
        bundle = (await api.get(url)).json()
        result.append([each["resource"]["id"] for each in bundle.get("entry", [])])
        following = link(bundle, "next")
        url = below_base(following) if following else ""
    return result


def flat(shown: list[list[str]]) -> list[str]:
    return [id for page in shown for id in page]


async def test_the_bundle_of_a_search(api: Api) -> None:
    """3.1.1.2: searchset, total, self, fullUrl, search.mode."""
    made = await api.made(api.observation())
    bundle = (await api.get(f"Observation?_id={made['id']}")).json()
    assert (bundle["resourceType"], bundle["type"], bundle["total"]) == ("Bundle", "searchset", 1)
    [entry] = bundle["entry"]
    assert entry["fullUrl"].endswith(f"/fhir/Observation/{made['id']}")
    assert (entry["search"], entry["resource"]) == ({"mode": "match"}, made)
    assert (link(bundle, "self") or "").endswith(f"/fhir/Observation?_id={made['id']}")


async def test_post_search(api: Api) -> None:
    """3.1.0.9: parameters of the URL and of the form count together."""
    made = await api.made(api.observation(valueString="x"))
    form = {"content_type": "application/x-www-form-urlencoded"}
    answer = await api.post("Observation/_search?value-string=x", f"_id={made['id']}", **form)
    assert [each["resource"]["id"] for each in answer.json()["entry"]] == [made["id"]]
    answer = await api.post("Observation/_search?value-string=y", f"_id={made['id']}", **form)
    assert answer.json()["total"] == 0
    answer = await api.post("Observation/_search", {"_id": made["id"]})
    assert answer.status_code == 415


async def test_handling_of_what_is_not_known(api: Api) -> None:
    """3.1.1.3: strict 400; lenient goes on, and self shows what was used."""
    strict = await api.get("Observation?nonsense=1", prefer="handling=strict")
    lenient = await api.get("Observation?nonsense=1&status=final", prefer="handling=lenient")
    assert strict.status_code == 400
    assert (link(lenient.json(), "self") or "").endswith("/fhir/Observation?status=final")


async def test_sort(api: Api) -> None:
    """3.1.1.5.1: several keys, descending with a minus, no value last."""
    ids = {}
    for name, date, text in (("a", "2020", "x"), ("b", "2021", "x"), ("c", "2019", "y"), ("d", None, "y")):
        when = {"effectiveDateTime": date} if date else {}
        ids[(await api.made(api.observation(valueString=text, **when)))["id"]] = name

    async def order(sort: str) -> str:
        return "".join(ids[id] for id in await api.found(f"Observation?_sort={sort}"))

    assert await order("date") == "cabd"
    assert await order("-date") == "bacd"
    assert await order("value-string,-date") == "bacd"
    assert await order("-value-string,date") == "cdab"
    assert await order("_lastUpdated") == "abcd"
    assert await order("-_lastUpdated") == "dcba"
    assert "".join(sorted(await order("_id"))) == "abcd"


async def test_pages_show_everything_once(api: Api) -> None:
    """3.1.1.5.4: whatever the order."""
    made = [
        (await api.made(api.observation(valueString="xyz"[n % 3], effectiveDateTime=f"20{10 + n % 4}")))["id"]
        for n in range(7)
    ]
    for sort in (
        "",
        "&_sort=date",
        "&_sort=-date,value-string",
        "&_sort=value-string",
        "&_sort=-_lastUpdated",
    ):
        shown = await pages(api, f"Observation?_count=3{sort}")
        assert [len(page) for page in shown] == [3, 3, 1], sort
        assert sorted(flat(shown)) == sorted(made), sort


async def test_pages_stay_while_data_changes(api: Api) -> None:
    """3.1.1.5.4: what comes and goes meanwhile repeats and hides nothing."""
    made = [(await api.made(api.observation()))["id"] for _ in range(6)]
    first = (await api.get("Observation?_count=2")).json()
    shown = [each["resource"]["id"] for each in first["entry"]]
    await api.made(api.observation())
    await api.delete(f"Observation/{shown[0]}")
    await api.put(f"Observation/{made[0]}", api.observation(id=made[0], status="amended"))
    rest = await pages(api, below_base(link(first, "next") or ""))
    assert sorted(shown + flat(rest)) == sorted(made)


async def test_a_paging_link_is_no_key(api: Api, stranger: Api) -> None:
    """A link gives nothing by itself: another caller's reach is asked; without a token it is 401."""
    for _ in range(3):
        await api.made(api.observation())
    bundle = (await api.get("Observation?_count=1")).json()
    following = below_base(link(bundle, "next") or "")
    assert (await stranger.get(following)).json().get("entry", []) == []
    assert (await api.client.get(f"/fhir/{following}")).status_code == 401
    named = (await api.get(f"Observation?patient={api.patient}&_count=1")).json()
    assert (await stranger.get(below_base(link(named, "next") or ""))).status_code == 403
    assert (await api.get(following[:-3] + "abc")).status_code == 400
    assert (await api.get(following.replace("Observation?", "Patient?"))).status_code == 400


async def test_totals(api: Api) -> None:
    """3.1.1.5.6."""
    for _ in range(3):
        await api.made(api.observation())
    assert (await api.get("Observation?_count=1")).json()["total"] == 3
    assert (await api.get("Observation?_count=1&_total=accurate")).json()["total"] == 3
    assert "total" not in (await api.get("Observation?_count=1&_total=none")).json()
    for query in ("_summary=count", "_count=0"):
        bundle = (await api.get(f"Observation?{query}")).json()
        assert (bundle["total"], bundle.get("entry")) == (3, None)


async def test_include_and_revinclude(api: Api) -> None:
    """3.1.1.5.2: mode include, each once, not in the total."""
    member = await api.made(api.observation())
    whole = await api.made(api.observation(hasMember=[{"reference": f"Observation/{member['id']}"}]))
    bundle = (
        await api.get(
            f"Observation?_id={whole['id']}&_include=Observation:has-member&_include=Observation:subject"
        )
    ).json()
    assert bundle["total"] == 1
    assert [(each["resource"]["id"], each["search"]["mode"]) for each in bundle["entry"]] == [
        (whole["id"], "match"), (member["id"], "include"), (api.patient, "include"),
    ]  # fmt: skip
    back = (await api.get(f"Patient?_id={api.patient}&_revinclude=Observation:patient")).json()
    assert {each["resource"]["id"] for each in back["entry"]} == {api.patient, member["id"], whole["id"]}


async def test_include_iterate(api: Api) -> None:
    """3.1.1.5.2: :iterate follows what came along."""
    leaf = await api.made(api.observation())
    middle = await api.made(api.observation(hasMember=[{"reference": f"Observation/{leaf['id']}"}]))
    root = await api.made(api.observation(hasMember=[{"reference": f"Observation/{middle['id']}"}]))
    for include, expected in (("_include", 2), ("_include:iterate", 3)):
        bundle = (await api.get(f"Observation?_id={root['id']}&{include}=Observation:has-member")).json()
        assert len(bundle["entry"]) == expected


async def test_summary_and_elements(api: Api) -> None:
    """3.1.1.5.7 and 9: SUBSETTED, mandatory elements stay."""
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
    made = await api.made(api.observation(text=text, valueString="v", note=[{"text": "n"}]))
    shown = {
        query: (await api.get(f"Observation/{made['id']}?{query}")).json()
        for query in (
            "_summary=true",
            "_summary=text",
            "_summary=data",
            "_elements=note",
            "_elements=Observation.note",
        )
    }
    assert "text" not in shown["_summary=true"]
    assert "valueString" in shown["_summary=true"]
    assert shown["_summary=text"].keys() >= {"text", "status", "code"}
    assert "valueString" not in shown["_summary=text"]
    assert shown["_summary=data"].keys() == made.keys() - {"text"}
    assert shown["_elements=note"].keys() == {"resourceType", "id", "meta", "status", "code", "note"}
    assert shown["_elements=Observation.note"] == shown["_elements=note"]
    for resource in shown.values():
        assert resource["meta"]["tag"][-1]["code"] == "SUBSETTED"


async def test_compartment(api: Api, stranger: Api) -> None:
    """3.1.0.9: Patient/x/Observation; another's is 403 like one that does not exist."""
    made = await api.made(api.observation())
    assert await api.found(f"Patient/{api.patient}/Observation") == [made["id"]]
    assert await api.found(f"Patient/{api.patient}/Observation?status=amended") == []
    assert (await stranger.get(f"Patient/{api.patient}/Observation")).status_code == 403
    assert (await stranger.get("Patient/nobody/Observation")).status_code == 403
    assert (await api.get(f"Patient/{api.patient}/Organization")).status_code == 404


async def test_everything(api: Api, stranger: Api) -> None:
    """Patient-everything: the whole record, in pages, the caller's own only."""
    ids = {(await api.made(api.observation()))["id"] for _ in range(4)} | {api.patient}
    assert set(flat(await pages(api, f"Patient/{api.patient}/$everything"))) >= ids
    shown = await pages(api, f"Patient/{api.patient}/$everything?_count=2&_type=Observation,Patient")
    assert sorted(flat(shown)) == sorted(ids)
    assert (await stranger.get(f"Patient/{api.patient}/$everything")).status_code == 404
    only = await pages(api, f"Patient/{api.patient}/$everything?_type=Observation&_since=2999-01-01")
    assert only == [[]]


async def test_people_are_not_enumerated(client: httpx.AsyncClient, people: People, api: Api) -> None:
    """Doctors and organizations are read by id, and found by _id and identifier only."""
    doctor = await people.doctor()
    assert (await api.get(f"Practitioner/{doctor.fhir_id}")).status_code == 200
    assert await api.found(f"Practitioner?_id={doctor.fhir_id}") == [doctor.fhir_id]
    assert doctor.fhir_id in await api.found("Practitioner?identifier=1234567")
    for query in ("Practitioner", "Practitioner?name=bo", "Practitioner?email=x", "Organization?name=c",
                  "Practitioner?identifier:missing=false", "Practitioner?_id:not=x"):  # fmt: skip
        assert (await api.get(query)).status_code == 400, query
    answer = await client.get(f"/fhir/Practitioner/{doctor.fhir_id}", headers=bearer(api.token))
    assert doctor.email not in answer.text
