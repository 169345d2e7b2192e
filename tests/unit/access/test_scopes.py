"""The scope algebra: SMART App Launch 2.2, scopes v1 and v2."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.filters import StudyFacts, passes
from server.access.scopes import SPECIAL, Coded, Filter, Scope, Scopes

DCM = "http://dicom.nema.org/resources/ontology/DCM"


def one(text: str) -> Scope:
    (scope,) = Scopes.parse(text).resources
    return scope


@pytest.mark.parametrize(
    ("text", "verbs"),
    [
        ("patient/Patient.r", "r"),
        ("patient/Patient.rs", "rs"),
        ("user/*.cruds", "cruds"),
        ("system/ImagingStudy.cud", "cud"),
        ("patient/Patient.read", "rs"),
        ("patient/Patient.write", "cud"),
        ("patient/*.*", "cruds"),
    ],
)
def test_verbs(text: str, verbs: str) -> None:
    scope = one(text)
    assert scope.verbs == frozenset(verbs)
    assert scope.text == text, "the form that was asked for comes back"


@pytest.mark.parametrize(
    "text",
    [
        "patient/Patient.sr",
        "patient/Patient.dus",
        "patient/Patient.rr",
        "patient/Patient.",
        "patient/Patient",
        "patient/patient.rs",
        "patients/Patient.rs",
        "patient/*.rs?category=x",
        "patient/ImagingStudy.rs?",
        "patient/ImagingStudy.rs?modality",
        "patient/ImagingStudy.rs?modality=",
        "patient/ImagingStudy.rs?modality=CT,",
        "patient/ImagingStudy.rs?modality=CT%00",
        "patient/ImagingStudy.rs?modality:not=CT",
        "patient/ImagingStudy.rs?started=ne2020",
        "patient/ImagingStudy.rs?started=gt2020-13",
        "patient/ImagingStudy.rs?started=urn:x|2020",
        "patient/ImagingStudy.rs?modality=CT&started=",
        "patient/ImagingStudy.rs?_id=a/b",
        "patient/Patient.rs?_id=a",
        "patient/ImagingStudy.read?modality=CT",
        'patient/ImagingStudy.rs?modality="CT"',
        "patient/Patient.rs\n",
        "banana",
        "OPENID",
    ],
)
def test_what_cannot_be_read_grants_nothing(text: str) -> None:
    assert not Scopes.parse(text)


def test_filter_is_read_with_its_system() -> None:
    scope = one(f"patient/ImagingStudy.rs?modality={DCM}|CT,MR")
    assert scope.filters == (Filter("modality", (Coded(DCM, "CT"), Coded(None, "MR"))),)


def test_filter_may_be_percent_encoded() -> None:
    scope = one(f"patient/ImagingStudy.rs?modality={DCM}%7CCT")
    assert scope.filters == (Filter("modality", (Coded(DCM, "CT"),)),)


@pytest.mark.parametrize(
    ("filter", "inside", "outside"),
    [
        ("ge2020", ["2020-01-01", "2024-05-05"], ["2019-12-31"]),
        ("gt2020", ["2021-01-01"], ["2020-12-31"]),
        ("le2020-02", ["2020-02-29", "1999-01-01"], ["2020-03-01"]),
        ("lt2020-02-10", ["2020-02-09"], ["2020-02-10"]),
        ("2020-02", ["2020-02-01", "2020-02-29"], ["2020-03-01", "2020-01-31"]),
        ("eq2020-02-03", ["2020-02-03"], ["2020-02-02", "2020-02-04"]),
    ],
)
def test_a_filter_of_days(filter: str, inside: list[str], outside: list[str]) -> None:
    """FHIR R4, 3.1.1.5.3; a study without a date is of no day."""
    (only,) = one(f"patient/ImagingStudy.rs?started={filter}").filters
    for day in inside:
        assert passes(only, StudyFacts((), date.fromisoformat(day)))
    for day in outside:
        assert not passes(only, StudyFacts((), date.fromisoformat(day)))
    assert not passes(only, StudyFacts(("CT",), None))


def test_a_union_keeps_each_filter_with_its_scope() -> None:
    scopes = Scopes.parse("patient/ImagingStudy.r?modality=CT patient/ImagingStudy.s user/*.r")
    assert [scope.text for scope in scopes.granting("ImagingStudy", "r")] == [
        "patient/ImagingStudy.r?modality=CT",
        "user/*.r",
    ]
    assert [scope.filters for scope in scopes.granting("ImagingStudy", "s")] == [()]
    assert scopes.granting("ImagingStudy", "d") == []


def test_order_is_kept_and_repeats_are_not() -> None:
    scopes = Scopes.parse("openid patient/*.rs launch/patient patient/*.read openid")
    assert scopes.text == "openid patient/*.rs launch/patient"


def test_contexts_never_combine() -> None:
    assert not Scopes.parse("user/*.rs").within(Scopes.parse("patient/*.cruds"))
    assert not Scopes.parse("patient/*.rs").subset_of(Scopes.parse("user/*.cruds system/*.cruds"))


@pytest.mark.parametrize(
    ("asked", "allowed", "granted"),
    [
        ("patient/*.read", "patient/*.rs", "patient/*.read"),
        ("patient/*.read", "patient/*.r", "patient/*.r"),
        ("patient/*.rs", "patient/Patient.r patient/Coverage.s", "patient/Patient.r patient/Coverage.s"),
        ("patient/ImagingStudy.rs", "patient/*.cruds?x=1 patient/ImagingStudy.rs?modality=CT",
         "patient/ImagingStudy.rs?modality=CT"),
        ("patient/ImagingStudy.rs?modality=CT", "patient/*.rs", "patient/ImagingStudy.rs?modality=CT"),
        ("patient/ImagingStudy.rs?modality=CT", "patient/ImagingStudy.rs?modality=MR",
         "patient/ImagingStudy.rs?modality=CT&modality=MR"),
        ("patient/Patient.rs", "patient/Patient.r patient/Patient.s", "patient/Patient.rs"),
        ("openid fhirUser offline_access", "openid fhirUser", "openid fhirUser"),
    ],
)  # fmt: skip
def test_within(asked: str, allowed: str, granted: str) -> None:
    assert Scopes.parse(asked).within(Scopes.parse(allowed)).text == granted


def test_a_filter_is_implied_by_a_narrower_one() -> None:
    wide = Scopes.parse("patient/ImagingStudy.rs?modality=CT,MR")
    assert Scopes.parse(f"patient/ImagingStudy.rs?modality={DCM}|CT").subset_of(wide)
    assert not Scopes.parse("patient/ImagingStudy.rs?modality=CT,US").subset_of(wide)
    assert not Scopes.parse("patient/ImagingStudy.rs").subset_of(wide)


coded = st.builds(Coded, st.sampled_from([None, DCM, ""]), st.sampled_from(["CT", "MR", "U&S %"]))
day = st.builds(
    Coded,
    st.none(),
    st.builds(
        "{}{}".format,
        st.sampled_from(["", "ge", "gt", "le", "lt", "eq"]),
        st.sampled_from(["2019", "2020", "2020-06", "2020-06-15", "2021-01-01"]),
    ),
)
filters = st.lists(
    st.builds(Filter, st.just("modality"), st.lists(coded, min_size=1, max_size=3).map(tuple))
    | st.builds(Filter, st.just("started"), st.lists(day, min_size=1, max_size=2).map(tuple)),
    max_size=3,
)
scope = st.builds(
    Scope,
    st.sampled_from(["patient", "user", "system"]),
    st.sampled_from(["*", "Patient", "Observation"]),
    st.sets(st.sampled_from("cruds"), min_size=1).map(frozenset),
) | st.builds(
    Scope,
    st.sampled_from(["patient", "user"]),
    st.just("ImagingStudy"),
    st.sets(st.sampled_from("cruds"), min_size=1).map(frozenset),
    filters.map(tuple),
)
unions = st.lists(scope | st.sampled_from(SPECIAL), max_size=5).map(Scopes.of)
ASKS = [
    (context, type, verb)
    for context in ("patient", "user", "system")
    for type in ("Patient", "ImagingStudy", "Endpoint")
    for verb in "cruds"
]
CODES = [(DCM, "CT"), (DCM, "MR"), ("", "U&S %"), ("urn:x", "CT")]
DAYS = [None, date(2019, 12, 31), date(2020, 6, 15), date(2020, 12, 31), date(2021, 1, 1)]
STUDIES = [(*code, day) for code in CODES for day in DAYS]


def selects(filter: Filter, study: tuple[str, str, date | None]) -> bool:
    """Written apart from the code under test for codes; dates by the facts a store asks."""
    if filter.param == "started":
        return passes(filter, StudyFacts((), study[2]))
    return any(value.covers(Coded(*study[:2])) for value in filter.values)


def opened(scopes: Scopes) -> set[tuple[object, ...]]:
    """Everything a union opens in a small world; the meaning the algebra is checked against."""
    return {
        (context, type, verb, study)
        for context, type, verb in ASKS
        for each in scopes.granting(type, verb)
        if each.context == context
        for study in STUDIES
        if all(selects(f, study) for f in each.filters)
    }


@given(unions)
def test_text_and_back(scopes: Scopes) -> None:
    again = Scopes.parse(scopes.text)
    assert opened(again) == opened(scopes)
    assert Scopes.parse(again.text) == again


@given(unions, unions)
def test_within_opens_exactly_what_both_open(one: Scopes, other: Scopes) -> None:
    assert opened(one.within(other)) == opened(one) & opened(other)


@given(unions, unions)
def test_within_is_a_subset_of_both(one: Scopes, other: Scopes) -> None:
    both = one.within(other)
    assert both.subset_of(one)
    assert both.subset_of(other)


@given(unions, unions)
def test_subset_means_opening_no_more(one: Scopes, other: Scopes) -> None:
    if one.subset_of(other):
        assert opened(one) <= opened(other)
        assert one.within(other) == one


@given(unions, unions)
def test_a_union_opens_what_either_opens(one: Scopes, other: Scopes) -> None:
    assert opened(one | other) == opened(one) | opened(other)
    assert one.subset_of(one | other)


@given(st.text(max_size=80) | st.from_regex(r"(patient|user)/[A-Z*][a-z]*\.[cruds*]+(\?[a-z]+=[A-Z|]+)?"))
def test_any_text_is_read_without_harm(text: str) -> None:
    scopes = Scopes.parse(text)
    assert all(item in text.split(" ") for item in scopes.text.split(" ") if item)
