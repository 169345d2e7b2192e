"""Texts for people: English in the source, other languages as catalogues in locale/<language>/*.po.

Pages, mails and errors share them. Catalogues are read as they are (no compiled files to forget); several files of
one language are one catalogue.
"""

from __future__ import annotations

from functools import cache
from gettext import NullTranslations
from importlib import resources
from io import BytesIO

from babel import Locale, negotiate_locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

DEFAULT = "en"


def N_(text: str) -> str:  # noqa: N802 - the name gettext tools look for
    """Marks a text of a Python file for the catalogue; it is translated where it is shown."""
    return text


@cache
def languages() -> tuple[str, ...]:
    """The languages there is a catalogue for, English first."""
    folder = resources.files(__package__).joinpath("locale")
    places = folder.iterdir() if folder.is_dir() else ()  # no folder: no other language yet
    found = sorted(each.name for each in places if each.joinpath("messages.po").is_file())
    return (DEFAULT, *(name for name in found if name != DEFAULT))


@cache
def translations(language: str) -> NullTranslations:
    """The catalogue of a language; English is the source itself."""
    if language == DEFAULT or language not in languages():
        return NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, catalogue(language))
    compiled.seek(0)
    return Translations(compiled)


def catalogue(language: str) -> Catalog:
    """All files of a language as one catalogue; a file named before another stands above it."""
    folder = resources.files(__package__).joinpath("locale", language)
    whole = Catalog(locale=language, charset="utf-8")
    for file in sorted(
        (each for each in folder.iterdir() if each.name.endswith(".po")), key=str, reverse=True
    ):
        for message in read_po(BytesIO(file.read_bytes()), locale=language):
            if message.id and message.string:
                whole[message.id] = message
    return whole


def negotiated(accept_language: str) -> str:
    """The best language for an Accept-Language header (RFC 9110, 12.5.4), weights aside: browsers sort them."""
    asked = [part.partition(";")[0].strip() for part in accept_language.split(",")[:20]]
    wanted = [each for each in asked if each and each != "*"]
    return negotiate_locale(wanted, languages(), sep="-") or DEFAULT


@cache
def locale(language: str) -> Locale:
    """How dates and numbers are written."""
    # Day before month in English too: the portal's own region is Europe.
    return Locale.parse("en_GB" if language == "en" else language)
