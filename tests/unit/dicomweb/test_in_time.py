"""Searches that do not end in time: PS3.18, Table 10.6.3-1 (413: narrow the query)."""

from __future__ import annotations

import pytest

from server.core.errors import StorageUnavailable, TooLarge, Unavailable
from server.dicomweb.qido import in_time
from server.dicomweb.qido_params import parse
from server.imaging.columns import Level


@pytest.mark.parametrize(
    ("key", "raised", "answer"),
    [
        ("KVP", Unavailable(), TooLarge),
        ("PatientName", Unavailable(), Unavailable),
        ("KVP", StorageUnavailable(), StorageUnavailable),
    ],
)
def test_a_search_without_an_index_is_too_broad(key: str, raised: Exception, answer: type[Exception]) -> None:
    with pytest.raises(answer) as said, in_time(parse([(key, "120")]), Level.INSTANCE):
        raise raised
    assert (answer is not TooLarge) or key in str(said.value)
