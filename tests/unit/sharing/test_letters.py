"""Every letter in every language: same places to fill in, a link where the source has one, nobody's health."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import server.accounts
import server.sharing
from server.core.texts import languages
from server.jobs import letter

ROOMS = [Path(str(room.__file__)).parent / "letters" for room in (server.sharing, server.accounts)]
LETTERS = sorted(path for room in ROOMS for path in room.glob("*.txt"))
VALUES = {
    "host": "h.example",
    "link": "https://h.example/x",
    "name": "N",
    "until": "U",
    "code": "1",
    "count": 2,
    "daily": True,
}


def places(text: str) -> set[str]:
    return set(re.findall(r"\{\{ (\w+) \}\}", text))


@pytest.mark.parametrize("path", LETTERS, ids=lambda path: path.stem)
@pytest.mark.parametrize("language", languages()[1:])
def test_a_letter_is_there_in(path: Path, language: str) -> None:
    other = path.parent / language / path.name
    assert other.exists(), f"{path.parent.parent.name}/{path.stem} in {language}"
    source, own = path.read_text(encoding="utf-8"), other.read_text(encoding="utf-8")
    assert places(own) == places(source)
    assert own.count("=>") == source.count("=>")


def test_the_language_chooses() -> None:
    letters = letter.templates("server.sharing")
    german = letter.write(letters, "looked", "a@example.org", VALUES, "de")
    assert "2 Mal" in german.text
    assert 'lang="de"' in german.html
    unknown = letter.write(letters, "looked", "a@example.org", VALUES, "fr")
    assert "2 times" in unknown.text
