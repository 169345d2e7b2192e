"""How things are said."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.texts import languages, negotiated
from server.portal import words
from server.portal.account import address_text
from server.portal.security_words import device
from server.portal.studies import day_of, value


def test_dates_are_spelled_out() -> None:
    assert words.day(date(2026, 2, 1)) == "1 February 2026"
    assert words.day(datetime(2026, 2, 1, 23, 30, tzinfo=UTC)) == "1 February 2026"
    assert words.moment(datetime(2026, 2, 1, 23, 30, tzinfo=UTC)) == "1 February 2026, 23:30 UTC"
    assert words.day(None) == words.moment(None) == ""


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Doe^Jane^^Dr", "Dr Jane Doe"),
        ("Doe", "Doe"),
        ("^^^^", ""),
        ("Yamada^Tarou=山田^太郎=", "Tarou Yamada"),
        ("=山田^太郎", "太郎 山田"),
    ],
)
def test_dicom_names_become_names(written: str, said: str) -> None:
    assert words.person(written) == said


@given(st.text(max_size=80))
def test_any_name_has_initials(name: str) -> None:
    assert words.initials(name)
    words.person(name)


def test_initials() -> None:
    assert [words.initials(name) for name in ("Dr. Anna Berg", "Ada", "Ali ibn Sina", "")] == [
        "AB",
        "A",
        "AS",
        "?",
    ]


def test_kinds_in_words_the_main_ones_only() -> None:
    assert words.kinds(["PT", "CT", "SR"]) == ["PET", "CT"]
    assert words.kinds(["CR", "DX"]) == ["X-ray"]
    assert words.kinds(["SR"]) == ["Measurements"]
    assert words.kinds(["XYZ"]) == ["XYZ"]
    assert words.kinds([]) == []


@pytest.mark.parametrize("text", ["", "20240230", "2024", "abcdefgh", "00000000", "2024010١"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert day_of(text) is None or text.isdigit()


def test_values_of_dicom_json() -> None:
    attributes = {
        "00081030": {"vr": "LO", "Value": ["Chest"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
        "00080080": {"vr": "LO"},
        "00080050": {"vr": "SH", "Value": [None]},
    }
    said = [value(attributes, tag) for tag in ("00081030", "00100010", "00080080", "00080050", "00080090")]
    assert said == ["Chest", "Doe^Jane", "", "", ""]


def test_devices_have_names() -> None:
    chrome = (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"
    )
    phone = (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Safari/604.1"
    )
    assert (device(chrome), device(phone), device("curl/8")) == ("Chrome · Linux", "Safari · iPhone", "")


def test_an_address_in_lines() -> None:
    address = {"line": ["1 High Street"], "postalCode": "AB1", "city": "Aberdeen", "country": "UK"}
    assert address_text(address) == "1 High Street\nAB1 Aberdeen\nUK"
    assert address_text({"text": "as typed"}) == "as typed"


@given(st.text(max_size=100))
def test_any_accept_language_gives_a_language(header: str) -> None:
    assert negotiated(header) in languages()


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr, de;q=0.5", "de"),
        ("en-US,en;q=0.9,de", "en"),
        ("*", "en"),
    ],
)
def test_the_browser_chooses_the_language(header: str, language: str) -> None:
    assert negotiated(header) == language
