"""FHIR R4, "FHIRPath Patch"."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Api, Json

NEW = {"valueCodeableConcept": {"text": "n"}}
FHIR = {"content_type": "application/fhir+json"}


def parameters(*operations: dict[str, Any]) -> Json:
    def part(name: str, value: Any) -> Json:
        if name in ("type", "path", "name"):
            return {"name": name, "valueCode" if name == "type" else "valueString": value}
        if isinstance(value, int):
            return {"name": name, "valueInteger": value}
        return {"name": name, **value} if isinstance(value, dict) else {"name": name, "valueString": value}

    made = [{"name": "operation", "part": [part(k, v) for k, v in each.items()]} for each in operations]
    return {"resourceType": "Parameters", "parameter": made}


async def test_all_five_operations(api: Api) -> None:
    made = await api.made(
        api.observation(
            identifier=[{"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "2"}],
            category=[{"text": "x"}, {"text": "y"}, {"text": "z"}],
            valueString="old",
        )
    )
    body = parameters(
        {"type": "replace", "path": "Observation.status", "value": {"valueCode": "amended"}},
        {"type": "replace", "path": "Observation.value", "value": "new"},
        {"type": "add", "path": "Observation", "name": "note", "value": {"valueAnnotation": {"text": "n"}}},
        {"type": "add", "path": "Observation.code", "name": "text", "value": "t"},
        {"type": "add", "path": "Observation", "name": "effective", "value": {"valueDateTime": "2020"}},
        {
            "type": "add",
            "path": "Observation",
            "name": "component",
            "value": {"part": [{"name": "code", "valueCodeableConcept": {"text": "c"}}]},
        },
        {"type": "delete", "path": "Observation.identifier.where(system = 'urn:a')"},
        {"type": "delete", "path": "Observation.bodySite"},
        {
            "type": "insert",
            "path": "Observation.category",
            "index": 1,
            "value": {"valueCodeableConcept": {"text": "i"}},
        },
        {"type": "move", "path": "Observation.category", "source": 3, "destination": 0},
        {"type": "replace", "path": "Observation.category[1].text", "value": "x2"},
    )
    answer = await api.patch(f"Observation/{made['id']}", body, **FHIR)
    assert answer.status_code == 200, answer.text
    now = answer.json()
    assert (now["status"], now["valueString"], now["note"]) == ("amended", "new", [{"text": "n"}])
    assert (now["code"]["text"], now["effectiveDateTime"]) == ("t", "2020")
    assert now["component"] == [{"code": {"text": "c"}}]
    assert [each["value"] for each in now["identifier"]] == ["2"]
    assert [each["text"] for each in now["category"]] == ["z", "x2", "i", "y"]


async def test_choices_and_anonymous_types(api: Api) -> None:
    """FHIRPath Patch: the type of the value says which of a choice it is; what has no data type comes in parts."""
    made = await api.made(
        api.observation(
            valueString="old", _valueString={"id": "a"}, _status={"id": "s"}, interpretation=[{"text": "i"}]
        )
    )
    component = [
        {"name": "code", "valueCodeableConcept": {"text": "c"}},
        {"name": "value[x]", "valueQuantity": {"value": 1}},
        {"name": "interpretation", "valueCodeableConcept": {"text": "1"}},
        {"name": "interpretation", "valueCodeableConcept": {"text": "2"}},
        {"name": "referenceRange", "part": [{"name": "text", "valueString": "r"}]},
    ]
    extension = {"part": [{"name": "url", "valueUri": "urn:x"}, {"name": "value", "valueCode": "v"}]}
    body = parameters(
        {"type": "replace", "path": "Observation.value", "value": {"valueQuantity": {"value": 2}}},
        {"type": "add", "path": "Observation", "name": "component", "value": {"part": component}},
        {"type": "add", "path": "Observation", "name": "extension", "value": extension},
        {
            "type": "insert",
            "path": "Observation.category",
            "index": 0,
            "value": {"valueCodeableConcept": {"text": "n"}},
        },
        {"type": "delete", "path": "Observation.interpretation[0]"},
    )
    answer = await api.patch(f"Observation/{made['id']}", body, **FHIR)
    assert answer.status_code == 200, answer.text
    now = answer.json()
    assert now["valueQuantity"] == {"value": 2}
    assert not {"valueString", "_valueString", "interpretation"} & now.keys()
    assert now["component"] == [
        {"code": {"text": "c"}, "valueQuantity": {"value": 1}, "interpretation": [{"text": "1"}, {"text": "2"}],
         "referenceRange": [{"text": "r"}]}
    ]  # fmt: skip
    assert now["extension"] == [{"url": "urn:x", "valueCode": "v"}]
    assert now["category"] == [{"text": "n"}]


async def test_what_lies_beside_a_value_stays_with_it(api: Api) -> None:
    """R4, 2.6.2.3: insert, move and add leave the extensions of a primitive at its own value."""
    path, ext = "Patient.name[0].given", {"extension": [{"url": "urn:x", "valueCode": "v"}]}
    patient = (await api.get(f"Patient/{api.patient}")).json()
    patient["name"] = [{"family": "Moor", "given": ["A", "B"], "_given": [None, ext]}]
    assert (await api.put(f"Patient/{api.patient}", patient)).status_code == 200
    body = parameters(
        {"type": "insert", "path": path, "index": 0, "value": "I"},
        {"type": "move", "path": path, "source": 2, "destination": 0},
        {"type": "add", "path": "Patient.name[0]", "name": "given", "value": "Z"},
    )
    answer = await api.patch(f"Patient/{api.patient}", body, **FHIR)
    assert answer.status_code == 200, answer.text
    [name] = answer.json()["name"]
    assert (name["given"], name["_given"]) == (["B", "I", "A", "Z"], [ext, None, None, None])


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"type": "replace", "path": "Observation.note", "value": "x"}, 422),
        ({"type": "replace", "path": "Patient.status", "value": "x"}, 400),
        ({"type": "replace", "path": "Observation.status.resolve()", "value": "x"}, 400),
        ({"type": "replace", "path": "Observation.status", "value": {"valueCode": "wrong"}}, 422),
        ({"type": "replace", "path": "Observation.id", "value": "x"}, 400),
        ({"type": "add", "path": "Observation", "name": "status", "value": "final"}, 422),
        ({"type": "add", "path": "Observation", "name": "nonsense", "value": "x"}, 422),
        ({"type": "delete", "path": "Observation.category"}, 422),
        ({"type": "delete", "path": "Observation"}, 422),
        ({"type": "insert", "path": "Observation.category", "index": 9, "value": "x"}, 422),
        ({"type": "insert", "path": "Observation.bodySite", "index": 0, "value": NEW}, 422),
        ({"type": "fly", "path": "Observation.status"}, 400),
        ({"type": "replace", "path": "Observation.status"}, 400),
    ],
)
async def test_what_cannot_be(api: Api, operation: dict[str, Any], status: int) -> None:
    made = await api.made(api.observation(category=[{"text": "x"}, {"text": "y"}]))
    answer = await api.patch(f"Observation/{made['id']}", parameters(operation), **FHIR)
    assert answer.status_code == status, answer.text
    assert (await api.get(f"Observation/{made['id']}")).json() == made
