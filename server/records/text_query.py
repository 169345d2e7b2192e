"""What `_text` and `_content` ask for: `(bone OR liver) and metastas*`, read into a `tsquery`.

FHIR R4, 3.1.1.4.15 leaves the language to the server and shows words, AND, OR and parentheses; here also NOT (or a
minus), "phrases", and a star for the rest of a word. Words side by side are all asked for.
"""

from __future__ import annotations

import re

from server.core.errors import InvalidInput

from .text_index import words_of

MOST_TOKENS = 60
_TOKEN = re.compile(r'\s*(?:(?P<open>-?\()|(?P<close>\))|(?P<phrase>-?"[^"]*")|(?P<word>[^\s()"]+))')


def tsquery(text: str) -> str:
    """The text of a `tsquery`, of our own folded words and operators only; raises InvalidInput."""
    tokens = [found for found in _TOKEN.finditer(text) if found[0].strip()]
    if len(tokens) > MOST_TOKENS or text.count('"') % 2:
        raise InvalidInput("The text to look for is too long, or a quote in it is not closed.")
    reading = _Reading(tokens)
    found = reading.either()
    if reading.place < len(tokens):
        raise InvalidInput("A parenthesis in the text to look for is not opened.")
    if not found:
        raise InvalidInput("The text to look for has no words.")
    return found


class _Reading:
    """A place among the tokens. Each method reads one level of the language; '' is nothing to ask for."""

    def __init__(self, tokens: list[re.Match[str]]) -> None:
        self.tokens = tokens
        self.place = 0

    def either(self) -> str:
        parts = [self.all()]
        while self._take("or"):
            parts.append(self.all())
        return _joined(parts, " | ")

    def all(self) -> str:
        parts = []
        while self.place < len(self.tokens) and not self._at("or") and not self.tokens[self.place]["close"]:
            if not self._take("and"):
                parts.append(self.one())
        return _joined(parts, " & ")

    def one(self) -> str:
        if self._take("not"):
            return _not(self.one()) if self.place < len(self.tokens) else ""
        token = self.tokens[self.place]
        self.place += 1
        if token["open"]:
            inner = self.either()
            if self.place >= len(self.tokens):
                raise InvalidInput("A parenthesis in the text to look for is not closed.")
            self.place += 1  # what ends `either` before the end is a closing one
            return _not(inner) if token["open"].startswith("-") else inner
        text = token["phrase"] or token["word"] or ""
        found = _phrase(text)
        return _not(found) if text.startswith("-") and len(text) > 1 else found

    def _at(self, word: str) -> bool:
        return self.place < len(self.tokens) and (self.tokens[self.place]["word"] or "").lower() == word

    def _take(self, word: str) -> bool:
        there = self._at(word)
        self.place += there
        return there


def _phrase(text: str) -> str:
    found = [f"'{word}'" for word in words_of(text)]
    if len(found) > MOST_TOKENS:
        raise InvalidInput("The text to look for is too long.")
    if found and text.endswith("*"):
        found[-1] += ":*"
    return f"({' <-> '.join(found)})" if len(found) > 1 else "".join(found)


def _not(inner: str) -> str:
    return f"!({inner})" if inner else ""


def _joined(parts: list[str], sign: str) -> str:
    kept = [part for part in parts if part]
    return f"({sign.join(kept)})" if len(kept) > 1 else "".join(kept)
