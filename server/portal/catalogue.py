"""Keep the catalogues in step with the source: `python -m server.portal.catalogue` extracts and merges.

What is new stays untranslated (and so English) until somebody translates it; a test says what is missing.
"""

from __future__ import annotations

from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

HERE = Path(__file__).parent
LOCALE = HERE / "locale"
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
OPTIONS = {"templates/**.html": {"newstyle_gettext": "true"}}
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None}


def extracted() -> Catalog:
    """Every text of the portal, as the source has it."""
    catalogue = Catalog(project="Lightbox", charset="utf-8")
    found = extract_from_dir(HERE, METHODS, options_map=OPTIONS, keywords=KEYWORDS)
    for file, _, message, comments, context in found:
        # Without line numbers: a moved line is no change of a text.
        catalogue.add(message, None, [(file, 0)], auto_comments=comments, context=context)
    return catalogue


def read(path: Path) -> Catalog:
    """A catalogue of one language."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.name)


def missing(path: Path) -> list[str]:
    """The texts that a catalogue does not have, or has in words that may no longer fit."""
    catalogue = read(path)
    return [
        str(message.id)
        for message in extracted()
        if message.id and not ((own := catalogue.get(message.id)) and own.string and not own.fuzzy)
    ]


def main() -> None:
    """Bring every catalogue up to date."""
    for path in sorted(LOCALE.glob("*/messages.po")):
        catalogue = read(path)
        catalogue.update(extracted(), no_fuzzy_matching=True)
        with path.open("wb") as file:
            write_po(
                file, catalogue, width=110, omit_header=False, include_lineno=False, ignore_obsolete=True
            )
        print(f"{path.parent.name}: {len(missing(path))} texts to translate")


if __name__ == "__main__":
    main()
