"""`_filter`: one expression instead of many parameters, read into a tree.

FHIR R4, 3.1.3 (search_filter): `name co "pet" and (birthdate ge 1980 or not (active eq true))`; `and` binds before
`or`. What the names and operators mean for a type is decided in `criteria.py`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from server.core.errors import InvalidInput

from .document import FORBIDDEN_TEXT
from .fold import words

MOST_TESTS = 30
MOST_DEPTH = 10
OPERATORS = words("eq ne co sw ew gt lt ge le ap sa eb pr po ss sb in ni re")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:-]*")
_WORD = re.compile(r"[^\s()\[\]]+")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_TOKEN = re.compile(r"[^\s)\]]+")


@dataclass(frozen=True)
class Step:
    """One name of a path, and the filter in brackets behind it."""

    name: str
    filter: Filter | None = None


@dataclass(frozen=True)
class Test:
    """`patient.name co "pet"`."""

    path: tuple[Step, ...]
    operator: str
    value: str


@dataclass(frozen=True)
class Not:
    """`not (…)`."""

    inner: Filter


@dataclass(frozen=True)
class Both:
    """Filters joined by `and`, or by `or`."""

    parts: tuple[Filter, ...]
    any: bool = False


Filter = Test | Not | Both


def parse(text: str) -> Filter:
    """The tree of an expression; raises InvalidInput."""
    reading = _Reading(text)
    found = reading.either(0)
    if reading.rest():
        raise InvalidInput("The _filter goes on where it should end.")
    return found


class _Reading:
    """A place in the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.tests = 0

    def rest(self) -> str:
        return self.text[self.place :].strip()

    def either(self, depth: int) -> Filter:
        if depth > MOST_DEPTH:
            raise InvalidInput("The _filter is nested too deeply.")
        parts = [self.all(depth)]
        while self._take_word("or"):
            parts.append(self.all(depth))
        return Both(tuple(parts), any=True) if len(parts) > 1 else parts[0]

    def all(self, depth: int) -> Filter:
        parts = [self.one(depth)]
        while self._take_word("and"):
            parts.append(self.one(depth))
        return Both(tuple(parts)) if len(parts) > 1 else parts[0]

    def one(self, depth: int) -> Filter:
        if self._take("("):
            return self._closed(self.either(depth + 1), ")")
        if self._take_word("not"):
            if not self._take("("):
                raise InvalidInput("In a _filter, not is followed by a parenthesis.")
            return Not(self._closed(self.either(depth + 1), ")"))
        return self.test(depth)

    def test(self, depth: int) -> Test:
        self.tests += 1
        if self.tests > MOST_TESTS:
            raise InvalidInput(f"A _filter has at most {MOST_TESTS} comparisons.")
        path = [self.step(depth)]
        while self.text.startswith(".", self.place):
            self.place += 1
            path.append(self.step(depth))
        operator = self._match(_WORD, "an operator")
        if operator not in OPERATORS:
            raise InvalidInput(f"The operators of a _filter are {', '.join(sorted(OPERATORS))}.")
        return Test(tuple(path), operator, self.value())

    def step(self, depth: int) -> Step:
        name = self._match(_NAME, "the name of a search parameter")
        if not self.text.startswith("[", self.place):
            return Step(name)
        self.place += 1
        return Step(name, self._closed(self.either(depth + 1), "]"))

    def value(self) -> str:
        self._space()
        if self.text.startswith('"', self.place):
            try:
                text = str(json.loads(self._match(_STRING, "the end of a text in quotes")))
            except ValueError as error:
                raise InvalidInput("A text in quotes of the _filter cannot be read.") from error
            if FORBIDDEN_TEXT.search(text):
                raise InvalidInput("A text of the _filter contains a control character.")
            return text
        return self._match(_TOKEN, "a value")

    def _closed(self, inner: Filter, sign: str) -> Filter:
        if not self._take(sign):
            raise InvalidInput(f"The _filter misses a {sign}")
        return inner

    def _space(self) -> None:
        while self.text[self.place : self.place + 1].isspace():
            self.place += 1

    def _take(self, sign: str) -> bool:
        self._space()
        there = self.text.startswith(sign, self.place)
        self.place += len(sign) if there else 0
        return there

    def _take_word(self, word: str) -> bool:
        self._space()
        found = _WORD.match(self.text, self.place)
        there = found is not None and found[0].lower() == word
        self.place += len(word) if there else 0
        return there

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        self._space()
        found = pattern.match(self.text, self.place)
        if found is None:
            raise InvalidInput(f"The _filter misses {what}.")
        self.place = found.end()
        return found[0]
