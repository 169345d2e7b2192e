"""How many examples a test draws where the usual number does not fit it."""

from __future__ import annotations

from hypothesis import settings

USUAL = 100


def examples(count: int) -> int:
    """`count` in the ordinary run, and more by the same factor as everywhere with `--long` (tests/conftest.py)."""
    return count * settings().max_examples // USUAL
