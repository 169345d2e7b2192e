"""dicomweb/conditional.py: If-None-Match and Range (RFC 9110)."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from server.core.compression import gzipped, takes_gzip
from server.core.errors import RangeNotSatisfiable
from server.core.ranges import byte_range
from server.dicomweb.conditional import etag, not_modified
from server.dicomweb.json_answer import joined


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "headers": raw, "path": "/", "query_string": b""})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=-5", (95, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("lines=1-2", None),
    ],
)
def test_ranges(text, expected):
    assert byte_range(request(range=text), 100, '"x"') == expected


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=5-4", "bytes=-0", "bytes=999999999999999999-"])
def test_ranges_outside(text):
    with pytest.raises(RangeNotSatisfiable):
        byte_range(request(range=text), 100, '"x"')


def test_if_range_that_does_not_hold():
    assert byte_range(request(range="bytes=0-1", if_range='"old"'), 100, '"new"') is None


@pytest.mark.parametrize("held", ['"a"', 'W/"a"', '"b", "a"', "*"])
def test_not_modified(held):
    answer = not_modified(request(if_none_match=held), '"a"')
    assert answer is not None
    assert answer.status_code == 304
    assert answer.headers["etag"] == '"a"'


def test_modified():
    assert not_modified(request(if_none_match='"b"'), '"a"') is None
    assert not_modified(request(), '"a"') is None


def test_tags_differ_with_every_fact():
    assert etag("a", 1) == etag("a", 1) != etag("a", "1")


@pytest.mark.parametrize(
    ("accept", "takes"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("", False), ("*", True)],
)
def test_gzip_is_sent_when_taken(accept, takes):
    assert takes_gzip(request(accept_encoding=accept)) is takes


async def test_small_and_large_come_back():
    for body in (b"[]", joined([b'{"a":1}'] * 100_000)):
        assert gzip.decompress(await gzipped(body)) == body


@given(st.text(max_size=40).filter(lambda text: text.isascii()), st.integers(1, 1000))
def test_any_range_is_inside_or_refused(text, size):
    try:
        part = byte_range(request(range="bytes=" + text), size, '"x"')
    except RangeNotSatisfiable:
        return
    assert part is None or 0 <= part[0] < part[1] <= size
