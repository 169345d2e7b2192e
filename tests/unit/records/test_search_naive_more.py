"""As test_search_naive.py, for the parameters and modifiers it leaves: `:of-type`, `:text`, `:identifier`, `:[type]`,
uris with `:below` and `:above`, periods, dates of day and second, chains and `_has`. FHIR R4, 3.1.1.4 and 3.1.1.5.
"""

from __future__ import annotations

import random
from typing import Any

from server.access.action import Action, Verb
from server.access.reach import Ground, Lane, Reach
from server.core import clock
from server.records import search, store
from server.records.criteria import condition
from server.records.registry import types
from server.records.search import Query
from server.records.search_references import Searching
from server.storage.db import Database

from .test_search_naive import ADD_PATIENT, DATES, date, folded, some, span

Json = dict[str, Any]

TYPE = types()["DocumentReference"]
REACH = Reach(Action("DocumentReference", Verb.SEARCH), (Lane(Ground.SERVER),))
URLS = [
    "http://x.org/a",
    "http://x.org/a/b",
    "http://x.org/a/b/c",
    "http://x.org/ab",
    "urn:uuid:1",
    "http://x.org",
]
WORDS = ["Bericht", "bericht kurz", "Röntgen", "rontgen", "CT"]
SYSTEMS = ["urn:a", "urn:b"]
VALUES = ["1", "2", "x|y"]
KINDS = ["MR", "PI"]
FAMILIES = ["Moor", "Linden"]
V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"


def identifier(rng: random.Random) -> Json:
    made: Json = {"value": some(rng, VALUES)}
    if rng.random() < 0.7:
        made["system"] = some(rng, SYSTEMS)
    if rng.random() < 0.7:
        made["type"] = {"coding": [{"system": V2, "code": some(rng, KINDS)}]}
    return made


def author(rng: random.Random) -> Json:
    match rng.randint(0, 2):
        case 0:
            return {"identifier": {"system": some(rng, SYSTEMS), "value": some(rng, VALUES)}}
        case 1:
            return {"reference": f"Practitioner/{some(rng, ['d1', 'd2'])}"}
    return {"reference": f"Organization/{some(rng, ['d1', 'o2'])}"}


def document(rng: random.Random, number: int) -> Json:
    made: Json = {
        "resourceType": "DocumentReference",
        "id": f"r{number}",
        "status": some(rng, ["current", "superseded"]),
        "subject": {"reference": f"Patient/{some(rng, ['p1', 'p2'])}"},
        "content": [{"attachment": {"url": some(rng, URLS)}} for _ in range(rng.randint(1, 2))],
    }
    if rng.random() < 0.8:
        made["identifier"] = [identifier(rng) for _ in range(rng.randint(1, 2))]
    if rng.random() < 0.8:
        made["type"] = {"text": some(rng, WORDS), "coding": [{"code": "c", "display": some(rng, WORDS)}]}
    if rng.random() < 0.8:
        made["author"] = [author(rng) for _ in range(rng.randint(1, 2))]
    if rng.random() < 0.7:
        start, end = sorted([some(rng, DATES), some(rng, DATES)], key=lambda text: span(text)[0])
        made["context"] = {"period": {"start": start, "end": end}}
    return made


def query(rng: random.Random) -> tuple[str, str]:
    kinds = {
        "identifier": lambda: (
            some(rng, ["", "|", *(f"{each}|" for each in SYSTEMS)]) + escaped(some(rng, VALUES))
        ),
        "identifier:of-type": lambda: f"{V2}|{some(rng, KINDS)}|{escaped(some(rng, VALUES))}",
        "type:text": lambda: some(rng, [*WORDS, "ber", "RONT", "xx"]),
        "author": lambda: some(rng, ["Practitioner/d1", "Organization/d1", "d1", "d2", "Practitioner/o2"]),
        "author:Practitioner": lambda: some(rng, ["d1", "d2", "o2"]),
        "author:identifier": lambda: f"{some(rng, SYSTEMS)}|{escaped(some(rng, VALUES))}",
        "location": lambda: some(rng, URLS),
        "location:below": lambda: some(rng, URLS),
        "location:above": lambda: some(rng, URLS),
        "period": lambda: some(rng, ["", "ne", "gt", "lt", "ge", "le", "sa", "eb"]) + some(rng, DATES),
        "patient.family": lambda: some(rng, [*FAMILIES, "mo", "none"]),
        "subject:Patient.family:exact": lambda: some(rng, [*FAMILIES, "moor"]),
        "patient:missing": lambda: some(rng, ["true", "false"]),
        "location:missing": lambda: some(rng, ["true", "false"]),
        "author:missing": lambda: some(rng, ["true", "false"]),
        "_has:Provenance:target:agent": lambda: some(rng, ["Practitioner/d1", "Practitioner/d2"]),
    }
    name = some(rng, list(kinds))
    return name, kinds[name]()


