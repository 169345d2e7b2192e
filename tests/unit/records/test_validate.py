"""Validation never fails by itself, and takes what the specification's own examples do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.records import validate
from server.records.index import rows_of
from server.records.registry import types
from server.records.structure import structure
from tests.drawn import examples

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)


def shapes(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with names that the type has, and values of any shape."""
    elements = sorted(structure(name).elements)
    keys = st.sampled_from(
        [*elements, *(f"_{each}" for each in elements), "coding", "value", "reference", "url"]
    )
    inner = st.recursive(
        scalars,
        lambda more: st.lists(more, max_size=3) | st.dictionaries(keys, more, max_size=4),
        max_leaves=8,
    )
    return st.dictionaries(keys, inner, max_size=6).map(lambda value: {**value, "resourceType": name})


@pytest.mark.parametrize(
    "name", ["Patient", "Observation", "Consent", "ImagingStudy", "DocumentReference", "AuditEvent"]
)
def test_any_shape_is_judged_and_indexed(name: str) -> None:
    @given(shapes(name))
    @settings(max_examples=examples(50))
    def holds(resource: dict[str, Any]) -> None:
        issues = validate._issues(resource)
        assert all(issue.expression.startswith(name) and issue.sentence for issue in issues)
        if not issues:
            rows_of(resource, types()[name]).values()

    holds()


def test_a_whole_resource_is_valid() -> None:
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Ada <b>Moor</b></p></div>',
        },
        "contained": [{"resourceType": "Organization", "id": "o", "name": "O"}],
        "extension": [{"url": "http://example.org/e", "valueMeta": {"tag": [{"code": "x"}]}}],
        "name": [
            {
                "given": ["Ada", None],
                "_given": [None, {"extension": [{"url": "http://x.example", "valueCode": "a"}]}],
            }
        ],
        "birthDate": "1980-02-29",
        "_birthDate": {
            "extension": [{"url": "http://x.example", "valueDateTime": "1980-02-29T10:00:00.717Z"}]
        },
        "deceasedBoolean": False,
        "managingOrganization": {"reference": "#o"},
        "multipleBirthInteger": 2,
    }
    assert validate._issues(patient) == []


def test_r4b_is_not_r4() -> None:
    """fhir.md: elements and types that only R4B has are refused."""
    value = {"url": "http://x.example", "valueRatioRange": {"denominator": {"value": 1}}}
    assert validate._issues({"resourceType": "Patient", "extension": [value]})
    assert validate._issues({"resourceType": "Citation", "status": "active"})
    subject = {"reference": "Organization/1"}
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": subject,
    }
    assert [issue.expression for issue in validate._issues(observation)] == ["Observation.subject"]
