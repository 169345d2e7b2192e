"""Searches against a naive reading of the specification: generated resources, generated queries, the same answers.

FHIR R4, 3.1.1.4. The naive side works on the JSON with plain Python, knows nothing of the index, and takes each
sentence of the specification at its word.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
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
from server.storage.sql import Statement

Json = dict[str, Any]

OBSERVATION = types()["Observation"]
ADD_PATIENT = Statement("add", "INSERT INTO patient (id, created_at) VALUES (:id, :now)")
EVERYTHING = Reach(Action("Observation", Verb.SEARCH), (Lane(Ground.SERVER),))
OWN = Reach(Action("Observation", Verb.SEARCH), (Lane(Ground.SERVER, patient="p1"),))

SYSTEMS = [None, "urn:a", "urn:b"]
CODES = ["x", "y", "Z"]
TEXTS = ["Ångström", "angst", "ANG", "b ang", "100%", "a,b", "a\\b"]
DATES = ["2020", "2020-06", "2020-06-15", "2020-06-15T12:00:00Z", "2020-06-15T12:00:00.5Z", "2021-01-01", "2019-12-31",
         "2020-06-15T23:30:00-02:00"]  # fmt: skip
NUMBERS = ["5", "5.4", "5.40", "-3", "100", "99.6", "1e2", "0"]
PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]
NAMES = ["p1", "p2", "x1"]


def some(rng: random.Random, pool: list[Any]) -> Any:
    return rng.choice(pool)


def coding(rng: random.Random) -> Json:
    system, found = some(rng, SYSTEMS), {"code": some(rng, CODES)}
    return found | ({"system": system} if system else {})


def observation(rng: random.Random, number: int) -> Json:
    made: Json = {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": some(rng, ["final", "amended"]),
        "code": {"coding": [coding(rng) for _ in range(rng.randint(1, 2))]},
        "subject": {"reference": "Patient/p1"},
    }
    if rng.random() < 0.7:
        made["category"] = [{"coding": [coding(rng)]}]
    if rng.random() < 0.8:
        made["effectiveDateTime"] = some(rng, DATES)
    elif rng.random() < 0.7:
        start, end = sorted([some(rng, DATES), some(rng, DATES)], key=lambda text: span(text)[0])
        made["effectivePeriod"] = some(rng, [{"start": start}, {"end": end}, {"start": start, "end": end}])
    match rng.randint(0, 2):
        case 0:
            made["valueString"] = some(rng, TEXTS)
        case 1:
            made["valueQuantity"] = {"value": Decimal(some(rng, NUMBERS)), "unit": some(rng, CODES)}
    if rng.random() < 0.6:
        made["performer"] = [
            {"reference": f"Practitioner/{some(rng, NAMES)}"} for _ in range(rng.randint(1, 2))
        ]
    return made


def query(rng: random.Random) -> tuple[str, str]:
    def token() -> str:
        return some(rng, [some(rng, CODES), f"{some(rng, SYSTEMS) or ''}|{some(rng, CODES)}", "urn:a|"])

    def text() -> str:
        value: str = some(rng, [*TEXTS, "ang", "ANGSTR", "%", "_"])
        return value.replace("\\", "\\\\").replace(",", "\\,")

    kinds = {
        "code": (["", ":not", ":missing"], token),
        "category": (["", ":not", ":missing"], token),
        "status": (["", ":not"], lambda: some(rng, ["final", "amended", "x"])),
        "date": (["", ":missing"], lambda: some(rng, PREFIXES) + some(rng, DATES)),
        "value-string": (["", ":exact", ":contains", ":missing"], text),
        "value-quantity": (["", ":missing"], lambda: some(rng, PREFIXES) + some(rng, NUMBERS)),
        "performer": (["", ":missing"], lambda: some(rng, ["", "Practitioner/"]) + some(rng, NAMES)),
        "_id": (["", ":not"], lambda: f"o{rng.randint(0, 40)}"),
    }
    name = some(rng, list(kinds))
    modifiers, value = kinds[name]
    modifier = some(rng, modifiers)
    if modifier == ":missing":
        return name + modifier, some(rng, ["true", "false"])
    return name + modifier, ",".join(value() for _ in range(rng.choice([1, 1, 1, 2])))


# The naive side --------------------------------------------------------------------------------------------------


def matches(resource: Json, name: str, value: str) -> bool:
    name, _, modifier = name.partition(":")
    elements = list(ELEMENTS[name](resource))
    if modifier == "missing":
        return (not elements) == (value == "true")
    wanted = split(value)
    if modifier == "not":
        return not any(MATCH[name](element, one, "") for element in elements for one in wanted)
    return any(MATCH[name](element, one, modifier) for element in elements for one in wanted)


def split(text: str) -> list[str]:
    parts, part = [], ""
    rest = iter(text)
    for char in rest:
        if char == "\\":
            part += char + next(rest)
        elif char == ",":
            parts.append(part)
            part = ""
        else:
            part += char
    return [*parts, part]


def plain(text: str) -> str:
    return text.replace("\\,", ",").replace("\\\\", "\\")


def token(element: Json, value: str, _: str) -> bool:
    if "|" not in value:
        return bool(element.get("code") == value)
    system, code = value.split("|")
    same_code = not code or element.get("code") == code
    return same_code and element.get("system", "") == system


def folded(text: str) -> str:
    return text.lower().replace("å", "a").replace("ö", "o")


def string(element: str, value: str, modifier: str) -> bool:
    wanted = plain(value)
    if modifier == "exact":
        return element == wanted
    if modifier == "contains":
        return folded(wanted) in folded(element)
    return folded(element).startswith(folded(wanted))


def span(text: str) -> tuple[datetime, datetime]:
    if len(text) == 4:
        return datetime(int(text), 1, 1, tzinfo=UTC), datetime(int(text) + 1, 1, 1, tzinfo=UTC)
    if len(text) == 7:
        year, month = int(text[:4]), int(text[5:])
        return datetime(year, month, 1, tzinfo=UTC), datetime(
            year + month // 12, month % 12 + 1, 1, tzinfo=UTC
        )
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if len(text) == 10:
        return moment, moment + timedelta(days=1)
    return moment, moment + (timedelta(milliseconds=100) if "." in text else timedelta(seconds=1))


def prefix_of(value: str) -> tuple[str, str]:
    return (value[:2], value[2:]) if value[:2] in PREFIXES and value[:1].isalpha() else ("eq", value)


def date(element: tuple[datetime, datetime], value: str, _: str) -> bool:
    prefix, text = prefix_of(value)
    (low, high), (start, end) = element, span(text)
    inside = start <= low and high <= end
    return {
        "eq": inside,
        "ne": not inside,
        "gt": high > end,
        "lt": low < start,
        "ge": high > end or inside,
        "le": low < start or inside,
        "sa": low >= end,
        "eb": high <= start,
    }[prefix]


def quantity(element: Json, value: str, _: str) -> bool:
    prefix, text = prefix_of(value)
    number, given = Decimal(text), element["value"]
    half = Decimal(5).scaleb(int(number.as_tuple().exponent) - 1)
    inside = number - half <= given < number + half
    return bool(
        {
            "eq": inside, "ne": not inside, "gt": given > number, "sa": given > number, "lt": given < number,
            "eb": given < number, "ge": given >= number, "le": given <= number,
        }[prefix]
    )  # fmt: skip


def effective(resource: Json) -> list[tuple[datetime, datetime]]:
    if "effectiveDateTime" in resource:
        return [span(resource["effectiveDateTime"])]
    if period := resource.get("effectivePeriod"):
        low = span(period["start"])[0] if "start" in period else datetime.min.replace(tzinfo=UTC)
        high = span(period["end"])[1] if "end" in period else datetime.max.replace(tzinfo=UTC)
        return [(low, high)]
    return []


def one(resource: Json, name: str) -> list[Any]:
    return [resource[name]] if name in resource else []


ELEMENTS = {
    "code": lambda r: r["code"]["coding"],
    "category": lambda r: [each for concept in r.get("category", []) for each in concept["coding"]],
    "status": lambda r: [r["status"]],
    "date": effective,
    "value-string": lambda r: one(r, "valueString"),
    "value-quantity": lambda r: one(r, "valueQuantity"),
    "performer": lambda r: [each["reference"] for each in r.get("performer", [])],
    "_id": lambda r: [r["id"]],
}
MATCH = {
    "code": token,
    "category": token,
    "status": lambda element, value, _: element == value,
    "date": date,
    "value-string": string,
    "value-quantity": quantity,
    "performer": lambda element, value, _: value in (element, element.rpartition("/")[2]),
    "_id": lambda element, value, _: element == value,
}


async def test_search_is_as_the_specification_reads(db: Database) -> None:
    rng = random.Random(20240131)
    await db.execute(ADD_PATIENT, {"id": "p1", "now": clock.now()})
    kept = [observation(rng, number) for number in range(40)]
    for each in kept:
        sent = {**each}
        if "valueQuantity" in sent:
            sent["valueQuantity"] = {**sent["valueQuantity"], "value": float(sent["valueQuantity"]["value"])}
        await store.put(db, sent, patient_id="p1", author="server")
    for _ in range(400):
        asked = [query(rng) for _ in range(rng.choice([1, 1, 2, 3]))]
        conditions = tuple(condition(OBSERVATION, name, value) for name, value in asked)
        expected = {each["id"] for each in kept if all(matches(each, name, value) for name, value in asked)}
        for reach in (EVERYTHING, OWN):  # asked by value, and row by row
            found = await search.page(
                db, Query(OBSERVATION, conditions), Searching("http://x/fhir"), reach=reach, limit=100
            )
            assert {each.id for each in found} == expected, asked
