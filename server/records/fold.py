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


_SOUNDS = {
    letter: digit
    for letters, digit in (("bfpv", "1"), ("cgjkqsxz", "2"), ("dt", "3"), ("l", "4"), ("mn", "5"), ("r", "6"))
    for letter in letters
}


def soundex(word: str) -> str:
    """How a folded word sounds: `robert` and `rupert` are `r163`; nothing where it has no Latin letters."""
    letters = [char for char in word if "a" <= char <= "z"]
    if not letters:
        return ""
    code, last = letters[0], _SOUNDS.get(letters[0], "")
    for letter in letters[1:]:
        sound = _SOUNDS.get(letter, "")
        if sound and sound != last:
            code += sound
        if letter not in "hw":
            last = sound
    return code[:4].ljust(4, "0")


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set: how this room writes long lists of names."""
    return frozenset(text.split())
