"""The reach in every interaction of the FHIR API, for every kind of caller and for granular scopes.

A victim's record has four words in it that stand nowhere else: LAB and SOCIAL in two Observations of other categories,
OLD in a version of a third that was social history before it became (NEW) a laboratory value. Each caller may see
some of them; each interaction is asked by each caller, and shows just those.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from server.sharing import share as sharing
from tests.factories import People, bearer
from tests.sharing_steps import actor_of, consent_reach
from tests.waiting import tries

Json = dict[str, Any]
LAB, SOCIAL, OLD, NEW = "Labquill", "Socialquill", "Oldquill", "Newquill"
WORDS = (LAB, SOCIAL, OLD, NEW)
NARROW = "patient/Observation.rs?category=laboratory"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"

# Who asks -> the words that may come back.
CALLERS = {
    "the owner": frozenset(WORDS),
    "the owner's app, laboratory only": frozenset({LAB, NEW}),
    "the owner's app, laboratory by system": frozenset({LAB, NEW}),
    "the owner's app, other types only": frozenset(),
    "a doctor with a share": frozenset(WORDS),
    "a doctor's app, laboratory only": frozenset({LAB, NEW}),
    "a doctor whose share ended": frozenset(),
    "a doctor without reports": frozenset(),
    "a doctor": frozenset(),
    "another patient": frozenset(),
    "another organization": frozenset(),
}


@dataclass
class Victim:
    patient: str
    lab: str
    social: str
    changed: str
    report: str
    next_page: str  # a link of the owner's search


@dataclass
class Asking:
    """One caller who asks about the victim."""

    client: httpx.AsyncClient
    token: str
    victim: Victim

    async def get(self, path: str) -> httpx.Response:
        address = path if path.startswith("http") else f"/fhir/{path}"
        answer = await self.client.get(address, headers=bearer(self.token))
        assert answer.status_code < 500, (path, answer.text)
        return answer

    async def text(self, path: str) -> str:
        return (await self.get(path)).text

    async def total(self, path: str) -> int:
        answer = await self.get(path)
        return int(answer.json().get("total", 0)) if answer.status_code == 200 else 0


def observation(patient: str, word: str, category: str) -> Json:
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": category}]}],
        "code": {"text": "finding"},
        "subject": {"reference": f"Patient/{patient}"},
        "valueString": word,
    }


@pytest.fixture(scope="module")
async def house(server):
    """The victim, and a token for each caller."""
    people = People(server.services)
    vera, doctor, past = await people.patient("Vera Hidden"), await people.doctor(), await people.doctor()
    without = await people.doctor()
    own = await people.token(vera)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:

        async def made(body: Json) -> Json:
            answer = await client.post(f"/fhir/{body['resourceType']}", headers=bearer(own), json=body)
            assert answer.status_code == 201, answer.text
            stored: Json = answer.json()
            return stored

        lab = await made(observation(vera.fhir_id, LAB, "laboratory"))
        social = await made(observation(vera.fhir_id, SOCIAL, "social-history"))
        old = await made(observation(vera.fhir_id, OLD, "social-history"))
        new = {**observation(vera.fhir_id, NEW, "laboratory"), "id": old["id"]}
        await client.put(f"/fhir/Observation/{old['id']}", headers=bearer(own), json=new)
        results = [{"reference": f"Observation/{each['id']}"} for each in (lab, social)]
        report = await made(
            {
                "resourceType": "DiagnosticReport",
                "status": "final",
                "code": {"text": "summary"},
                "subject": {"reference": f"Patient/{vera.fhir_id}"},
                "result": results,
            }
        )
        page = (await client.get("/fhir/Observation?_count=1", headers=bearer(own))).json()
    [link] = [each["url"] for each in page["link"] if each["relation"] == "next"]
    await people.share(vera, doctor)
    await people.share(vera, without, rights=("images",))
    ended = await people.share(vera, past)
    services = server.services
    await sharing.end(services, ended, actor=actor_of(vera), reach=await consent_reach(services, vera))
    wide = "patient/DiagnosticReport.rs patient/Patient.rs"
    tokens = {
        "the owner": own,
        "the owner's app, laboratory only": await people.token(vera, f"{NARROW} {wide}"),
        "the owner's app, laboratory by system": await people.token(
            vera, f"patient/Observation.rs?category={CATEGORY}|laboratory {wide}"
        ),
        "the owner's app, other types only": await people.token(vera, wide),
        "a doctor with a share": await people.token(doctor, "user/*.rs"),
        "a doctor's app, laboratory only": await people.token(
            doctor, "user/Observation.rs?category=laboratory user/DiagnosticReport.rs user/Patient.rs"
        ),
        "a doctor whose share ended": await people.token(past, "user/*.rs"),
        "a doctor without reports": await people.token(without, "user/*.rs"),
        "a doctor": await people.token(await people.doctor(), "user/*.cruds"),
        "another patient": await people.token(await people.patient("Eve Other")),
        "another organization": await people.system_token(await people.backend("Elsewhere")),
    }
    return Victim(vera.fhir_id, lab["id"], social["id"], old["id"], report["id"], link), tokens


async def read(ask: Asking) -> str:
    each = [ask.victim.lab, ask.victim.social, ask.victim.changed]
    return "".join([await ask.text(f"Observation/{id}") for id in each])


async def vread(ask: Asking) -> str:
    return await ask.text(f"Observation/{ask.victim.changed}/_history/1") + await ask.text(
        f"Observation/{ask.victim.changed}/_history/2"
    )


async def instance_history(ask: Asking) -> str:
    return await ask.text(f"Observation/{ask.victim.changed}/_history")


async def type_history(ask: Asking) -> str:
    return await ask.text("Observation/_history?_count=500")


async def system_history(ask: Asking) -> str:
    return await ask.text("_history?_count=500")


async def search(ask: Asking) -> str:
    return await ask.text("Observation?_count=500")


async def search_by_patient(ask: Asking) -> str:
    return await ask.text(f"Observation?patient={ask.victim.patient}")


async def compartment(ask: Asking) -> str:
    return await ask.text(f"Patient/{ask.victim.patient}/Observation")


async def post_search(ask: Asking) -> str:
    form = {"subject": f"Patient/{ask.victim.patient}"}
    answer = await ask.client.post("/fhir/Observation/_search", headers=bearer(ask.token), data=form)
    return answer.text


async def everything(ask: Asking) -> str:
    return await ask.text(f"Patient/{ask.victim.patient}/$everything")


async def include(ask: Asking) -> str:
    return await ask.text(f"DiagnosticReport?_id={ask.victim.report}&_include=DiagnosticReport:result")


async def include_all(ask: Asking) -> str:
    return await ask.text(f"DiagnosticReport?_id={ask.victim.report}&_include=*")


async def revinclude(ask: Asking) -> str:
    return await ask.text(f"Patient?_id={ask.victim.patient}&_revinclude=Observation:subject")


async def iterate(ask: Asking) -> str:
    query = "_revinclude=DiagnosticReport:subject&_include:iterate=DiagnosticReport:result"
    return await ask.text(f"Patient?_id={ask.victim.patient}&{query}")


async def handed_page(ask: Asking) -> str:
    """A paging link of the owner's, followed by somebody else."""
    return await ask.text(ask.victim.next_page)


