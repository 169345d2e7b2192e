"""FHIR R4, 3.1.1.4.17 (composite parameters), `_list` (3.1.1.4.3), phonetic search of names."""

from __future__ import annotations

from typing import Any

import pytest

Json = dict[str, Any]
LOINC = "http://loinc.org"


def component(code: str, value: float | int | None = None, concept: str = "") -> Json:
    found: Json = {"code": {"coding": [{"system": LOINC, "code": code}]}}
    if value is not None:
        found["valueQuantity"] = {
            "value": value,
            "unit": "mmHg",
            "code": "mm[Hg]",
            "system": "http://unitsofmeasure.org",
        }
    if concept:
        found["valueCodeableConcept"] = {"coding": [{"system": "urn:x", "code": concept}]}
    return found


@pytest.fixture
async def pressures(api):
    """Two blood pressures that differ only in which part is high, and a plain value."""
    one = await api.made(api.observation(component=[component("8480-6", 150), component("8462-4", 70)]))
    two = await api.made(api.observation(component=[component("8480-6", 70), component("8462-4", 150)]))
    plain = await api.made(api.observation(valueQuantity={"value": 150, "unit": "/min"}))
    return one["id"], two["id"], plain["id"]


async def test_both_parts_are_of_the_same_component(api, pressures):
    one, two, plain = pressures
    found = await api.found("Observation?component-code-value-quantity=8480-6$gt140")
    assert found == [one]
    assert await api.found(f"Observation?component-code-value-quantity={LOINC}|8462-4$150||mm[Hg]") == [two]
    both = await api.found("Observation?component-code-value-quantity=8480-6$gt140,8462-4$gt140")
    assert set(both) == {one, two}
    assert await api.found("Observation?combo-code-value-quantity=8480-6$lt100") == [two]
    assert await api.found("Observation?combo-code-value-quantity=8867-4$150") == [plain]
    assert await api.found("Observation?code-value-quantity=8867-4$gt100") == [plain]
    assert await api.found("Observation?code-value-quantity=8480-6$gt100") == []
    missing = await api.found("Observation?component-code-value-quantity:missing=true")
    assert missing == [plain]


async def test_values_of_other_kinds(api):
    concept = await api.made(
        api.observation(valueCodeableConcept={"coding": [{"system": "urn:x", "code": "yes"}]})
    )
    text = await api.made(api.observation(valueString="Clear lungs, no $ sign"))
    day = await api.made(api.observation(valueDateTime="2020-02-03"))
    part = await api.made(api.observation(component=[component("1-8", concept="no")]))
    assert await api.found("Observation?code-value-concept=8867-4$urn:x|yes") == [concept["id"]]
    assert await api.found("Observation?combo-code-value-concept=1-8$no") == [part["id"]]
    assert await api.found("Observation?component-code-value-concept=1-8$no") == [part["id"]]
    assert await api.found("Observation?code-value-string=8867-4$clear") == [text["id"]]
    assert await api.found("Observation?code-value-date=8867-4$2020-02") == [day["id"]]
    assert await api.found("Observation?code-value-date=8867-4$gt2020-02-03") == []


async def test_a_relationship_of_documents(api):
    old = await api.made(document(api))
    relates = [{"code": "replaces", "target": {"reference": f"DocumentReference/{old['id']}"}}]
    new = await api.made(document(api, relatesTo=relates))
    query = f"DocumentReference?relationship=DocumentReference/{old['id']}$"
    assert await api.found(f"{query}replaces") == [new["id"]]
    assert await api.found(f"{query}appends") == []


def document(api: Any, **elements: Any) -> Json:
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": f"Patient/{api.patient}"},
        "content": [{"attachment": {"title": "x"}}],
        **elements,
    }


async def test_after_a_change(api, pressures):
    """An update makes the pairs anew, a delete ends them."""
    one = pressures[0]
    changed = api.observation(id=one, component=[component("8480-6", 120)])
    await api.put(f"Observation/{one}", changed)
    assert await api.found("Observation?component-code-value-quantity=8480-6$gt140") == []
    assert await api.found("Observation?component-code-value-quantity=8480-6$120") == [one]
    await api.delete(f"Observation/{one}")
    assert await api.found("Observation?component-code-value-quantity=8480-6$120") == []


@pytest.mark.parametrize("value", ["8480-6", "8480-6$", "$gt1", "a$b$c", "8480-6$high", "8480-6$gt1$2"])
async def test_a_value_that_cannot_be_read(api, value):
    answer = await api.get(f"Observation?component-code-value-quantity={value}")
    assert answer.status_code == 400


async def test_list(api, stranger):
    """`_list`: what a List refers to, of a List that the caller may search."""
    kept = await api.made(api.observation())
    await api.made(api.observation())
    made = await api.made(
        {
            "resourceType": "List",
            "status": "current",
            "mode": "working",
            "subject": {"reference": f"Patient/{api.patient}"},
            "entry": [{"item": {"reference": f"Observation/{kept['id']}"}}],
        }
    )
    assert await api.found(f"Observation?_list={made['id']}") == [kept["id"]]
    assert await stranger.found(f"Observation?_list={made['id']}") == []
    assert (await api.get("Observation?_list=$current-allergies")).status_code == 400


async def test_phonetic(api):
    for sounds in ("Moor", "More", "mour", "Aida"):
        assert await api.found(f"Patient?phonetic={sounds}") == [api.patient], sounds
    assert await api.found("Patient?phonetic=Zygmunt") == []
