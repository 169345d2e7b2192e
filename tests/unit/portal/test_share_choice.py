"""What a form says of which studies are shared; what it does not say is never the whole record."""

from __future__ import annotations

import pytest

from server.portal.forms import filled
from server.portal.share_choice import BOTH, NEITHER, NOTHING_TICKED, read, read_terms


@pytest.mark.parametrize(
    ("said", "ticked", "wrong"),
    [
        ("whole", [], None),
        ("chosen", ["1.2"], None),
        ("whole", ["1.2"], BOTH),
        ("chosen", [], NOTHING_TICKED),
        ("", [], NEITHER),
        ("x", [], NEITHER),
        (None, [], NEITHER),
        (None, ["1.2"], NEITHER),
    ],
)
def test_whole_and_chosen_are_both_said(said: str | None, ticked: list[str], wrong: str | None) -> None:
    form = filled({} if said is None else {"which": said}, study=ticked)
    assert read(form) == (ticked or None)
    assert form.errors == ({"which": wrong} if wrong else {})


def test_terms_that_are_not_asked_about_stay() -> None:
    """Where all that was chosen is gone, the form has no question; a request is never answered by silence."""
    for standing in (None, ["1.2"]):
        form = filled({"terms": "yes"})
        assert read_terms(form, standing, asked=False) == standing
        assert not form.errors
    form = filled({"terms": "yes"})
    read_terms(form, None, asked=True)
    assert form.errors == {"which": NEITHER}
    assert read_terms(filled({"which": "whole"}), ["1.2"], asked=False) is None
    assert read_terms(filled({"which": "chosen"}, study=["1.3"]), ["1.2"], asked=False) == ["1.3"]
