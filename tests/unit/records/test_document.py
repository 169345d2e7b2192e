"""JSON is read without losing anything, and what is no JSON object is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.errors import InvalidInput
from server.records import document

texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=[chr(c) for c in range(32)]), max_size=20
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(texts, values, max_size=5))
def test_what_is_parsed_is_written_back(value: dict[str, object]) -> None:
    text = json.dumps(value, ensure_ascii=False).encode()
    assert json.loads(document.dump(document.parse(text))) == value


@given(st.from_regex(rb"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_numbers_keep_their_form(number: bytes) -> None:
    """FHIR R4, 2.6.2: the precision of a decimal is part of what it says."""
    text = b'{"value":' + number + b"}"
    written = document.dump(document.parse(text))
    is_plain = b"." not in number and b"e" not in number.lower()
    assert written == text or (is_plain and orjson.loads(written) == json.loads(text))
    assert document.dump(document.load_exact(written)) == written


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(InvalidInput):
        assert isinstance(document.parse(body), dict)


@pytest.mark.parametrize("body", [b'{"a":1,"a":2}', b'{"a":{"b":1,"b":1}}', b'{"a":NaN}', b'{"a":-Infinity}', b"[1]",
                                  b'{"a":"\x01"}', b'{"a":"\\u0000"}', b'{"\\ud800":1}', b'{"a":1e400}',
                                  b'{"a":' * 90 + b"1" + b"}" * 90, b"[" * 10**5])  # fmt: skip
def test_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        document.parse(body)


def test_the_servers_id_and_meta_are_put_in() -> None:
    sent = {
        "status": "final",
        "resourceType": "Observation",
        "id": "x",
        "meta": {"tag": [{"code": "t"}], "versionId": "9"},
    }
    made = document.identified(
        sent, id="1", version=2, last_updated=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    )
    meta = {"tag": [{"code": "t"}], "versionId": "2", "lastUpdated": "2026-01-02T03:04:05.678Z"}
    assert made == {"resourceType": "Observation", "id": "1", "meta": meta, "status": "final"}
    assert document.content_hash(sent) == document.content_hash(made)
    assert document.content_hash(sent) != document.content_hash(made | {"status": "amended"})