def escaped(text: str) -> str:
    return text.replace("|", "\\|")


# The naive side --------------------------------------------------------------------------------------------------


def matches(one: Json, name: str, value: str, family: dict[str, str], seen: dict[str, set[str]]) -> bool:
    name, _, modifier = name.partition(":") if not name.startswith("_has") else (name, "", "")
    values = list(ELEMENTS.get(name, lambda _: [])(one))
    if modifier == "missing":
        return (not values) == (value == "true")
    if name == "_has:Provenance:target:agent":
        return value in seen.get(one["id"], set())
    if name == "patient.family":
        return folded(family[one["subject"]["reference"]]).startswith(folded(value))
    if name == "subject":
        return family[one["subject"]["reference"]] == value
    return any(TESTS[name](each, value, modifier) for each in values)


def of_identifier(element: Json, value: str, modifier: str) -> bool:
    plain = value.replace("\\|", "\0")
    parts = [each.replace("\0", "|") for each in plain.split("|")]
    if modifier == "of-type":
        codings = element.get("type", {}).get("coding", [])
        return element["value"] == parts[2] and {"system": parts[0], "code": parts[1]} in codings
    if len(parts) == 1:
        return bool(element["value"] == parts[0])
    return element.get("system", "") == parts[0] and parts[1] in ("", element["value"])


def of_type(element: str, value: str, _: str) -> bool:
    return folded(element).startswith(folded(value))


def of_author(element: Json, value: str, modifier: str) -> bool:
    if modifier == "identifier":
        return "identifier" in element and of_identifier(element["identifier"], value, "")
    reference = element.get("reference", "")
    if modifier:
        return bool(reference == f"{modifier}/{value}")
    return value in (reference, reference.rpartition("/")[2]) and bool(reference)


def of_url(element: str, value: str, modifier: str) -> bool:
    if modifier == "below":
        return element.startswith(value)
    if modifier == "above":
        return element == value or value.startswith(f"{element}/")
    return element == value


ELEMENTS = {
    "identifier": lambda r: r.get("identifier", []),
    "type": lambda r: [r["type"]["text"], r["type"]["coding"][0]["display"]] if "type" in r else [],
    "author": lambda r: r.get("author", []),
    "location": lambda r: [each["attachment"]["url"] for each in r["content"]],
    "patient": lambda r: [r["subject"]],
    "period": lambda r: (
        [(span(r["context"]["period"]["start"])[0], span(r["context"]["period"]["end"])[1])]
        if "context" in r
        else []
    ),
}
TESTS = {
    "identifier": of_identifier,
    "type": of_type,
    "author": of_author,
    "location": of_url,
    "period": date,
}


async def test_the_rest_is_as_the_specification_reads(db: Database) -> None:
    rng = random.Random(20240201)
    family = {}
    for id, name in zip(("p1", "p2"), FAMILIES, strict=True):
        await db.execute(ADD_PATIENT, {"id": id, "now": clock.now()})
        person = {"resourceType": "Patient", "id": id, "name": [{"family": name}]}
        await store.put(db, person, patient_id=id, author="server")
        family[f"Patient/{id}"] = name
    kept = [document(rng, number) for number in range(40)]
    seen: dict[str, set[str]] = {}
    for number, each in enumerate(kept):
        owner = each["subject"]["reference"].partition("/")[2]
        await store.put(db, each, patient_id=owner, author="server")
        if rng.random() < 0.5:
            who = f"Practitioner/{some(rng, ['d1', 'd2'])}"
            seen.setdefault(each["id"], set()).add(who)
            noted = {
                "resourceType": "Provenance",
                "id": f"v{number}",
                "target": [{"reference": f"DocumentReference/{each['id']}"}],
                "recorded": "2026-01-01T00:00:00Z",
                "agent": [{"who": {"reference": who}}],
            }
            await store.put(db, noted, patient_id=owner, author="server")

    for _ in range(300):
        asked = [query(rng) for _ in range(rng.choice([1, 1, 2]))]
        conditions = tuple(condition(TYPE, name, value) for name, value in asked)
        expected = {
            each["id"]
            for each in kept
            if all(matches(each, name, value, family, seen) for name, value in asked)
        }
        searching = Searching("http://x/fhir", {"Patient": REACH, "Provenance": REACH})
        found = await search.page(db, Query(TYPE, conditions), searching, reach=REACH, limit=100)
        assert {each.id for each in found} == expected, asked
