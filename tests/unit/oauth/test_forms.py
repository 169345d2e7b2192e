"""Reading forms and queries; redirect URIs."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.errors import Unprocessable
from server.oauth import forms
from server.oauth.clients import Client
from server.oauth.described import _require_redirect_uri
from server.oauth.problem import InvalidRequest

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(st.lists(st.tuples(words, words), max_size=10))
def test_what_was_encoded_is_read_back(pairs: list[tuple[str, str]]) -> None:
    assert forms.parse(urlencode(pairs)) == pairs


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        values = forms.once(forms.parse(text))
    except InvalidRequest:
        return
    assert all(values.values())
    assert not any("\0" in value for value in values.values())


@pytest.mark.parametrize(
    "text", ["a=1&a=2", "a=1&a=1", "a=%ff", "a=%00", "&".join(f"a{n}=1" for n in range(2000))]
)
def test_what_is_ambiguous_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        forms.once(forms.parse(text))


@given(
    st.text(max_size=60) | st.from_regex(r"(https?|myapp|javascript)://[a-z@.:\[\]0-9]{0,20}(/[a-z?#*]*)?")
)
def test_a_redirect_uri_is_plain_or_refused(uri: str) -> None:
    try:
        _require_redirect_uri(uri)
    except Unprocessable:
        return
    assert uri.isascii()
    assert not {" ", "#", "*", "\\", "\n"} & set(uri)
    assert uri.startswith(("https://", "http://127.0.0.1", "http://localhost", "http://[::1]")) or "." in uri


@given(st.text(max_size=60))
def test_only_what_was_registered_is_answered(uri: str) -> None:
    registered = "http://127.0.0.1/callback"
    client = Client("id", "name", "public", redirect_uris=(registered,))
    if client.check_redirect_uri(uri):
        head, _, port = uri.removesuffix("/callback").rpartition(":")
        assert uri == registered or (head == "http://127.0.0.1" and port.isdigit())


@pytest.mark.parametrize("port", ["", ":1", ":65535"])
def test_a_native_app_chooses_its_port(port: str) -> None:
    client = Client("id", "name", "public", redirect_uris=("http://127.0.0.1/callback",))
    assert client.check_redirect_uri(f"http://127.0.0.1{port}/callback")


@pytest.mark.parametrize(
    "uri",
    ["http://127.0.0.1:99999/callback", "http://127.0.0.1:x/callback", "http://127.0.0.1:/callback",
     "http://a@127.0.0.1:1/callback", "http://127.0.0.1:1/callback?x", "http://127.0.0.1:1/callback#x",
     "http://127.0.0.1:01/callback", "HTTP://127.0.0.1:1/callback", "http://[::1]:1/callback"],
)  # fmt: skip
def test_and_nothing_else(uri: str) -> None:
    client = Client("id", "name", "public", redirect_uris=("http://127.0.0.1/callback",))
    assert not client.check_redirect_uri(uri)
