"""A condition of a statement: text with named places, and the values apart from it.

The text comes from our own files and registries only; nothing of a request is ever part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

_NAME = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")


class Where(NamedTuple):
    """A boolean SQL expression with `:named` places; joined with `&` and `|`."""

    sql: str
    values: Mapping[str, Any] = MappingProxyType({})

    def __and__(self, other: Where) -> Where:
        return self._join("AND", other)

    def __or__(self, other: Where) -> Where:
        return self._join("OR", other)

    def __invert__(self) -> Where:
        return Where(f"NOT ({self.sql})", self.values)

    def _join(self, word: str, other: Where) -> Where:
        renamed = other.apart_from(self.values)
        return Where(f"({self.sql}) {word} ({renamed.sql})", {**self.values, **renamed.values})

    def apart_from(self, taken: Mapping[str, Any]) -> Where:
        """The same condition with names that do not clash with `taken` (equal values may share a name)."""
        if self.values.keys().isdisjoint(taken):
            return self
        new_names: dict[str, str] = {}
        for name, value in self.values.items():
            new, number = name, len(taken)
            # Neither a name of the other condition, nor another one of this, given or renamed just now.
            while (new in taken and not _same(taken[new], value)) or (
                new != name and (new in self.values or new in new_names.values())
            ):
                new, number = f"{name}_{number}", number + 1
            if new != name:
                new_names[name] = new
        if not new_names:
            return self
        text = _NAME.sub(lambda found: ":" + new_names.get(found[1], found[1]), self.sql)
        return Where(text, {new_names.get(name, name): value for name, value in self.values.items()})


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


TRUE = Where("true")
FALSE = Where("false")


def all_of(*conditions: Where) -> Where:
    """Every condition; true when there is none."""
    result = TRUE
    for condition in conditions:
        result = condition if result is TRUE else result & condition
    return result


def any_of(*conditions: Where) -> Where:
    """At least one condition; false when there is none."""
    result = FALSE
    for condition in conditions:
        result = condition if result is FALSE else result | condition
    return result
