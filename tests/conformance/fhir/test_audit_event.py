"""AuditEvents: the patient's own log, rendered from the chain. FHIR R4, AuditEvent; IHE BALP 1.1."""

from __future__ import annotations

import base64

import httpx
import pytest

from server.core import clock
from server.fhir import call as calling
from server.records import validate
from server.storage.sql import Statement
from tests.conftest import RunningServer
from tests.factories import People, Person
from tests.waiting import tries

from .conftest import Api, Json

TOO_MANY = "&".join(["altid=" + ",".join(map(str, range(99)))] * 31)  # values of one search


async def events(api: Api, query: str = "") -> list[Json]:
    bundle = (await api.get(f"AuditEvent?_count=100&{query}")).json()
    return [each["resource"] for each in bundle.get("entry", [])]


def references(event: Json) -> set[str]:
    return {each["what"]["reference"] for each in event["entity"] if "reference" in each.get("what", {})}


async def test_what_happens_is_in_the_log(api: Api) -> None:
    """Create, read, update, delete: each an event with its agent, its patient and its data."""
    made = await api.made(api.observation())
    path = f"Observation/{made['id']}"
    await api.get(path)
    await api.put(path, made | {"status": "amended"})
    await api.delete(path)
    about = [event for event in await events(api) if path in references(event)]
    assert [(event["action"], event["subtype"][0]["code"]) for event in about] == [
        ("D", "delete"), ("U", "update"), ("R", "read"), ("C", "create"),
    ]  # fmt: skip
    for event in about:
        assert f"Patient/{api.patient}" in references(event)
        assert sum(agent["requestor"] for agent in event["agent"]) == 1
        assert event["agent"][0]["policy"][0].startswith("urn:ietf:params:oauth:jti:")
        assert await validate.find_issues(event) == []


async def test_searches_are_logged_with_their_query(api: Api) -> None:
    """BALP: entity query, base64."""
    await api.get("Observation?value-string=something&patient=" + api.patient)
    await api.client.get("/health/live")
    async for _ in tries():  # committed in groups, within a second (decision 25)
        queries = [
            base64.b64decode(entity["query"]).decode()
            for event in await events(api, "subtype=search")
            for entity in event["entity"]
            if "query" in entity
        ]
        if queries:
            break
    assert any("value-string=something" in query for query in queries)


async def test_a_repeat_is_told_once_unless_it_shows_something_else(api: Api) -> None:
    """What somebody saw is in the log, though they had asked the same before it was there."""
    asked = f"Observation?patient={api.patient}&code=8480-6"

    async def looked() -> None:
        assert (await api.get(asked)).status_code == 200

    await looked()
    body = api.observation()
    body["code"] = {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}
    await api.made(body)
    await looked()
    await looked()
    await api.get(f"Observation?patient={api.patient}&code=end-of-test")
    queries: list[str] = []
    async for _ in tries():  # committed in groups, in their order
        queries = [
            base64.b64decode(entity["query"]).decode()
            for event in await events(api, "subtype=search")
            for entity in event["entity"]
            if "query" in entity
        ]
        if any("end-of-test" in query for query in queries):
            break
    assert len([query for query in queries if "code=8480-6" in query]) == 2


async def test_what_comes_along_with_somebody_of_no_patient_is_told(
    api: Api, client: httpx.AsyncClient, people: People, ada: Person
) -> None:
    """A search of doctors that brings a patient's resources along is a look at that patient."""
    doctor = await people.doctor()
    body = api.observation() | {"performer": [{"reference": f"Practitioner/{doctor.fhir_id}"}]}
    await api.made(body)
    asked = f"Practitioner?_id={doctor.fhir_id}&_revinclude=Observation:performer"
    found = (await api.get(asked)).json()
    assert [one["search"]["mode"] for one in found["entry"]] == ["match", "include"]
    async for _ in tries():
        told = [one for one in await events(api, "subtype=search") if "_revinclude" in str(told_query(one))]
        if told:
            return
    raise AssertionError("nothing in the log")


def told_query(event: Json) -> list[str]:
    return [base64.b64decode(each["query"]).decode() for each in event["entity"] if "query" in each]


