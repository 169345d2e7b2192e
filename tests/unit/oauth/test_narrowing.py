"""What a person leaves of the images on the consent page."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.filters import StudyFacts, passes
from server.access.scopes import Scopes
from server.oauth.narrowing import Choice, is_possible, narrowed
from server.records.registry import types

DCM = "http://dicom.nema.org/resources/ontology/DCM"
ALL = Choice()


@pytest.mark.parametrize(
    ("scope", "possible"),
    [
        ("patient/ImagingStudy.rs patient/Patient.rs", True),
        ("patient/ImagingStudy.read", True),
        ("patient/*.rs", True),
        ("user/*.read", True),
        ("patient/ImagingStudy.rs?modality=CT", True),
        ("patient/ImagingStudy.cud", False),
        ("patient/Patient.rs openid", False),
    ],
)
def test_narrowing_is_offered_wherever_images_are_open(scope: str, possible: bool) -> None:
    assert is_possible(Scopes.parse(scope)) is possible


def test_without_a_choice_the_scope_is_as_it_was_asked() -> None:
    scopes = Scopes.parse("patient/ImagingStudy.read patient/*.rs openid")
    assert narrowed(scopes, ALL).text == scopes.text


@pytest.mark.parametrize(
    ("choice", "filter"),
    [
        (Choice(frozenset({"MR", "CT"})), f"modality={DCM}|CT,{DCM}|MR"),
        (Choice(since=date(2024, 1, 15)), "started=ge2024-01-15"),
        (Choice(until=date(2024, 1, 15)), "started=le2024-01-15"),
        (Choice(since=date(2023, 1, 1), until=date(2024, 1, 15)), "started=ge2023-01-01&started=le2024-01-15"),
        (Choice(studies=frozenset({"b", "a"})), "_id=a,b"),
        (Choice(frozenset({"CT"}), date(2024, 1, 1), None, frozenset({"a"})),
         f"modality={DCM}|CT&started=ge2024-01-01&_id=a"),
    ],
)  # fmt: skip
def test_a_choice_becomes_filters(choice: Choice, filter: str) -> None:
    scopes = Scopes.parse("openid patient/ImagingStudy.read patient/Patient.rs")
    assert narrowed(scopes, choice).text == f"openid patient/ImagingStudy.rs?{filter} patient/Patient.rs"


def test_a_filter_that_was_asked_for_stays() -> None:
    scopes = Scopes.parse("patient/ImagingStudy.rs?modality=CT")
    made = narrowed(scopes, Choice(since=date(2024, 1, 1)))
    assert made.text == "patient/ImagingStudy.rs?modality=CT&started=ge2024-01-01"


@pytest.mark.parametrize(
    "choice",
    [
        Choice(frozenset()),
        Choice(studies=frozenset()),
        Choice(since=date(2024, 2, 1), until=date(2024, 1, 1)),
    ],
)
def test_nothing_left_takes_the_scope_away(choice: Choice) -> None:
    scopes = Scopes.parse("patient/ImagingStudy.rs patient/Patient.rs")
    assert narrowed(scopes, choice).text == "patient/Patient.rs"


@pytest.mark.parametrize("asked", ["patient/*.rs", "patient/*.read", "patient/*.cruds", "user/*.r"])
def test_a_scope_on_every_type_becomes_one_a_type(asked: str) -> None:
    whole = Scopes.parse(asked)
    made = narrowed(whole, Choice(frozenset({"CT"})))
    again = Scopes.parse(made.text)
    assert again == made, "read back the same"
    assert again.subset_of(whole)
    for type in types():
        for verb in "cruds":
            before, after = whole.granting(type, verb), again.granting(type, verb)
            assert bool(before) == bool(after)
            assert all(each.filters for each in after) == (type == "ImagingStudy" or not after)


scope = st.sampled_from(
    [
        "patient/*.rs", "patient/*.read", "user/*.cruds", "patient/ImagingStudy.rs", "user/ImagingStudy.r",
        "patient/ImagingStudy.rs?modality=CT,MR", "patient/Patient.rs", "openid", "patient/Observation.cruds",
        "patient/ImagingStudy.rs?started=ge2020",
    ]
)  # fmt: skip
choices = st.builds(
    Choice,
    st.none() | st.frozensets(st.sampled_from(["CT", "MR", "US"])),
    st.none() | st.dates(date(2019, 1, 1), date(2023, 1, 1)),
    st.none() | st.dates(date(2019, 1, 1), date(2023, 1, 1)),
    st.none() | st.frozensets(st.sampled_from(["a", "b"])),
)
studies = st.builds(
    StudyFacts,
    st.frozensets(st.sampled_from(["CT", "MR", "US"]), min_size=1),
    st.none() | st.dates(date(2019, 1, 1), date(2023, 1, 1)),
    st.sampled_from(["a", "b", "c"]),
)


@given(st.lists(scope, max_size=4).map(" ".join), choices, studies)
def test_a_choice_takes_away_and_never_adds(text: str, choice: Choice, study: StudyFacts) -> None:
    whole = Scopes.parse(text)
    made = Scopes.parse(narrowed(whole, choice).text)
    assert made.subset_of(whole)
    for verb in "rs":
        was, still = seen(whole, verb, study), seen(made, verb, study)
        assert still == (was and chosen(choice, study))


def seen(scopes: Scopes, verb: str, study: StudyFacts) -> bool:
    """Whether any scope opens this study."""
    return any(
        all(passes(filter, study) for filter in each.filters)
        for each in scopes.granting("ImagingStudy", verb)
    )


def chosen(choice: Choice, study: StudyFacts) -> bool:
    """The meaning of the form."""
    return (
        (choice.kinds is None or not choice.kinds.isdisjoint(study.modalities))
        and (choice.since is None or (study.day is not None and study.day >= choice.since))
        and (choice.until is None or (study.day is not None and study.day <= choice.until))
        and (choice.studies is None or study.id in choice.studies)
    )
