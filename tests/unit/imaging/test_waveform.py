"""Waveforms on paper: what a sample is worth, and numbers beyond all sense (PS3.3, C.10.9)."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.imaging.drawing import svg
from server.imaging.waveform import groups_of, values_of
from server.imaging.waveform_sheet import sheet
from tests.drawn import examples

NUMBERS = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 5000), st.just("NaN"))


def model(**attributes: Any) -> dict[str, Any]:
    """One group of two channels."""
    values = {
        "003A0005": 2, "003A0010": 40, "003A001A": 10.0, "54001004": 16, "54001006": "SS", **attributes
    }  # fmt: skip
    item = {
        tag: {"vr": "DS", "Value": [value]} for tag, value in values.items() if not tag.startswith("channel")
    }
    channel = {
        "003A0203": {"vr": "SH", "Value": ["<b>&"]},
        "003A0210": {"vr": "DS", "Value": [attributes.get("channel_factor", 1)]},
        "003A0213": {"vr": "DS", "Value": [attributes.get("channel_baseline", 0)]},
        "003A0211": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["mV"]}}]},
    }
    item["003A0200"] = {"vr": "SQ", "Value": [channel, channel]}
    return {"54000100": {"vr": "SQ", "Value": [item]}}


def test_a_sample_is_worth_its_sensitivity():
    """C.10.9.1.4: times the sensitivity, plus the baseline; padding is no sample."""
    (group,) = groups_of(model(channel_factor=0.5, channel_baseline=3, **{"5400100A": -1}))
    data = np.array([[2, -1], [4, 8]], "<i2").tobytes()
    found = values_of(group, data)
    assert found[0].tolist() == [4.0, 5.0]
    assert np.isnan(found[1][0])
    assert found[1][1] == 7.0


@settings(max_examples=examples(60))
@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.binary(max_size=200))
def test_any_numbers_are_drawn_or_left_out(frequency, samples, factor, baseline, data):
    """Nothing but the errors that are answered as 406 comes out, and no text is markup."""
    tags = {"003A001A": frequency, "003A0010": samples}
    for group in groups_of(model(channel_factor=factor, channel_baseline=baseline, **tags)):
        try:
            drawn = svg(sheet([(group, values_of(group, data))]))
        except (ValueError, ArithmeticError):
            continue
        assert b"<b>" not in drawn
        assert len(drawn) < 2_000_000
