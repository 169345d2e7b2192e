"""dicomweb/qido_params.py and qido_values.py: what a search string means."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.errors import InvalidInput, UnknownParameter
from server.dicomweb.qido_params import DEFAULT_LIMIT, MAX_LIMIT, QidoQuery, parse
from server.dicomweb.qido_values import Between, Empty, Equals, Like


def only(name: str, value: str):
    (match,) = parse([(name, value)]).matches
    return match.any_of


def test_nothing_asked():
    assert parse([]) == QidoQuery()
    assert parse([]).limit == DEFAULT_LIMIT


@pytest.mark.parametrize("name", ["PatientID", "00100020", "0010 0020"[:4] + "0020"])
def test_keyword_and_tag_are_the_same(name):
    """PS3.18, 8.3.4.1: attributeID is a tag or a keyword."""
    (match,) = parse([(name, "X")]).matches
    assert (match.path, match.vr, match.name) == (("00100020",), "LO", "PatientID")


def test_small_hex_letters():
    assert parse([("0020000d", "1.2")]).matches[0].path == ("0020000D",)


@pytest.mark.parametrize("name", ["RequestAttributesSequence.ScheduledProcedureStepID", "00400275.00400009"])
def test_sequence_path(name):
    (match,) = parse([(name, "X")]).matches
    assert match.path == ("00400275", "00400009")
    assert match.name == "RequestAttributesSequence.ScheduledProcedureStepID"


@pytest.mark.parametrize(
    "name",
    [
        "NoSuchThing",
        "patientid",
        "",
        ".",
        "PatientID.StudyDate",
        "00091010",
        "0010002",
        "Studý",
        "a" * 500,
        "orderby",
    ],
)
def test_unknown_key(name):
    """Decision 15: a key the dictionary does not know is 400."""
    with pytest.raises(UnknownParameter):
        parse([(name, "x")])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PatientID", "A1", (Equals("A1"),)),
        ("StudyInstanceUID", "1.2,1.3", (Equals("1.2"), Equals("1.3"))),
        ("StudyInstanceUID", "1.2\\1.3", (Equals("1.2"), Equals("1.3"))),
        ("ModalitiesInStudy", "CT,MR", (Equals("CT"), Equals("MR"))),
        ("StudyDescription", "CHEST, PA", (Equals("CHEST, PA"),)),
        ("AccessionNumber", "1,2", (Equals("1,2"), Equals("1"), Equals("2"))),
        ("PatientName", "Doe*", (Like("Doe*"),)),
        ("PatientName", "D?e^J*", (Like("D?e^J*"),)),
        ("StudyInstanceUID", "1.2*", (Equals("1.2*"),)),
        ("StudyDate", "20200229", (Equals("20200229"),)),
        ("StudyDate", "2020.02.29", (Equals("20200229"),)),
        ("StudyDate", "20200101-20201231", (Between("20200101", "20201231"),)),
        ("StudyDate", "20200101-", (Between("20200101", None),)),
        ("StudyDate", "-20200101", (Between(None, "20200101"),)),
        ("StudyTime", "10", (Between("100000000000", "105959999999"),)),
        ("StudyTime", "1030-11", (Between("103000000000", "115959999999"),)),
        ("StudyTime", "103000.5-", (Between("103000500000", None),)),
        ("AcquisitionDateTime", "2019-2020", (Between("20190101000000000000", "20201231235959999999"),)),
        ("AcquisitionDateTime", "20190203-0500", (Between("20190203000000000000", "20190203235959999999"),)),
        ("SeriesNumber", "3", (Equals("3"),)),
        ("PatientAge", "040Y", (Equals("040Y"),)),
    ],
)
def test_values(name, value, expected):
    """PS3.4, C.2.2.2."""
    assert only(name, value) == expected


@pytest.mark.parametrize("value", ["", "*"])
def test_universal_matching_returns_the_attribute(value):
    """PS3.4, C.2.2.2.3."""
    query = parse([("InstitutionName", value)])
    assert query.matches == ()
    assert query.include == (("00080080",),)


def test_a_repeated_key_is_a_list():
    assert len(parse([("StudyInstanceUID", "1"), ("0020000D", "2")]).matches[0].any_of) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("StudyDate", "yesterday"),
        ("StudyDate", "20200231"),
        ("StudyDate", "2020*"),
        ("StudyDate", "2020010120200102"),
        ("StudyTime", "25"),
        ("AcquisitionDateTime", "x"),
        ("SeriesNumber", "one"),
        ("PatientName", "a\x00b"),
        ("PatientName", "a" * 2000),
        ("StudyInstanceUID", ",".join(str(each) for each in range(1001))),
        ("RequestAttributesSequence", "x"),
        ("limit", "-1"),
        ("limit", "x"),
        ("limit", "99999999999999999999"),
        ("limit", "9" * 5000),
        ("limit", "²"),
        ("limit", ""),
        ("offset", "-1"),
        ("offset", "1.5"),
        ("fuzzymatching", "perhaps"),
    ],
)
def test_values_that_cannot_be(name, value):
    with pytest.raises(InvalidInput):
        parse([(name, value)])


def test_includefield():
    """PS3.18, 8.3.4.3."""
    query = parse(
        [("includefield", "00081030,StudyID"), ("includefield", "00091010"), ("includefield", "all")]
    )
    assert query.include == (("00081030",), ("00200010",), ("00091010",))
    assert query.include_all


def test_limit_is_bounded():
    assert parse([("limit", "1000000")]).limit == MAX_LIMIT
    assert parse([("limit", "0"), ("offset", "7")]).offset == 7


def test_empty_values_are_asked_for_by_quotation_marks():
    """PS3.4, C.2.2.2.7, and only where empty value matching is wanted (PS3.18, 8.3.4.5)."""
    (wanted,) = parse([("StudyID", '""'), ("emptyvaluematching", "true")]).matches
    assert wanted.any_of == (Empty(),)
    (plain,) = parse([("StudyID", '""')]).matches
    assert plain.any_of == (Equals('""'),)


def test_each_of_multiple_values_must_match():
    """PS3.4, C.2.2.2.8: of attributes that can have several; of others the list stays one of them."""
    several = parse([("ModalitiesInStudy", "CT\\PT"), ("multiplevaluematching", "true")]).matches
    assert [each.any_of for each in several] == [(Equals("CT"),), (Equals("PT"),)]
    assert len(parse([("StudyID", "1\\2"), ("multiplevaluematching", "true")]).matches) == 1


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=40)), max_size=4))
def test_any_text_is_a_query_or_a_refusal(parameters):
    with suppress(InvalidInput):
        assert isinstance(parse(parameters), QidoQuery)


@given(
    st.sampled_from(["StudyDate", "StudyTime", "AcquisitionDateTime", "SeriesNumber"]),
    st.text("0123456789-.:+ ,"),
)
def test_any_value_is_bounds_or_a_refusal(name, value):
    with suppress(InvalidInput):
        for match in parse([(name, value)]).matches:
            assert match.any_of
