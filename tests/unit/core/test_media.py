"""core/media.py: Accept headers as real clients send them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.errors import NotAcceptable
from server.core.media import MediaType, best, parse_accept, parse_media_type, quality

JSON, XML = "application/dicom+json", "application/dicom+xml"


@pytest.mark.parametrize("accept", [None, "", "  ", "*/*", "*", "application/*", "text/html, */*;q=0.1"])
def test_whatever_gives_the_first_offer(accept):
    """RFC 9110, 12.5.1: no Accept field means any media type."""
    assert best(accept, [JSON, XML]) == JSON


def test_the_higher_weight_wins():
    assert best(f"{JSON};q=0.3, {XML};q=0.7", [JSON, XML]) == XML


def test_the_more_specific_range_decides():
    """RFC 9110, 12.5.1: the most specific reference has precedence."""
    assert best(f"*/*, {JSON};q=0.1", [JSON, XML]) == XML


def test_weight_zero_means_never():
    with pytest.raises(NotAcceptable, match=r"application/dicom\+json"):
        best(f"*/*, {JSON};q=0", [JSON])


def test_quoted_commas_and_semicolons_do_not_split():
    (only,) = parse_accept('multipart/related; type="a/b"; note="x, y; z=\\"q\\""')
    assert only.parameters["note"] == 'x, y; z="q"'


@pytest.mark.parametrize("type_", ['"application/octet-stream"', "application/octet-stream", '"*/*"', "*/*"])
def test_type_of_multipart_quoted_or_not(type_):
    (only,) = parse_accept(f"multipart/related; type={type_}; transfer-syntax=*")
    assert only.is_multipart
    assert only.part().name == type_.strip('"')
    assert only.part().parameters == {"transfer-syntax": "*"}


def test_what_dcmjs_sends():
    ranges = parse_accept("application/dicom+json, multipart/related; type=application/octet-stream")
    assert [each.name for each in ranges] == [JSON, "multipart/related"]


def test_a_range_written_with_a_slash_only():
    assert parse_accept("image/")[0].covers("image/png")


def test_a_parameter_the_offer_lacks_does_not_count():
    assert best("application/json; charset=utf-8", ["application/json"]) == "application/json"


def test_a_parameter_that_differs_counts():
    assert quality(parse_accept("a/b; version=1"), MediaType("a/b", {"version": "2"})) == 0


@pytest.mark.parametrize("text", ["", "a", "/", "a/", "/b", "a b/c", '"a/b"', ";", "é"])
def test_no_media_type(text):
    parsed = parse_media_type(text)
    assert parsed is None or parsed.name == "a/*"


def test_garbage_only_fits_nothing():
    with pytest.raises(NotAcceptable):
        best("garbage", [JSON])


@given(st.text(max_size=300))
def test_any_text_is_read_or_left_out(text):
    for each in parse_accept(text):
        assert 0 <= each.q <= 1
        assert "/" in each.name


@given(
    st.lists(st.sampled_from([JSON, XML, "image/png", "*/*", "image/*", ","]), max_size=6),
    st.text(max_size=5),
)
def test_best_is_an_offer_or_a_refusal(ranges, noise):
    with suppress(NotAcceptable):
        assert best(",".join([*ranges, noise]), [JSON, "image/png"]) in (JSON, "image/png")
