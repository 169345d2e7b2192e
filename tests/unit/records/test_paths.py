"""The small walker behind the registry's paths."""

from __future__ import annotations

import pytest

from server.records.paths import path
from server.records.registry import types
from server.records.structure import structure

RESOURCE = {
    "name": [{"family": "A", "given": ["B", "C"]}, {"family": "D"}],
    "telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "2"}],
    "effectiveDateTime": "2020",
    "effectiveness": "x",
    "subject": {"reference": "Patient/1"},
    "focus": [
        {"reference": "https://x.example/fhir/Patient/2"},
        {"reference": "Group/3"},
        {"type": "Patient"},
    ],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name.family", ["A", "D"]),
        ("name.given", ["B", "C"]),
        ("telecom[system=email].value", ["2"]),
        ("effective*", ["2020"]),
        ("subject<Patient>", [RESOURCE["subject"]]),
        ("subject<Group>", []),
        ("focus<Patient>", [RESOURCE["focus"][0], RESOURCE["focus"][2]]),  # type: ignore[index]
        ("name.family | name.given", ["A", "D", "B", "C"]),
        ("nothing.at.all", []),
    ],
)
def test_find(text: str, expected: list[object]) -> None:
    assert list(path(text).find(RESOURCE)) == expected


@pytest.mark.parametrize(
    "odd", [None, 5, "x", [], {}, {"name": None}, {"name": "x"}, {"name": [[]]}, {"name": {"family": {}}}]
)
def test_odd_shapes_are_no_error(odd: object) -> None:
    list(path("name.family").find(odd))


@pytest.mark.parametrize("name", sorted(types()))
def test_every_path_of_the_registry_begins_with_an_element_of_its_type(name: str) -> None:
    """A misspelt path would find nothing, silently."""
    type = types()[name]
    elements = structure(name).elements
    known = {*elements, *(element.choice for element in elements.values())}
    for param in type.params.values():
        assert param.path.elements <= known, param.key
    for where in (type.patient, type.happened, type.study):
        assert where is None or where.elements <= known
