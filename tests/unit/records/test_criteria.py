"""Search parameters are parsed into values, or refused: for any text."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.core.errors import InvalidInput
from server.records.conditions import Chain, Criterion, Has
from server.records.criteria import condition
from server.records.fold import fold
from server.records.registry import types
from server.records.search_references import Searching
from server.records.search_sql import where
from server.records.search_values import measured, split, unescaped
from tests.drawn import examples

OBSERVATION = types()["Observation"]
names = st.sampled_from([*OBSERVATION.params, "_id", "_lastUpdated", "nonsense"])
modifiers = st.sampled_from(
    ["", ":not", ":exact", ":missing", ":text", ":Patient", ":below", ":of-type", ".name", ":x"]
)


@given(st.builds("".join, st.tuples(names, modifiers)) | st.text(max_size=20), st.text(max_size=30))
@settings(max_examples=examples(100))
def test_any_parameter_is_read_or_refused(name: str, value: str) -> None:
    try:
        found = condition(OBSERVATION, name, value)
    except InvalidInput:
        return
    assert isinstance(found, Criterion | Chain | Has)
    text = where(found, Searching("http://x/fhir")).sql
    assert "'" not in text.replace("''", "")


def test_the_three_kinds() -> None:
    one = condition(OBSERVATION, "code:not", "a,b\\,c")
    assert isinstance(one, Criterion)
    assert (one.modifier, one.values) == ("not", ("a", "b\\,c"))
    chain = condition(OBSERVATION, "subject:Patient.name", "x")
    assert isinstance(chain, Chain)
    assert [target for target, _ in chain.targets] == ["Patient"]
    has = condition(types()["Patient"], "_has:Observation:patient:code", "x")
    assert isinstance(has, Has)
    assert has.param.key == "Observation.patient"


@given(st.lists(st.text(max_size=5).filter(lambda text: text == text.strip()), min_size=1, max_size=5))
def test_escaping(parts: list[str]) -> None:
    """FHIR R4, 3.1.1.4.19."""
    escaped = [
        part.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|").replace("$", "\\$")
        for part in parts
    ]
    assert [unescaped(part) for part in split(",".join(escaped), ",")] == parts


@pytest.mark.parametrize(
    ("text", "prefix", "number", "half"),
    [
        ("100", "eq", "100", "0.5"),
        ("100.00", "eq", "100.00", "0.005"),
        ("lt1e2", "lt", "1e2", "50"),
        ("ap-5.4", "ap", "-5.4", "0.05"),
    ],
)
def test_precision(text: str, prefix: str, number: str, half: str) -> None:
    """FHIR R4, 3.1.1.4.6: 100 is 99.5 to 100.5, 100.00 is 99.995 to 100.005."""
    found = measured(text, "x")
    assert (found.prefix, found.number, found.half) == (prefix, Decimal(number), Decimal(half))


@given(st.text(max_size=40))
def test_fold_is_stable(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("  Ångström ", "angstrom"),
        ("Łukasz  Żółć", "lukasz zolc"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert fold(text) == folded