async def test_the_log_is_searched(api: Api, stranger: Api) -> None:
    made = await api.made(api.observation())
    [event] = [
        each for each in await events(api, "action=C") if f"Observation/{made['id']}" in references(each)
    ]
    assert (await api.get(f"AuditEvent/{event['id']}")).json() == event
    day = event["recorded"][:10]
    for query in (f"patient={api.patient}", f"date={day}", f"date=ge{day}", "subtype=create", "type=rest", "outcome=0",
                  f"agent=Patient/{api.patient}", f"entity=Patient/{api.patient}", f"_id={event['id']}"):  # fmt: skip
        assert event in await events(api, query), query
    for query in ("date=lt2000", "action=D", "outcome=8", "agent=Practitioner/nobody", "_id=x"):
        assert event not in await events(api, query), query
    assert (await api.get("AuditEvent?date=nonsense")).status_code == 400
    assert event not in await events(stranger)
    assert (await stranger.get(f"AuditEvent/{event['id']}")).status_code == 404


async def test_every_parameter_of_r4(api: Api) -> None:
    """R4, AuditEvent: each search parameter finds the event by what it shows, with its modifiers, and only then."""
    made = await api.made(api.observation())
    [event] = [
        each for each in await events(api, "action=C") if f"Observation/{made['id']}" in references(each)
    ]
    user, client, _ = event["agent"]
    app = client["who"]["identifier"]["value"]
    site, me = event["source"]["site"], user["who"]["reference"]
    assert me == f"Patient/{api.patient}"
    found = (
        "action:not=D", "action=http://hl7.org/fhir/audit-event-action|C", "address=127.0", "address:exact=127.0.0.1",
        "agent:Patient=" + api.patient, "agent:missing=false", f"agent:identifier={app}",
        "agent-name=ada", "agent-name:contains=MOOR", "agent-role=urn:lightbox:role|patient", "altid:missing=true",
        f"entity=Observation/{made['id']}", f"entity:Observation={made['id']}", "entity-role=4", "entity-role:not=24",
        "entity-type=http://terminology.hl7.org/CodeSystem/audit-entity-type|2", "entity-type:text=system",
        "entity-name:missing=true", f"policy={user['policy'][0]}", "policy:below=urn:ietf:params", f"site={site}",
        f"source:identifier={site}", "subtype=http://hl7.org/fhir/restful-interaction|create", "subtype:not=read",
        "subtype=record:resource:created", "type:text=restful", "outcome:in=http://hl7.org/fhir/ValueSet/audit-event-outcome",
        f"_lastUpdated={event['recorded']}", f"date=ge{event['recorded']}&date=le{event['recorded']}",
        "_profile=https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientCreate",
        f"_filter=action eq C and not (entity eq Patient/other) and date eq {event['recorded']}",
        "patient.family=moor", "agent:Patient.name=ada", "patient._id=" + api.patient,
    )  # fmt: skip
    for query in found:
        assert event in await events(api, f"{query}&action=C"), query
    for query in ("action:not=C", "address=10.", "agent-name:exact=ada", "agent-role=doctor", "altid=x",
                  "entity-role=24", f"entity=Patient/{made['id']}", "entity-type=1&entity-type:not=1", "policy=urn:x",
                  "site=x", "source=Device/x", "subtype:not=create", "type=x", "outcome:not=0", "patient:missing=true",
                  "patient.family=nobody", "_filter=agent-name co \"bo\"", "action=record:resource:created",
                  "_id:not=" + event["id"]):  # fmt: skip
        assert event not in await events(api, query), query
    for query in ("agent:above=Patient/1", "_sort=action", "_has:List:item:code=x", "_text=x", "nonsense=1",
                  "_filter=not (_text co \"x\")", "_filter=action eq C or _content co \"x\""):  # fmt: skip
        answer = await api.get(f"AuditEvent?{query}", Prefer="handling=strict")
        assert answer.status_code == 400, query
    assert (await api.get("AuditEvent?agent:Practitioner.identifier=1")).status_code == 200


