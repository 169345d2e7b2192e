"""The language of `_text` and `_content` (FHIR R4, 3.1.1.4.15), of `_filter` (3.1.3), and what terminologies say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.core.errors import InvalidInput
from server.records import filter_query, terminology
from server.records.text_index import content, narrative
from server.records.text_query import tsquery
from server.storage.db import Database
from server.storage.sql import Statement
from tests.drawn import examples

ASK = Statement("ask", "SELECT (:words::text)::tsvector @@ (:query::text)::tsquery")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bone", "'bone'"),
        ("(bone OR Liver) and metastases", "(('bone' | 'liver') & 'metastases')"),
        ("bone liver", "('bone' & 'liver')"),
        ('"left knee"', "('left' <-> 'knee')"),
        ("metast*", "'metast':*"),
        ("-bone NOT (a or b)", "(!('bone') & !(('a' | 'b')))"),
        ("O'Brien", "('o' <-> 'brien')"),
        ("Ångström:*", "'angstrom':*"),
    ],
)
def test_the_language(text: str, expected: str) -> None:
    assert tsquery(text) == expected


@pytest.mark.parametrize(
    "text", ["-".join("a" * 100), "", "()", "(a", "a)", '"a', "'", "and", "a " * 100, "%", "-"]
)
def test_what_is_no_question(text: str) -> None:
    with pytest.raises(InvalidInput):
        tsquery(text)


@settings(max_examples=examples(100))
@given(st.text(alphabet="ab\"'()-*:&|!<>\\ Ø orandt", max_size=30))
def test_any_text_is_a_question_or_an_error(text: str) -> None:
    try:
        found = tsquery(text)
    except InvalidInput:
        return
    assert found.count("(") == found.count(")")
    assert found.count("'") % 2 == 0


async def test_the_database_reads_both(db: Database) -> None:
    """Whatever is written: words and questions come through as they are meant."""
    div = "<div>Fracture of the <b>left</b>&nbsp;knee, d'Ångström &amp; more</div>"
    resource = {"resourceType": "Basic", "id": "secret", "text": {"div": div}, "code": {"text": "Meniscus"}}
    for text, in_narrative, in_content in (
        ('"left knee"', True, True), ('"knee left"', False, False), ("angstrom", True, True), ("menisc*", False, True),
        ("knee -meniscus", True, False), ("secret OR basic", False, False), ('"more meniscus"', False, False),
    ):  # fmt: skip
        query = tsquery(text)
        assert await db.fetch_val(ASK, {"words": narrative(resource), "query": query}) is in_narrative, text
        assert await db.fetch_val(ASK, {"words": content(resource), "query": query}) is in_content, text
    odd = {"text": {"div": "<div>" + "x" * 5000 + " 漢字 '\\ ':1 & " + "y " * 20000 + "</div>"}}
    assert await db.fetch_val(ASK, {"words": content(odd), "query": tsquery("y")})
    wide = "".join(f"{'漢' * 55}{number:05} " for number in range(8000))  # more than a vector holds
    assert await db.fetch_val(
        ASK, {"words": content({"text": {"div": "first " + wide}}), "query": tsquery("first")}
    )


@pytest.mark.parametrize(
    "text",
    ["", "a", "a eq", "a eq b c", "(a eq b", "a eq b)", "not a eq b", "a xx b", 'a eq "b', "a[b eq c eq d",
     " and ".join(["a eq b"] * 40), "(" * 30 + "a eq b" + ")" * 30, "a eq b and", "or a eq b", 'a eq "\\u00"',
     'a eq "\\ud800"', 'a eq "\\u0000"'],
)  # fmt: skip
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(InvalidInput):
        filter_query.parse(text)


def test_and_binds_before_or() -> None:
    found = filter_query.parse('a eq 1 or b eq 2 and not (c[d eq 3].e eq "4 )")')
    assert isinstance(found, filter_query.Both)
    assert found.any
    first, second = found.parts
    assert isinstance(first, filter_query.Test)
    assert isinstance(second, filter_query.Both)
    assert not second.any
    assert isinstance(second.parts[1], filter_query.Not)


def test_what_lies_above_a_long_code() -> None:
    """As long as the index holds it, whatever is asked for."""
    assert len(terminology.prefixes("urn:ietf:bcp:47", "a" + "-" * 60_000)) <= 250


def test_hierarchies_and_value_sets() -> None:
    roles = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
    assert {"MTH", "NMTH", "PRN"} <= terminology.subsumed(roles, "PRN")
    assert {"NMTH", "MTH", "PRN", "FAMMEMB"} <= terminology.subsumed(roles, "NMTH", above=True)
    assert terminology.subsumed(roles, "nobody") == {"nobody"}
    assert len(terminology.value_sets()) > 90
    for address in terminology.value_sets():
        assert terminology.members(address), address
