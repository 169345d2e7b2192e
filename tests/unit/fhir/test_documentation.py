"""docs/fhir.md says what the registry says."""

from __future__ import annotations

from pathlib import Path

from server.fhir.documentation import page


def test_the_page_is_the_one_that_the_registry_makes() -> None:
    """Write it anew with `python -m server.fhir.documentation > docs/fhir.md`."""
    assert (Path(__file__).parents[3] / "docs" / "fhir.md").read_text(encoding="utf-8") == page()
