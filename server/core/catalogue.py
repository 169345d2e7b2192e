"""Keep the catalogues in step with the source: `python -m server.core.catalogue` extracts and merges.

All files of a language become its messages.po. What is new stays untranslated (and so English) until somebody
translates it; a test says what is missing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import write_po

from .texts import catalogue, translations

SERVER = Path(__file__).parent.parent
LOCALE = Path(__file__).parent / "locale"
METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
OPTIONS = {"**/templates/**.html": {"newstyle_gettext": "true"}}
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None}


def extracted() -> Catalog:
    """Every text for people, as the source has it."""
    catalogue = Catalog(project="Lightbox", charset="utf-8")
    found = extract_from_dir(SERVER, METHODS, options_map=OPTIONS, keywords=KEYWORDS)
    for file, _, message, comments, context in found:
        # Without line numbers: a moved line is no change of a text.
        catalogue.add(message, None, [(file, 0)], auto_comments=comments, context=context)
    return catalogue


def missing(language: str) -> list[str]:
    """The texts that a language does not have, or has in words that may no longer fit."""
    own = catalogue(language)
    return [
        str(message.id)
        for message in extracted()
        if message.id and not ((said := own.get(message.id)) and said.string and not said.fuzzy)
    ]


def main() -> None:
    """Bring every catalogue up to date, one file a language."""
    argparse.ArgumentParser(description=__doc__).parse_args()  # takes nothing; `--help` changes nothing
    for folder in sorted(LOCALE.iterdir()):
        whole = catalogue(folder.name)
        whole.update(extracted(), no_fuzzy_matching=True)
        for other in folder.glob("*.po"):
            other.unlink()
        with (folder / "messages.po").open("wb") as file:
            write_po(file, whole, width=110, omit_header=False, include_lineno=False, ignore_obsolete=True)
        translations.cache_clear()
        print(f"{folder.name}: {len(missing(folder.name))} texts to translate")


if __name__ == "__main__":
    main()