async def test_what_comes_along(api: Api, stranger: Api) -> None:
    """R4, 3.1.1.5.2: an event brings what it is about; what is searched brings the events about it."""
    made = await api.made(api.observation())

    async def along(asker: Api, query: str) -> set[tuple[str, str]]:
        entries = (await asker.get(query)).json().get("entry", [])
        return {
            (each["search"]["mode"], each["fullUrl"].rpartition("/fhir/")[2])
            for each in entries
            if each["search"]["mode"] == "match" or "AuditEvent" not in each["fullUrl"] or asker is stranger
        }

    here, me = f"Observation/{made['id']}", f"Patient/{api.patient}"
    assert {("include", here), ("include", me)} <= await along(
        api, "AuditEvent?_count=5&action=C&_include=AuditEvent:entity&_include=AuditEvent:patient"
    )
    entries = (await api.get(f"Observation?_id={made['id']}&_revinclude=AuditEvent:entity")).json()["entry"]
    [event] = [each["resource"] for each in entries if each["search"]["mode"] == "include"]
    assert here in references(event)
    assert await along(stranger, f"Observation?_id={made['id']}&_revinclude=AuditEvent:entity") == set()
    everyone = await along(stranger, f"Patient?_id={stranger.patient}&_revinclude=AuditEvent:*")
    assert len([each for each in everyone if each[0] == "match"]) == 1
    content = base64.b64encode(bytes(range(256)) * 160).decode()
    whose = {"reference": f"Patient/{api.patient}"}
    large = {"resourceType": "Binary", "contentType": "video/mp4", "securityContext": whose, "data": content}
    made = await api.made(large)
    entries = (await api.get("AuditEvent?_count=3&action=C&_include=AuditEvent:entity:Binary")).json()[
        "entry"
    ]
    [brought] = [each["resource"] for each in entries if each["resource"]["id"] == made["id"]]
    assert brought["data"] == content
    assert "_data" not in brought


async def test_pages(api: Api) -> None:
    """R4, 3.1.0.10: next and previous; both ways of time, also by what no column knows."""
    for _ in range(4):
        await api.made(api.observation())

    def link(bundle: Json, name: str) -> str:
        return next((each["url"] for each in bundle["link"] if each["relation"] == name), "").rpartition(
            "/fhir/"
        )[2]

    async def shown(path: str) -> tuple[Json, list[str]]:
        bundle = (await api.get(path)).json()
        return bundle, [each["resource"]["id"] for each in bundle["entry"]]

    ways = {}
    for asked in ("action=C", "agent-name=ada&subtype=create", "agent-name=ada&subtype=create&_sort=date"):
        first, ids = await shown(f"AuditEvent?_count=2&{asked}")
        second, more = await shown(link(first, "next"))
        assert len({*ids, *more}) == 4
        assert second.get("total") == (None if link(second, "next") else 4)
        assert (await shown(link(second, "previous")))[1] == ids
        ways[asked] = ids + more
    newest, same, oldest = ways.values()
    assert newest == same == oldest[::-1]
    for query, total in (("action=C&_count=0", 5), ("agent-name=ada&subtype=create&_summary=count", 4)):
        assert (await api.get(f"AuditEvent?{query}")).json()["total"] == total


