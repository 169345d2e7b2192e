"""JSON Patch against the examples of RFC 6902, appendix A, and for any operations."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.errors import InvalidInput, ServerError, Unprocessable
from server.fhir import json_patch


@pytest.mark.parametrize(
    ("document", "operations", "expected"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["a", "b"]}, [{"op": "add", "path": "/foo/1", "value": "x"}], {"foo": ["a", "x", "b"]}),
        ({"baz": 1, "foo": 2}, [{"op": "remove", "path": "/baz"}], {"foo": 2}),
        ({"foo": ["a", "b", "c"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["a", "c"]}),
        ({"baz": 1}, [{"op": "replace", "path": "/baz", "value": 2}], {"baz": 2}),
        (
            {"a": {"b": 1}, "c": {}},
            [{"op": "move", "from": "/a/b", "path": "/c/d"}],
            {"a": {}, "c": {"d": 1}},
        ),
        ({"foo": [1, 2, 3, 4]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}], {"foo": [1, 3, 4, 2]}),
        ({"foo": [1]}, [{"op": "copy", "from": "/foo", "path": "/bar"}], {"foo": [1], "bar": [1]}),
        ({"foo": [1]}, [{"op": "add", "path": "/foo/-", "value": [2]}], {"foo": [1, [2]]}),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        ({"a": None}, [{"op": "test", "path": "/a", "value": None}], {"a": None}),
        ({"a": 1}, [{"op": "add", "path": "", "value": {"b": 2}}], {"b": 2}),
    ],
)
def test_examples(document: Any, operations: Any, expected: Any) -> None:
    before = copy.deepcopy(document)
    assert json_patch.apply(document, operations) == expected
    assert document == before  # the original is not touched


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/baz/bat", "value": 1},
        {"op": "remove", "path": "/nothing"},
        {"op": "replace", "path": "/foo/9", "value": 1},
        {"op": "replace", "path": "/foo/-1", "value": 1},
        {"op": "replace", "path": "/foo/01", "value": 1},
        {"op": "test", "path": "/one", "value": True},
        {"op": "move", "from": "/foo", "path": "/foo/0"},
        {"op": "add", "path": "foo", "value": 1},
        {"op": "add", "path": "/x"},
        {"path": "/foo"},
        {"op": "add"},
        7,
    ],
)
def test_refused(operation: Any) -> None:
    with pytest.raises(ServerError) as refused:
        json_patch.apply({"foo": ["a"], "one": 1}, [operation])
    assert refused.value.status in (400, 422)


values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("ab~/", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
paths = st.text("/ab~01-9", max_size=8)
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]), "path": paths},
    optional={"from": paths, "value": values},
)


@given(values, st.lists(operations, max_size=4))
def test_any_patch_is_applied_or_refused(document: Any, patch: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(document)
    with suppress(InvalidInput, Unprocessable):
        json_patch.apply(document, patch)
    assert document == before
