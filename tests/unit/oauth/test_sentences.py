"""Scopes in words."""

import pytest

from server.access.scopes import Scopes
from server.oauth.sentences import lines


@pytest.mark.parametrize(
    ("scope", "your", "sentence"),
    [
        ("patient/ImagingStudy.rs", "your", "See your imaging studies and their images."),
        ("patient/ImagingStudy.rs", "Bo's", "See Bo's imaging studies and their images."),
        ("patient/ImagingStudy.rs?modality=CT,MR", "your",
         "See your imaging studies and their images (CT or MRI only)."),
        ("patient/*.cruds", "your", "See, add, change and delete everything in your record."),
        ("patient/CarePlan.r", "your", "See your care plan."),
        ("user/ImagingStudy.rs", "your",
         "See the imaging studies and their images of everyone whose record you may open."),
        ("patient/Consent.c", "your", "Share your record with others, in your name."),
        ("offline_access", "your", "Stay connected when you are not here."),
    ],
)  # fmt: skip
def test_sentences(scope: str, your: str, sentence: str) -> None:
    (line,) = lines(Scopes.parse(scope), your=your)
    assert (line.value, line.sentence) == (scope, sentence)
