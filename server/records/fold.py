"""Texts as searches compare them: without accents, case and superfluous space (FHIR R4, 3.1.1.4.8)."""

from __future__ import annotations

import re
import unicodedata

_SPACE = re.compile(r"\s+")
# Letters that Unicode does not decompose, and that people type without their stroke.
_STROKES = str.maketrans({"ø": "o", "Ø": "o", "ł": "l", "Ł": "l", "đ": "d", "Đ": "d", "æ": "ae", "Æ": "ae"})


def fold(text: str) -> str:
    """`"  Ångström "` -> `"angstrom"`."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_STROKES))
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    return _SPACE.sub(" ", plain.casefold()).strip()


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set: how this room writes long lists of names."""
    return frozenset(text.split())
