"""The pages that name a test as a proof name one that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
NAMED = re.compile(r"`(tests/[\w./]*)(?:::(\w+))?`")


@pytest.mark.parametrize("page", ["security.md", "privacy.md"])
def test_every_test_that_is_named_exists(page: str) -> None:
    """A file or folder of tests, and in it the test that is named."""
    for path, name in NAMED.findall((TOP / "docs" / page).read_text(encoding="utf-8")):
        assert (TOP / path).exists(), path
        if name:
            assert re.search(
                rf"^(async )?def {name}\(", (TOP / path).read_text(encoding="utf-8"), re.MULTILINE
            ), name


def test_every_line_of_the_threat_model_names_its_test() -> None:
    """Each row of the two tables; of STRIDE, each letter and the tests themselves; each surface has all six."""
    text = (TOP / "docs" / "security.md").read_text(encoding="utf-8")
    holds, threats, *_ = re.split(r"^## Threats|^## What is not", text, flags=re.MULTILINE)
    rows = [
        line for line in holds.splitlines() if line.startswith("| ") and not line.startswith("| property")
    ]
    assert rows
    for row in rows:
        assert NAMED.search(row.rsplit("|", 2)[1]), row
    table = [line.split("|") for line in threats.splitlines() if line.startswith("| ")][1:]
    for _, surface, letter, *_rest, proof, _ in table:
        assert letter.strip() in "STRIDE", surface
        assert all(name for _, name in NAMED.findall(proof)), (surface, proof)
        assert NAMED.search(proof), (surface, proof)
    for surface in ("DICOMweb", "FHIR", "OAuth", "Portal"):
        assert {row[2].strip() for row in table if row[1].strip() == surface} == set("STRIDE")
