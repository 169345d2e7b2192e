"""Every language has every text, with the same places to fill in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.portal import catalogue, words
from server.portal.texts import languages, translations

FILES = sorted(catalogue.LOCALE.glob("*/messages.po"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_nothing_is_missing(path: Path) -> None:
    """`python -m server.portal.catalogue` brings a catalogue up to date."""
    assert catalogue.missing(path) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_places_and_links_are_the_same(path: Path) -> None:
    for message in catalogue.read(path):
        if not message.id:
            continue
        pairs = (
            zip(message.id, message.string, strict=True)
            if message.pluralizable
            else [(message.id, message.string)]
        )
        for source, own in pairs:
            assert places(source) == places(own), source


def places(text: str) -> list[str]:
    return sorted(re.findall(r"%\(\w+\)[sd]|\{\w+\}|</?a[^>]*>", text))


def test_a_second_language_is_there() -> None:
    assert languages() == ("en", "de")
    assert translations("de").gettext("Sharing") == "Freigaben"
    assert translations("de").ngettext("%(num)s study", "%(num)s studies", 2) == "%(num)s Studien"
    assert words.month_name(3, "de") == "März"
