"""dicomweb/rendered_params.py: PS3.18, 8.3.5."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.errors import InvalidInput
from server.dicomweb.rendered_params import RenderedQuery, Viewport, Window, parse


def test_nothing_asked():
    assert parse({}) == RenderedQuery()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("256,128", Viewport(256, 128)),
        ("256,128,10,20,30,40", Viewport(256, 128, 10, 20, 30, 40)),
        ("256,128,,,-30,", Viewport(256, 128, 0, 0, -30, None)),
    ],
)
def test_viewport(text, expected):
    assert parse({"viewport": text}).viewport == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("40,400", Window(40, 400)), ("-600,1500.5,SIGMOID", Window(-600, 1500.5, "sigmoid"))],
)
def test_window(text, expected):
    assert parse({"window": text}).window == expected


def test_the_rest():
    query = parse({"quality": "80", "annotation": "patient,made-up", "iccprofile": "sRGB"})
    assert (query.quality, query.annotation, query.iccprofile) == (80, {"patient"}, "srgb")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("viewport", "0,10"),
        ("viewport", "10"),
        ("viewport", "10,10,1"),
        ("viewport", "100000,100000"),
        ("viewport", "1e999,1"),
        ("viewport", "nan,1"),
        ("viewport", "10,10,-1,0,5,5"),
        ("viewport", "10,10,0,0,0,5"),
        ("window", "40"),
        ("window", "40,0"),
        ("window", "40,-1"),
        ("window", "inf,1"),
        ("window", "40,400,cubic"),
        ("quality", "0"),
        ("quality", "101"),
        ("quality", "9" * 5000),
        ("quality", "x"),
        ("iccprofile", "cmyk"),
    ],
)
def test_absurdities(name, value):
    with pytest.raises(InvalidInput):
        parse({name: value})


@given(st.sampled_from(["viewport", "window", "quality"]), st.text("0123456789.,-einfa", max_size=30))
def test_any_text_is_a_query_or_a_refusal(name, value):
    with suppress(InvalidInput):
        assert isinstance(parse({name: value}), RenderedQuery)
