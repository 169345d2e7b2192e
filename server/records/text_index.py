"""The words that `_text` and `_content` look at, as PostgreSQL keeps them for its text search.

FHIR R4, 3.1.1.4.15. Words are folded here (accents, case), not by the database, so that what is stored and what is
asked for are always the same words; addresses, ids and attached files have none.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from .document import Json
from .fold import fold, words

MOST_WORDS = 8000  # of one resource; the database counts places up to 16,383
LONGEST_WORD = 60
MOST_BYTES = 800_000  # of the words of one resource: the database holds 1,048,575, their places included
_WORD = re.compile(r"[^\W_]+")
_TAG = re.compile(r"<[^>]*>")
_NOT_WORDS = words("id reference url system uri uid data hash meta resourceType contentType div profile")


def words_of(text: str) -> list[str]:
    """`"O'Brien, Zoë"` -> `["o", "brien", "zoe"]`."""
    return [word[:LONGEST_WORD] for word in _WORD.findall(fold(text))]


def narrative(resource: Json) -> str:
    """The words of the narrative with their places, as the text of a `tsvector`."""
    return _vector(words_of(_plain(resource)))


def content(resource: Json) -> str:
    """The words of everything the resource says, its narrative included; a text that comes twice counts once."""
    texts = dict.fromkeys(_texts(resource))
    return _vector(word for text in (_plain(resource), *texts) for word in [*words_of(text), ""])


def _plain(resource: Json) -> str:
    """The narrative without its markup."""
    text = resource.get("text")
    div = text.get("div") if isinstance(text, dict) else None
    return html.unescape(_TAG.sub(" ", div)) if isinstance(div, str) else ""


def _texts(element: Any) -> Iterator[str]:
    if isinstance(element, str):
        yield element
    elif isinstance(element, dict):
        for name, member in element.items():
            if name not in _NOT_WORDS:
                yield from _texts(member)
    elif isinstance(element, list):
        for member in element:
            yield from _texts(member)


def _vector(found: Iterable[str]) -> str:
    """Each word with its places; an empty one is a gap, over which no phrase reaches."""
    places: dict[str, list[int]] = {}
    size = 0
    for place, word in enumerate(islice(found, MOST_WORDS), start=1):
        if word and word not in places:
            size += len(word.encode())
            if size > MOST_BYTES:
                break
        if word:
            places.setdefault(word, []).append(place)
    return " ".join(f"'{word}':{','.join(map(str, numbers[:200]))}" for word, numbers in places.items())
