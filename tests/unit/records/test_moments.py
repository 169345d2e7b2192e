"""Partial dates are spans of time (FHIR R4, 3.1.1.4.7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.records.moments import EARLIEST, LATEST, span


@pytest.mark.parametrize(
    ("text", "low", "length"),
    [
        ("2020", datetime(2020, 1, 1, tzinfo=UTC), timedelta(days=366)),
        ("2020-02", datetime(2020, 2, 1, tzinfo=UTC), timedelta(days=29)),
        ("2020-12", datetime(2020, 12, 1, tzinfo=UTC), timedelta(days=31)),
        ("2020-02-29", datetime(2020, 2, 29, tzinfo=UTC), timedelta(days=1)),
        ("2020-02-29T10:00Z", datetime(2020, 2, 29, 10, tzinfo=UTC), timedelta(minutes=1)),
        ("2020-02-29T10:00:30+02:00", datetime(2020, 2, 29, 8, 0, 30, tzinfo=UTC), timedelta(seconds=1)),
        (
            "2020-02-29T10:00:30.12Z",
            datetime(2020, 2, 29, 10, 0, 30, 120000, UTC),
            timedelta(milliseconds=10),
        ),
        ("2020-02-29T23:59:60Z", datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC), timedelta(seconds=1)),
    ],
)
def test_spans(text: str, low: datetime, length: timedelta) -> None:
    found = span(text)
    assert (found.low, found.high - found.low) == (low, length)


@pytest.mark.parametrize(
    "text", ["", "20", "2020-13", "2020-02-30", "2020-2-3", "0000", "2020-01-01T25:00Z", "2020-01-01T10", "today",
             "2020-01-01T10:00:00+25:99", "２０２０", "2020-01-01 10:00:00Z", "2020-01-01T10:00:00.Z"],
)  # fmt: skip
def test_no_date(text: str) -> None:
    with pytest.raises(ValueError):
        span(text)


@given(
    st.from_regex(
        r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2}))?)?)?",
        fullmatch=True,
    )
)
def test_any_date_is_a_span_or_refused(text: str) -> None:
    try:
        found = span(text)
    except ValueError:
        return
    assert EARLIEST <= found.low <= found.high <= LATEST
    assert found.low < found.high or found.high == LATEST


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda moment: 2 <= moment.year < 9998))
def test_a_coarser_date_contains_a_finer_one(moment: datetime) -> None:
    text = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    spans = [span(text[:length] if length < 20 else text) for length in (4, 7, 10, 20)]
    for coarse, fine in pairwise(spans):
        assert coarse.low <= fine.low < fine.high <= coarse.high
