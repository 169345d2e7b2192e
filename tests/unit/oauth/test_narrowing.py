"""Kinds of images chosen on the consent page."""

import pytest

from server.access.scopes import Scopes
from server.oauth.narrowing import is_possible, narrowed

DCM = "http://dicom.nema.org/resources/ontology/DCM"
OFFERED = frozenset({"CT", "MR", "US"})


@pytest.mark.parametrize(
    ("scope", "possible"),
    [
        ("patient/ImagingStudy.rs patient/Patient.rs", True),
        ("patient/ImagingStudy.read", True),
        ("patient/ImagingStudy.rs patient/*.rs", False),
        ("patient/ImagingStudy.rs user/ImagingStudy.rs", False),
        ("patient/ImagingStudy.rs?modality=CT", False),
        ("patient/ImagingStudy.cud", False),
        ("patient/Patient.rs", False),
    ],
)
def test_narrowing_is_offered_where_it_would_hold(scope: str, possible: bool) -> None:
    assert is_possible(Scopes.parse(scope)) is possible


def test_all_kinds_leave_the_scope_as_it_was_asked() -> None:
    scopes = Scopes.parse("patient/ImagingStudy.read openid")
    assert narrowed(scopes, OFFERED, OFFERED).text == scopes.text


def test_some_kinds_become_a_filter() -> None:
    scopes = Scopes.parse("openid patient/ImagingStudy.read patient/Patient.rs")
    assert narrowed(scopes, OFFERED, frozenset({"MR", "CT", "XA"})).text == (
        f"openid patient/ImagingStudy.rs?modality={DCM}|CT,{DCM}|MR patient/Patient.rs"
    )


def test_no_kind_takes_the_scope_away() -> None:
    scopes = Scopes.parse("patient/ImagingStudy.rs patient/Patient.rs")
    assert narrowed(scopes, OFFERED, frozenset()).text == "patient/Patient.rs"


def test_what_was_narrowed_is_read_back_the_same() -> None:
    made = narrowed(Scopes.parse("patient/ImagingStudy.rs"), OFFERED, frozenset({"CT"}))
    assert Scopes.parse(made.text) == made
