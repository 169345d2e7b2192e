"""Every row of product.md that the portal answers for has a story in tests/flows that names it."""

from __future__ import annotations

import re
from pathlib import Path

FLOWS = Path(__file__).parents[2] / "flows"
NEEDED = {*range(1, 36), *range(39, 43), 45, 46, 48, 61, 62, 64, 66}
_ROWS = re.compile(r"\b[Rr]ows? ((?:\d+(?:\s*-\s*\d+)?(?:, | and )?)+)")


def rows_named(text: str) -> set[int]:
    """The numbers after "row" and "rows": "Rows 3-6, 30 and 45"."""
    found: set[int] = set()
    for listed in _ROWS.findall(text):
        for first, last in re.findall(r"(\d+)(?:\s*-\s*(\d+))?", listed):
            found |= set(range(int(first), int(last or first) + 1))
    return found


def test_rows_are_read() -> None:
    assert rows_named('"""Rows 3-6, 30 and 45: a story of row 9."""') == {3, 4, 5, 6, 9, 30, 45}


def test_every_row_has_a_story() -> None:
    """The message lists the rows without one."""
    named: set[int] = set()
    for file in FLOWS.glob("test_*.py"):
        named |= rows_named(file.read_text(encoding="utf-8"))
    assert sorted(NEEDED - named) == []
