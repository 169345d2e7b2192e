"""Forms: what was typed becomes values or marked fields; the way on after sign-in stays here."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from server.core.errors import InvalidInput, TooLarge
from server.portal.forms import MOST_BYTES, Form, filled, local_path, read_form


def request_of(body: bytes, kind: str = "application/x-www-form-urlencoded") -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", kind.encode())]}
    return Request(scope, receive)


@given(st.text(max_size=60))
def test_the_way_on_never_leaves_this_server(text: str) -> None:
    base = "https://lightbox.example/sign-in"
    for value in (text, "/" + text, "//" + text, "/\\" + text):
        way = local_path(value)
        assert way.startswith("/")
        assert urlsplit(urljoin(base, way)).netloc == "lightbox.example"


@pytest.mark.parametrize(
    "value",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "\\/evil",
        "javascript:alert(1)",
        "",
        None,
        "imaging",
        '/"><script>',
    ],
)
def test_other_ways_lead_home(value: str | None) -> None:
    assert local_path(value) == "/"


@pytest.mark.parametrize("value", ["/imaging", "/oauth/authorize?a=b&c=%2Fd", "/studies/1.2.3?patient=x#y"])
def test_own_ways_stay(value: str) -> None:
    assert local_path(value) == value


def test_what_is_wrong_is_marked_and_what_was_typed_stays() -> None:
    form = filled({"name": "  Ada   Moor ", "born": "2024-02-30", "soon": "9999-01-01", "kind": "x"})
    assert form.text("name") == "Ada Moor"
    assert form.text("missing") == ""
    assert form.day("born") is None
    assert form.day("soon", past=True) == date(9999, 1, 1)
    assert form.one_of("kind", ["a", "b"]) == "a"
    assert set(form.errors) == {"missing", "born", "soon", "kind"}
    assert form.values["born"] == "2024-02-30"
    assert not form


def test_optional_fields_may_be_empty() -> None:
    form = filled({})
    assert form.text("a", required=False) == form.lines("b", required=False) == ""
    assert form.day("c", required=False) is None
    assert form


def test_ticked_boxes_are_those_offered() -> None:
    form = Form(lists={"right": ["reports", "everything", "images"]})
    assert form.some_of("right", ["images", "reports", "download"]) == ["images", "reports"]


async def test_a_form_is_read() -> None:
    form = await read_form(request_of(b"name=Zo%C3%AB&right=a&right=b&empty="))
    assert (form["name"], form.all("right"), form["empty"], form["not there"]) == ("Zoë", ["a", "b"], "", "")


@given(
    st.binary(max_size=300),
    st.sampled_from(
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""]
    ),
)
async def test_no_bytes_break_the_reader(body: bytes, kind: str) -> None:
    with suppress(InvalidInput, TooLarge):
        await read_form(request_of(body, kind))


async def test_too_much_is_refused() -> None:
    with pytest.raises(TooLarge):
        await read_form(request_of(b"a=" + b"b" * MOST_BYTES))
    with pytest.raises(InvalidInput):
        await read_form(request_of(b"{}", "text/plain"))
