"""Named statements, read from the `queries.sql` beside the Python that uses them.

A statement begins with `-- name: its_name`; the comment lines below say what it does. Places are written `:name`
and become positional (`$1`), which PostgreSQL prepares once a connection. `{part}` is where a `Where` goes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

from .where import Where

_NAME = re.compile(r"'(?:[^']|'')*'|(?<![:\w]):([a-z_][a-z0-9_]*)")
_HEAD = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)


class Bound(NamedTuple):
    """A statement ready for the driver: positional text and its arguments."""

    text: str
    args: list[Any]


class Statement:
    """One named statement of a `queries.sql`."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text

    def bind(self, values: Mapping[str, Any] | None = None, **parts: Where) -> Bound:
        """Put the parts in their places and the values in the order of their numbers."""
        text, taken = self.text, dict(values or {})
        for name, part in parts.items():
            renamed = part.apart_from(taken)
            text = text.replace("{" + name + "}", f"({renamed.sql})")
            taken.update(renamed.values)
        return bind(text, taken)


def bind(text: str, values: Mapping[str, Any]) -> Bound:
    """Turn `:names` into `$numbers`; raises KeyError for a name without a value."""
    positional, names = _positional(text)
    return Bound(positional, [values[name] for name in names])


@lru_cache(maxsize=4096)
def _positional(text: str) -> tuple[str, tuple[str, ...]]:
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:  # a quoted text
            return found[0]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _NAME.sub(number, text), tuple(names)


def load(package: str, file: str = "queries.sql") -> dict[str, Statement]:
    """The statements of `file` in `package`, by name; raises ValueError for a name used twice."""
    text = resources.files(package).joinpath(file).read_text(encoding="utf-8")
    heads = list(_HEAD.finditer(text))
    statements: dict[str, Statement] = {}
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        body = text[head.end() : following.start() if following else len(text)]
        if head[1] in statements:
            raise ValueError(f"{package}/{file} names {head[1]} twice")
        statements[head[1]] = Statement(head[1], _without_comments(body))
    return statements


def _without_comments(body: str) -> str:
    lines = (line for line in body.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip().rstrip(";")