async def test_one_request_opens_so_many_events(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """All entries of a Bundle together: a page ends early and goes on, a _revinclude stops, a total is left out."""
    ids = [(await api.made(api.observation()))["id"] for _ in range(4)]
    monkeypatch.setattr(calling, "MOST_OPENED", 3)
    asked = [f"AuditEvent?agent-name=ada&_total=accurate&action={action}" for action in "CC"]
    asked += ["AuditEvent?action=C", f"Observation?_id={ids[0]}&_revinclude=AuditEvent:entity"]
    entries = [{"request": {"method": "GET", "url": url}} for url in asked]
    answer = await api.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    pages = [each["resource"] for each in answer.json()["entry"]]
    assert [len(each["entry"]) for each in pages] == [3, 1, 1, 1]
    for page in pages[:3]:
        assert "total" not in page
        assert page["link"][-1]["relation"] == "next"
    assert pages[3]["entry"][0]["resource"]["id"] == ids[0]
    seen, path = set(), asked[0]
    while path:
        page = (await api.get(path)).json()
        seen |= {each["resource"]["id"] for each in page.get("entry", [])}
        links = {each["relation"]: each["url"] for each in page["link"]}
        path = links.get("next", "").rpartition("/fhir/")[2]
    monkeypatch.undo()
    assert seen == {each["id"] for each in await events(api, "action=C&agent-name=ada")}
    assert len(seen) >= 4
    assert (await api.get(f"AuditEvent?{TOO_MANY}")).status_code == 400


async def test_only_the_holder_reads_the_log(
    client: httpx.AsyncClient, people: People, ada: Person, api: Api
) -> None:
    """A share opens the record, not the log of it."""
    doctor = await people.doctor()
    await people.share(ada, doctor)
    theirs = Api(client, await people.token(doctor, "user/*.rs"), ada.fhir_id)
    assert (await theirs.get("AuditEvent")).json()["total"] == 0
    assert (await theirs.get(f"AuditEvent?patient={ada.fhir_id}")).status_code == 403
    await theirs.get(f"Patient/{ada.fhir_id}")
    seen = [
        each for each in await events(api, f"agent=Practitioner/{doctor.fhir_id}") if each["action"] == "R"
    ]
    assert seen[0]["agent"][0]["who"]["reference"] == f"Practitioner/{doctor.fhir_id}"


async def test_events_of_one_patient_prove_no_other(
    api: Api, stranger: Api, ada: Person, server: RunningServer
) -> None:
    """Decision 1: whoever else is named beside is 403; a token that died is 401, events or none."""
    await api.made(api.observation())
    mine = f"AuditEvent?patient={api.patient}"
    assert (await api.get(mine)).json()["entry"]
    for other in (stranger.patient, "nobody"):
        for both in (
            f"{mine},{other}",
            f"{mine}&patient=Patient/{other}",
            f"{mine}&_filter=not (patient eq {other})",
        ):
            assert (await api.get(both)).status_code == 403, both
        assert (await api.get(f"AuditEvent?_count=0&patient={other}")).status_code == 403
        assert (await api.get(f"Patient/{other}/AuditEvent")).status_code == 403
        assert (await api.get(f"AuditEvent?patient={other}&{TOO_MANY}")).status_code == 403
    ended = Statement("end", "UPDATE app_grant SET ended_at = :now WHERE account_id = :account")
    await server.services.db.execute(ended, {"now": clock.now(), "account": ada.account_id})
    for query in ("", "&_count=0", "&action=D&_sort=date", ",nobody", f"&{TOO_MANY}"):
        assert (await api.get(mine + query)).status_code == 401, query


def coded(agent: Json) -> set[str]:
    return {each["code"] for each in agent["type"]["coding"]}


async def test_the_patterns_of_balp(api: Api) -> None:
    """BALP PatientCreate, -Read, -Update, -Delete, -Query: client and server once each with their network, the user
    as requestor without one, the token by its jti, the patient, the data or the query; nothing else is claimed."""
    made = await api.made(api.observation())
    path = f"Observation/{made['id']}"
    await api.get(path)
    await api.get(f"{path}/_history/1")
    await api.put(path, made | {"status": "amended"})
    await api.delete(path)
    await api.get(f"Observation?patient={api.patient}&code=x")
    async for _ in tries():
        patterns: dict[str, Json] = {}
        for event in await events(api):
            if profiles := event["meta"].get("profile"):
                patterns.setdefault(profiles[0].rpartition(".")[2], event)
        if "PatientQuery" in patterns:
            break
    assert {"PatientCreate", "PatientRead", "PatientUpdate", "PatientDelete", "PatientQuery"} <= set(patterns)
    for name, event in patterns.items():
        assert event["type"]["code"] == "rest"
        assert event["outcome"] == "0"
        roles = ("110152", "110153") if name == "PatientRead" else ("110153", "110152")
        [client] = [each for each in event["agent"] if roles[0] in coded(each)]
        [server] = [each for each in event["agent"] if roles[1] in coded(each)]
        [user] = [each for each in event["agent"] if "IRCP" in coded(each)]
        for agent in (client, server):
            assert agent["who"]
            assert agent["network"]["address"]
            assert "media" not in agent
        assert user["requestor"] is True
        assert "network" not in user
        assert user["policy"][0].startswith("urn:ietf:params:oauth:jti:")
        assert ("AUT" in coded(user)) == (name in ("PatientCreate", "PatientUpdate", "PatientDelete"))
        [patient] = [each for each in event["entity"] if each["type"]["code"] == "1"]
        assert (patient["role"]["code"], patient["what"]["reference"]) == ("1", f"Patient/{api.patient}")
        [data] = [each for each in event["entity"] if each["type"]["code"] == "2"]
        if name == "PatientQuery":
            assert data["role"]["code"] == "24"
            assert base64.b64decode(data["query"])
            assert "what" not in data
        else:
            assert data["role"]["code"] in ("3", "4", "20")
            assert data["what"]
    subtypes = {each["subtype"][0]["code"] for each in await events(api, "action=R")}
    assert {"read", "vread"} <= subtypes
