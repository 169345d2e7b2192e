"""Searches against a naive reading of the specification: generated resources, generated queries, the same answers.

FHIR R4, 3.1.1.4 and 3.1.3; the reading is in `naive.py`. Every kind of parameter, every modifier and every prefix is
drawn. Each search is asked twice: by value, and row by row for one patient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from server.access.action import Action, Verb
from server.access.reach import Ground, Lane, Reach
from server.core import clock
from server.records import search, store
from server.records.criteria import MODIFIERS, condition
from server.records.registry import Kind, types
from server.records.search import Query
from server.records.search_references import Searching
from server.storage.db import Database
from server.storage.sql import Statement
from tests.drawn import examples

from .drawn import (
    CODES,
    DATES,
    DOCUMENT,
    ENCOUNTERS,
    OBSERVATION,
    ONE_VALUE,
    PARAMETERS,
    PATIENTS,
    QUERIES,
    SETS,
    TEXTS,
    any_of,
    boolean,
)  # fmt: skip
from .naive import BASE, PREFIXES, Json, World, date, folded

ADD_PATIENT = Statement("add", "INSERT INTO patient (id, created_at) VALUES ('p1', :now), ('p2', :now)")
FORGET = Statement("forget", "DELETE FROM resource WHERE type = ANY (:types)")
FORGET_VERSIONS = Statement("forget", "DELETE FROM resource_version WHERE type = ANY (:types)")
EVERYTHING = Reach(Action("Observation", Verb.SEARCH), (Lane(Ground.SERVER),))
OWN = Reach(Action("Observation", Verb.SEARCH), (Lane(Ground.SERVER, patient="p1"),))
REACHES = dict.fromkeys(("Patient", "Encounter", "Observation", "List", "Provenance"), EVERYTHING)


@st.composite
def query(draw: Callable[..., Any], type: str) -> tuple[str, str]:
    name = draw(any_of(sorted(QUERIES[type])))
    most = 1 if any(part in name for part in ONE_VALUE) else 2
    return name, ",".join(draw(st.lists(QUERIES[type][name], min_size=1, max_size=most)))


def test_every_modifier_and_prefix_is_asked() -> None:
    """What the server offers by kind is what is drawn here."""
    asked: dict[Kind, set[str]] = {}
    for type, queries in QUERIES.items():
        for name in queries:
            head, _, modifier = name.partition(":")
            if head in types()[type].params:
                asked.setdefault(types()[type].params[head].kind, set()).add(modifier)
    for kind, modifiers in asked.items():
        assert modifiers >= MODIFIERS[kind] - ({"missing"} if kind is Kind.TOKEN else set()), kind
    assert asked.keys() == set(Kind) - {Kind.NUMBER}  # R4 has none for our types
    assert set(PREFIXES) == {"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"}


@st.composite
def filters(draw: Callable[..., Any], depth: int = 0) -> tuple[str, Callable[[World, Json], bool]]:
    """The text of a `_filter`, and what it means."""
    kind = draw(any_of(["test", "test", "and", "or", "not"])) if depth < 2 else "test"
    if kind == "test":
        return draw(comparison())
    left, left_means = draw(filters(depth + 1))
    if kind == "not":
        return f"not ({left})", lambda world, one: not left_means(world, one)
    right, right_means = draw(filters(depth + 1))
    if kind == "and":
        return f"({left}) and ({right})", lambda w, one: left_means(w, one) and right_means(w, one)
    return f"({left}) or ({right})", lambda w, one: left_means(w, one) or right_means(w, one)


@st.composite
def comparison(draw: Callable[..., Any]) -> tuple[str, Callable[[World, Json], bool]]:
    said, day, operator = draw(any_of(TEXTS)), draw(any_of(DATES)), draw(any_of(PREFIXES))
    quoted = '"' + said.replace("\\", "\\\\") + '"'
    code, present = draw(any_of(CODES)), draw(boolean)
    strings = {
        "eq": lambda text: folded(text) == folded(said),
        "ne": lambda text: folded(text) != folded(said),
        "co": lambda text: folded(said) in folded(text),
        "sw": lambda text: folded(text).startswith(folded(said)),
        "ew": lambda text: folded(text).endswith(folded(said)),
    }
    how = draw(any_of(sorted(strings)))
    dates, categories = PARAMETERS["Observation"]["date"].elements, f"{SETS}/observation-category"
    return draw(any_of([
        (f"value-string {how} {quoted}", lambda w, r: "valueString" in r and strings[how](r["valueString"])),
        (f"date {operator} {day}", lambda w, r: w.matches(r, "date", operator + day)),
        (f"date po {day}", lambda w, r: any(date(one, day, w.now, "overlaps") for one in dates(r))),
        (f"code eq urn:a|{code}", lambda w, r: w.matches(r, "code", f"urn:a|{code}")),
        (f"code ne {code}", lambda w, r: any(one["code"] != code for one in r["code"]["coding"])),
        ("status ss amended", lambda w, r: w.matches(r, "status:below", "amended")),
        ("status sb corrected", lambda w, r: w.matches(r, "status:above", "corrected")),
        (f"category in {categories}", lambda w, r: w.matches(r, "category:in", categories)),
        (f"value-quantity pr {present}", lambda w, r: ("valueQuantity" in r) == (present == "true")),
        ("subject re Patient/p1", lambda w, r: r["subject"]["reference"] == "Patient/p1"),
        ('patient.family co "oo"', lambda w, r: r["subject"]["reference"] == "Patient/p1"),
        (f'has-member[value-string {how} {quoted}].code eq {code}',
         lambda w, r: any("valueString" in o and strings[how](o["valueString"]) and w.matches(o, "code", code)
                          for o in (w.resources.get(each, {}) for each in w.references(r, "has-member")))),
        ("id eq o1", lambda w, r: r["id"] == "o1"),
    ]))  # fmt: skip


def around() -> list[Json]:
    """What the others refer to."""
    found: list[Json] = [
        {"resourceType": "Patient", "id": id, "name": [{"family": name}]} for id, name in PATIENTS.items()
    ]
    for id, above in ENCOUNTERS.items():
        part_of = {"partOf": {"reference": f"Encounter/{above}"}} if above else {}
        found.append(
            {"resourceType": "Encounter", "id": id, "subject": {"reference": "Patient/p1"}, **part_of}
        )
    for number, target in enumerate(("Observation/o1", "Observation/o3")):
        found.append({"resourceType": "Provenance", "id": f"v{number}", "recorded": f"202{number}-06-15T12:00:00Z",
                      "target": [{"reference": target}]})  # fmt: skip
        found.append(
            {"resourceType": "List", "id": f"l{number + 1}", "entry": [{"item": {"reference": target}}]}
        )
    return found


async def keep(db: Database, resources: list[Json]) -> None:
    for each in resources:
        owner = each.get("subject", {}).get("reference", "Patient/p1").partition("/")[2]
        await store.put(
            db, each, patient_id=each["id"] if each["resourceType"] == "Patient" else owner, author="server"
        )


async def answers(db: Database, type: str, asked: list[tuple[str, str]], reach: Reach) -> set[str]:
    conditions = tuple(condition(types()[type], name, value) for name, value in asked)
    query = Query(types()[type], conditions)
    searching = Searching(BASE, REACHES)
    found = await search.page(db, query, searching, reach=reach, limit=100)
    assert await search.count(db, query, searching, reach=reach, limit=None) == len(found)
    assert [one.key for one in found] == sorted({one.key for one in found}, reverse=True)
    first = await search.first_page(db, query, searching, reach=reach, limit=2, counted=4)
    assert (first.found, first.counted) == (found[:2], min(len(found), 4))
    if len(found) > 2:
        later = {"limit": 100, "after": first.found[-1].position}
        assert await search.page(db, query, searching, reach=reach, **later) == found[2:]
    return {one.id for one in found}


def numbered(drawn: list[Json]) -> list[Json]:
    return [{**each, "id": f"o{place}"} for place, each in enumerate(drawn)]


@settings(
    max_examples=examples(12), phases=(Phase.explicit, Phase.reuse, Phase.generate),  # making small takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(data=st.data(), type=any_of(["Observation", "Observation", "DocumentReference"]))
async def test_search_is_as_the_specification_reads(db: Database, data: st.DataObject, type: str) -> None:
    kept = numbered(
        data.draw(
            st.lists(
                {"Observation": OBSERVATION, "DocumentReference": DOCUMENT}[type], min_size=6, max_size=10
            )
        )
    )
    others = around()
    world = World({f"{r['resourceType']}/{r['id']}": r for r in [*others, *kept]}, PARAMETERS, clock.now())
    if not await db.fetch_val(Statement("there", "SELECT count(*) FROM patient WHERE id = 'p1'")):
        await db.execute(ADD_PATIENT, {"now": clock.now()})
        await keep(db, others)
    both = {"types": ["Observation", "DocumentReference"]}
    await db.execute(FORGET, both)
    await db.execute(FORGET_VERSIONS, both)
    await keep(db, kept)
    own = {each["id"] for each in kept if each["subject"]["reference"] == "Patient/p1"}
    for asked in data.draw(st.lists(st.lists(query(type), min_size=1, max_size=2), min_size=14, max_size=14)):
        expected = {each["id"] for each in kept if all(world.matches(each, *one) for one in asked)}
        assert await answers(db, type, asked, EVERYTHING) == expected, asked
        if not any("has-member" in name for name, _ in asked):
            assert await answers(db, type, asked, OWN) == expected & own, asked
    if type == "Observation":
        for written, means in data.draw(st.lists(filters(), min_size=4, max_size=4)):
            expected = {each["id"] for each in kept if means(world, each)}
            assert await answers(db, type, [("_filter", written)], EVERYTHING) == expected, written
