"""What a search of all patients begins with."""

from __future__ import annotations

from urllib.parse import parse_qsl

from server.records.criteria import condition
from server.records.registry import types
from server.records.search_plan import leading


def led_by(search: str) -> list[str]:
    """The parameters that the search begins with."""
    name, _, query = search.partition("?")
    type = types()[name]
    return [one.param.name for one in leading([condition(type, *pair) for pair in parse_qsl(query)])]


def test_a_name_a_reference_a_chain_or_days_lead() -> None:
    assert led_by("Patient?name=anna") == ["name"]
    assert led_by("Patient?name=anna&gender=female&active=true") == ["name"]
    assert led_by("ImagingStudy?endpoint=Endpoint/1") == ["endpoint"]
    assert led_by("ImagingStudy?patient.name=anna&modality=CT") == ["patient"]
    assert led_by("ImagingStudy?started=2024-03-05&modality=CT") == ["started"]
    assert led_by("ImagingStudy?started=ge2024-03&started=lt2024-04") == ["started", "started"]


def test_what_may_be_nearly_all_does_not_lead() -> None:
    for search in (
        "started=ge2024",
        "started=ne2024-03-05",
        "modality=CT",
        "started:missing=true",
        "_text=lung",
    ):
        assert led_by(f"ImagingStudy?{search}") == [], search
    for search in ("name:contains=nn", "gender=female", "name:missing=false"):
        assert led_by(f"Patient?{search}") == [], search


def test_of_several_that_could_the_planner_chooses() -> None:
    for search in ("name=anna&birthdate=1970", "family=moor&given=anna", "name=anna&identifier=1"):
        assert led_by(f"Patient?{search}") == [], search


def test_a_day_leads_beside_names() -> None:
    """Names that many have cost a look-up each; who was born on a day are few."""
    assert led_by("Patient?family=moor&birthdate=1970-01-01") == ["birthdate"]
    assert led_by("Patient?birthdate=1970-01&gender=female&name=anna") == ["birthdate"]
    for search in ("birthdate=1970", "birthdate=ge1970-01-01", "birthdate=1970-01-01&identifier=1"):
        assert led_by(f"Patient?{search}") == [], search
