"""Tokens, strings and addresses as conditions over a row of their index (`row`).

FHIR R4, 3.1.1.4.8 (string), 3.1.1.4.9 (uri), 3.1.1.4.10 (token), 3.1.1.4.5 (modifiers).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from server.storage.where import Where

from . import terminology
from .criteria import levels
from .fold import fold, soundex
from .index import cut
from .registry import Param
from .search_values import halves, split, unescaped

# Sorts after every text that begins alike: `~<~` compares bytes, and this is the last character there is.
_LAST = "\U0010ffff"


def coded(value: str) -> Where:
    """`code`, `system|code`, `|code` (no system) or `system|` (any code)."""
    system, bar, code = halves(value)
    if not bar:
        return Where("row.code = :code", {"code": cut(code)})
    if not code:
        return Where("row.system = :system", {"system": cut(system)})
    return Where("row.code = :code AND row.system = :system", {"code": cut(code), "system": cut(system)})


def of_type(value: str) -> Where:
    system, code, identifier = (unescaped(part) for part in split(value, "|"))
    return Where(
        "row.system = :system AND row.code = :code",
        {"system": cut(system), "code": cut(f"{code}|{identifier}")},
    )


def word(value: str) -> Where:
    """The text begins with it, or a word in it does."""
    within = _like(cut(fold(unescaped(value))))
    return begins(value) | Where("row.folded LIKE :within", {"within": f"% {within}%"})


def in_value_set(value: str) -> Where:
    """One of the codes of a value set (`:in`)."""
    return _one_of(sorted(terminology.members(unescaped(value))))


def in_hierarchy(value: str, param: Param, *, above: bool) -> Where:
    """The code or one below it (or above it), by the code system or by the form of the code."""
    found = levels(value, param, above=above)
    system, code = found[0]
    if above or not (signs := terminology.parted(system)):
        return _one_of(found)
    same = Where("row.system = :system AND row.code = :code", {"system": cut(system), "code": cut(code)})
    for sign in signs:
        same |= Where("row.system = :system", {"system": cut(system)}) & _beginning(
            "row.code", cut(code + sign)
        )
    return same


def _one_of(codes: Iterable[tuple[str, str]]) -> Where:
    """By code, then by system: the index has them in this order."""
    pairs = list(codes)
    return Where(
        "row.code = ANY (:codes::text[]) AND (row.code, row.system) IN"
        " (SELECT * FROM unnest(:codes::text[], :systems::text[]))",
        {"codes": [cut(code) for _, code in pairs], "systems": [cut(system) for system, _ in pairs]},
    )


def begins(value: str) -> Where:
    return _beginning("row.folded", cut(fold(unescaped(value))))


def _beginning(column: str, text: str) -> Where:
    """As LIKE 'text%', in the form that uses a text_pattern_ops index also when the plan is made without values."""
    return Where(f"{column} ~>=~ :begin AND {column} ~<~ :beyond", {"begin": text, "beyond": text + _LAST})


def contains(value: str) -> Where:
    return Where("row.folded LIKE :within", {"within": f"%{_like(cut(fold(unescaped(value))))}%"})


def exact(value: str) -> Where:
    text = unescaped(value)
    return Where(
        "row.folded = :folded AND row.value = :exact", {"folded": cut(fold(text)), "exact": cut(text)}
    )


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def equal(value: str) -> Where:
    """The same text, whatever its case and accents."""
    return Where("row.folded = :folded", {"folded": cut(fold(unescaped(value)))})


def ends(value: str) -> Where:
    return Where("row.folded LIKE :within", {"within": f"%{_like(cut(fold(unescaped(value))))}"})


def phonetic(value: str) -> Where:
    """Every word of it sounds like a word of the name: here, the first."""
    words = fold(unescaped(value)).split()
    return Where("row.folded = :sound", {"sound": soundex(words[0]) if words else ""})


def address(text: str, modifier: str) -> Where:
    """A uri, what lies below it (a longer path), or above it (a shorter one)."""
    if modifier in ("below", "starts"):
        return _beginning("row.value", cut(text))
    if modifier == "above":
        text = cut(text)
        above = [text, *(text[: found.start() + end] for found in re.finditer("/", text) for end in (0, 1))]
        return Where("row.value = ANY (:above::text[])", {"above": above})
    return Where("row.value = :value", {"value": cut(text)})
