"""Every language has every text, with the same places to fill in."""

from __future__ import annotations

import re

import pytest

from server.core.catalogue import missing
from server.core.texts import catalogue, languages, translations
from server.portal import words

OTHERS = languages()[1:]


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_missing(language: str) -> None:
    """`python -m server.core.catalogue` brings a catalogue up to date."""
    assert missing(language) == []


@pytest.mark.parametrize("language", OTHERS)
def test_places_and_links_are_the_same(language: str) -> None:
    for message in catalogue(language):
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