async def batch(ask: Asking) -> str:
    urls = [
        f"Observation/{ask.victim.social}",
        f"Observation/{ask.victim.changed}/_history/1",
        f"Observation?patient={ask.victim.patient}",
    ]
    entry = [{"request": {"method": "GET", "url": url}} for url in urls]
    body = {"resourceType": "Bundle", "type": "batch", "entry": entry}
    answer = await ask.client.post("/fhir", headers=bearer(ask.token), json=body)
    assert answer.status_code == 200
    return answer.text


async def export(ask: Asking) -> str:
    """Every file of Patient/$export."""
    headers = bearer(ask.token) | {"Prefer": "respond-async"}
    begun = await ask.client.get("/fhir/Patient/$export", headers=headers)
    if begun.status_code != 202:
        return begun.text
    async for _ in tries():
        answer = await ask.get(begun.headers["content-location"])
        if answer.status_code == 200:
            return "".join([await ask.text(file["url"]) for file in answer.json()["output"]])
    raise AssertionError("no export")


async def in_xml(ask: Asking) -> str:
    return await ask.text("Observation?_format=xml&_count=500")


# What an interaction could show of the record at most: most of them do not show versions.
_NOW, _ALL = frozenset({LAB, SOCIAL, NEW}), frozenset(WORDS)
INTERACTIONS: dict[Callable[[Asking], Awaitable[str]], frozenset[str]] = {
    read: _NOW,
    vread: frozenset({OLD, NEW}),
    instance_history: frozenset({OLD, NEW}),
    type_history: _ALL,
    system_history: _ALL,
    search: _NOW,
    search_by_patient: _NOW,
    compartment: _NOW,
    post_search: _NOW,
    everything: _NOW,
    include: frozenset({LAB, SOCIAL}),
    include_all: frozenset({LAB, SOCIAL}),
    revinclude: _NOW,
    iterate: frozenset({LAB, SOCIAL}),
    handed_page: frozenset({LAB, SOCIAL}),  # the second page of one each: what is not the newest
    batch: frozenset({LAB, SOCIAL, NEW, OLD}),
    export: _NOW,
    in_xml: _NOW,
}


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=lambda each: each.__name__)
async def test_who_sees_what(client, house, interaction):
    victim, tokens = house
    for caller, words in CALLERS.items():
        shown = await interaction(Asking(client, tokens[caller], victim))
        found = {word for word in WORDS if word in shown}
        allowed = words & INTERACTIONS[interaction]
        if interaction is handed_page:
            assert found <= allowed, caller
        else:
            assert found == allowed, caller


