"""Paging links are sealed: they come back as they were made, at their own address, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.core.errors import InvalidInput
from server.fhir.paging import Page, open_page, seal
from server.storage.keyring import KeyRing
from tests.drawn import examples


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    file: Path = tmp_path_factory.mktemp("key") / "master.key"
    return KeyRing.load(file, create=True)


def test_a_page_comes_back(keyring: KeyRing) -> None:
    position = (datetime(2020, 1, 2, 3, 4, 5, 678000, UTC), None, "text", 7, Decimal("1.50"))
    page = Page("Observation", (("name", "Ångström"), ("name", "b")), position, 3)
    token = seal(keyring, page)
    assert open_page(keyring, token, "Observation") == page
    assert "ngstr" not in token
    with pytest.raises(InvalidInput):
        open_page(keyring, token, "Patient")


def test_whatever_else_is_refused(keyring: KeyRing) -> None:
    token = seal(keyring, Page("X", (), ()))

    @given(
        st.text(max_size=60)
        | st.integers(0, len(token) - 1).map(lambda at: token[:at] + "A" + token[at + 1 :])
    )
    @settings(max_examples=examples(60))
    def holds(text: str) -> None:
        if text.rstrip("=") == token:
            return
        with pytest.raises(InvalidInput):
            open_page(keyring, text, "X")

    holds()