ORACLES = (
    "DiagnosticReport?result:Observation.value-string={}",
    "Patient?_has:Observation:subject:value-string={}",
    "Patient?_has:DiagnosticReport:subject:result.value-string={}",
    "DiagnosticReport?subject:Patient._has:Observation:subject:value-string={}",
    "Observation?value-string={}",
    "Observation?value-string:contains={}",
    "Observation?value-string={}&_summary=count",
    "Observation?value-string={}&_total=accurate&_count=0",
    "Observation?_content={}",
    'Observation?_filter=value-string eq "{}"',
    'Patient?_filter=name eq "Nobody" or not (name eq "Nobody")&_has:Observation:subject:value-string={}',
)


@pytest.mark.parametrize("oracle", ORACLES)
async def test_nothing_is_told_by_being_found(client, house, oracle):
    """A search that would meet hidden content finds nothing, and counts nothing."""
    victim, tokens = house
    for caller, words in CALLERS.items():
        ask = Asking(client, tokens[caller], victim)
        for word in (LAB, SOCIAL):
            found = await ask.total(oracle.format(word))
            assert found == (1 if word in words else 0), (caller, word)


@pytest.mark.parametrize("caller", [each for each in CALLERS if not CALLERS[each]])
async def test_whose_log_it_is(client, house, caller):
    """The victim's AuditEvents come with nobody's search, and are found by nobody else."""
    victim, tokens = house
    ask = Asking(client, tokens[caller], victim)
    queries = (
        f"Patient?_id={victim.patient}&_revinclude=AuditEvent:entity",
        f"Patient?_id={victim.patient}&_revinclude=AuditEvent:patient",
        f"AuditEvent?patient={victim.patient}",
        f"AuditEvent?patient._id={victim.patient}",
        f"AuditEvent?entity=Observation/{victim.lab}&_include=AuditEvent:entity",
        f"Observation?_id={victim.lab}&_revinclude=AuditEvent:*",
        f"Patient?_has:AuditEvent:entity:action=C&_id={victim.patient}",
        "AuditEvent",
    )
    for query in queries:
        answer = await ask.get(query)
        body = answer.json() if answer.status_code == 200 else {}
        events = [
            e["resource"] for e in body.get("entry", []) if e["resource"]["resourceType"] == "AuditEvent"
        ]
        assert victim.patient not in json.dumps(events), query


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_nobody_changes_it(client, house, method):
    """Read scopes, shares and strangers change nothing."""
    victim, tokens = house
    body = {**observation(victim.patient, "Changed", "laboratory"), "id": victim.lab}
    patch = [{"op": "replace", "path": "/valueString", "value": "Changed"}]
    sent: Any = {"PUT": body, "PATCH": patch, "DELETE": None}[method]
    kind = {"content-type": "application/json-patch+json"} if method == "PATCH" else {}
    content = {"json": sent} if sent is not None else {}
    for caller in [each for each in CALLERS if each != "the owner"]:
        headers = bearer(tokens[caller]) | kind
        answer = await client.request(method, f"/fhir/Observation/{victim.lab}", headers=headers, **content)
        assert answer.status_code in (204, 403, 404, 405, 422), caller
        owner = await client.get(f"/fhir/Observation/{victim.lab}", headers=bearer(tokens["the owner"]))
        assert LAB in owner.text, caller


@pytest.mark.parametrize("caller", [each for each in CALLERS if not CALLERS[each]])
async def test_conditions_are_no_oracles(client, house, caller):
    """What is hidden meets no condition: neither a criterion nor an entity tag that somebody knows."""
    victim, tokens = house
    headers = bearer(tokens[caller])
    for word in (LAB, SOCIAL):
        statuses = []
        for asked in (word, "Nothingquill"):
            url, body = (
                f"/fhir/Observation?value-string={asked}",
                observation(victim.patient, "Mine", "laboratory"),
            )
            patch = [{"op": "test", "path": "/status", "value": "final"}]
            answers = [
                await client.put(url, headers=headers, json=body),
                await client.request("DELETE", url, headers=headers),
                await client.patch(
                    url, headers=headers | {"content-type": "application/json-patch+json"}, json=patch
                ),
                await client.post(
                    "/fhir/Observation",
                    headers=headers | {"if-none-exist": f"value-string={asked}"},
                    json=body,
                ),
            ]
            statuses.append([answer.status_code for answer in answers])
        assert statuses[0] == statuses[1], word
    known = await client.get(f"/fhir/Observation/{victim.lab}", headers=bearer(tokens["the owner"]))
    tags = {"if-none-match": known.headers["etag"], "if-modified-since": known.headers["last-modified"]}
    for method in ("GET", "HEAD"):
        answer = await client.request(method, f"/fhir/Observation/{victim.lab}", headers=headers | tags)
        assert answer.status_code in (403, 404)
    assert (
        LAB in (await client.get(f"/fhir/Observation/{victim.lab}", headers=bearer(tokens["the owner"]))).text
    )
