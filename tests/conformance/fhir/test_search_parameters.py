"""FHIR R4, 3.1.1.4: every kind of search parameter, with its modifiers and prefixes."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Api

LOINC = "http://loinc.org"


async def named(api: Api, **resources: Any) -> dict[str, str]:
    """Observations by name: id -> name."""
    return {(await api.made(api.observation(**elements)))["id"]: name for name, elements in resources.items()}


async def names(api: Api, made: dict[str, str], query: str) -> set[str]:
    return {made[id] for id in await api.found(f"Observation?{query}") if id in made}


def coded(code: str | None, system: str | None = None, **more: Any) -> dict[str, Any]:
    coding = {key: value for key, value in {"system": system, "code": code}.items() if value}
    return {"code": {"coding": [coding], **more}}


async def test_token(api: Api) -> None:
    """3.1.1.4.10: code, system|code, |code (no system), system| (any code)."""
    made = await named(
        api, loinc=coded("a", LOINC), other=coded("a", "urn:other"), bare=coded("a"), second=coded("b", LOINC)
    )
    for query, expected in {
        "code=a": {"loinc", "other", "bare"},
        f"code={LOINC}|a": {"loinc"},
        "code=|a": {"bare"},
        f"code={LOINC}|": {"loinc", "second"},
        f"code={LOINC}|a,{LOINC}|b": {"loinc", "second"},
        f"code=a&code={LOINC}|": {"loinc"},
        "code:not=a": {"second"},
        "code=A": set(),
        "status=http://hl7.org/fhir/observation-status|final&code=b": {"second"},
    }.items():
        assert await names(api, made, query) == expected, query


async def test_not_includes_resources_without_a_value(api: Api) -> None:
    """3.1.1.4.5: :not."""
    made = await named(api, none={}, lab={"category": [{"coding": [{"code": "laboratory"}]}]})
    assert await names(api, made, "category:not=laboratory") == {"none"}
    assert await names(api, made, "category:missing=true") == {"none"}
    assert await names(api, made, "category:missing=false") == {"lab"}


async def test_token_text(api: Api) -> None:
    """3.1.1.4.5: :text looks at text and display."""
    made = await named(
        api,
        text={"code": {"text": "Heart rate"}},
        display={"code": {"coding": [{"code": "x", "display": "Resting heart"}]}},
    )
    assert await names(api, made, "code:text=heart") == {"text", "display"}
    assert await names(api, made, "code:text=HEART%20r") == {"text"}


async def test_identifier_of_type(api: Api) -> None:
    """3.1.1.4.5: :of-type is system|code|value."""
    type = {"coding": [{"system": "urn:types", "code": "MR"}]}
    made = await named(
        api,
        mr={"identifier": [{"type": type, "value": "446"}]},
        plain={"identifier": [{"value": "446"}]},
    )
    assert await names(api, made, "identifier:of-type=urn:types|MR|446") == {"mr"}
    assert await names(api, made, "identifier=446") == {"mr", "plain"}
    assert (await api.get("Observation?identifier:of-type=446")).status_code == 400


async def test_string(api: Api) -> None:
    """3.1.1.4.8: starts with, whatever case and accents; :exact; :contains."""
    made = await named(
        api,
        angstrom={"valueString": "Ångström unit"},
        plain={"valueString": "angstrom"},
        odd={"valueString": "100%_a\\b"},
    )
    for query, expected in {
        "value-string=angs": {"angstrom", "plain"},
        "value-string=ÅNGSTRÖM": {"angstrom", "plain"},
        "value-string:exact=Ångström unit": {"angstrom"},
        "value-string:exact=ångström unit": set(),
        "value-string:contains=STROM U": {"angstrom"},
        "value-string=unit": set(),
        "value-string:contains=%25_": {"odd"},
        "value-string=1__%25": set(),
    }.items():
        assert await names(api, made, query) == expected, query


async def test_a_comma_can_be_escaped(api: Api) -> None:
    """3.1.1.4.19."""
    made = await named(api, one={"valueString": "a,b"}, two={"valueString": "a"}, three={"valueString": "b"})
    assert await names(api, made, "value-string:exact=a\\,b") == {"one"}
    assert await names(api, made, "value-string:exact=a,b") == {"two", "three"}


DATES = {
    "day": "2020-03-05",
    "month": "2020-03",
    "year": "2020",
    "second": "2020-03-05T10:00:00Z",
    "zone": "2020-03-05T23:30:00-05:00",
    "later": "2021-01-01",
}


@pytest.fixture
async def dated(api: Api) -> dict[str, str]:
    return await named(api, **{name: {"effectiveDateTime": date} for name, date in DATES.items()})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("2020-03-05", {"day", "second"}),
        ("2020-03", {"day", "month", "second", "zone"}),
        ("2020", {"day", "month", "year", "second", "zone"}),
        ("eq2020-03-05T10:00:00Z", {"second"}),
        ("eq2020-03-05T10:00Z", {"second"}),
        ("eq2020-03-05T11:00:00%2B01:00", {"second"}),
        ("ne2020-03", {"year", "later"}),
        ("gt2020-03-05", {"month", "year", "zone", "later"}),
        ("lt2020-03-05", {"month", "year"}),
        ("ge2020-03-05", {"day", "month", "year", "second", "zone", "later"}),
        ("le2020-03-05", {"day", "month", "year", "second"}),
        ("sa2020-03-05", {"zone", "later"}),
        ("eb2020-03-05", set()),
        ("eb2020-12-31", {"day", "month", "second", "zone"}),
    ],
)
async def test_date_prefixes(api: Api, dated: dict[str, str], query: str, expected: set[str]) -> None:
    """3.1.1.4.7: eq contains the target, gt and lt overlap beyond, sa and eb lie wholly beyond."""
    assert await names(api, dated, f"date={query}") == expected


async def test_a_period_that_is_open(api: Api) -> None:
    """3.1.1.4.7: a missing end is the end of time."""
    made = await named(
        api,
        open={"effectivePeriod": {"start": "2020-01-01"}},
        shut={"effectivePeriod": {"end": "2020-01-01"}},
    )
    assert await names(api, made, "date=gt2030") == {"open"}
    assert await names(api, made, "date=lt1990") == {"shut"}
    assert await names(api, made, "date=sa2019") == {"open"}


async def test_quantity(api: Api) -> None:
    """3.1.1.4.11: number|system|code, precision of the number, prefixes."""
    ucum = "http://unitsofmeasure.org"
    made = await named(
        api,
        exact={"valueQuantity": {"value": 5.4, "system": ucum, "code": "mg", "unit": "mg"}},
        near={"valueQuantity": {"value": 5.36, "unit": "mg"}},
        big={"valueQuantity": {"value": 100, "system": ucum, "code": "g"}},
        below={"valueQuantity": {"value": 3, "comparator": "<", "system": ucum, "code": "mg"}},
    )
    for query, expected in {
        "5.4": {"exact", "near"},
        "5.40": {"exact"},
        f"5.4|{ucum}|mg": {"exact"},
        "5.4||mg": {"exact", "near"},
        "gt5.4": {"big"},
        "ge5.4": {"exact", "big"},
        "lt5.4": {"near", "below"},
        "1e2": {"big"},
        "ap5": {"exact", "near"},
        "ne5.4": {"big", "below"},
    }.items():
        assert await names(api, made, f"value-quantity={query}") == expected, query


async def test_reference(api: Api) -> None:
    """3.1.1.4.12: id, Type/id, absolute; :identifier; :[type]."""
    base = f"{api.client.base_url}/fhir".replace("//fhir", "/fhir")
    other = {"reference": "https://elsewhere.example/fhir/Practitioner/p1"}
    made = await named(
        api,
        relative={"performer": [{"reference": "Practitioner/p1"}]},
        absolute={"performer": [{"reference": f"{base}/Practitioner/p1"}]},
        elsewhere={"performer": [other]},
        identified={"performer": [{"identifier": {"system": "urn:n", "value": "7"}}]},
    )
    for query, expected in {
        "performer=Practitioner/p1": {"relative", "absolute"},
        f"performer={base}/Practitioner/p1": {"relative", "absolute"},
        f"performer={other['reference']}": {"elsewhere"},
        "performer:Practitioner=p1": {"relative", "absolute"},
        "performer=p1": {"relative", "absolute"},
        "performer:identifier=urn:n|7": {"identified"},
        f"subject=Patient/{api.patient}": set(made.values()),
        f"patient={api.patient}": set(made.values()),
    }.items():
        assert await names(api, made, query) == expected, query


async def test_chains_and_has(api: Api) -> None:
    """3.1.1.4.13 and 14."""
    member = await api.made(api.observation(valueString="part"))
    made = await named(api, whole={"hasMember": [{"reference": f"Observation/{member['id']}"}]}, other={})
    for query, expected in {
        "has-member:Observation.value-string=part": {"whole"},
        "has-member:Observation.value-string=nothing": set(),
        "has-member:Observation.subject:Patient.name=moor": {"whole"},
        "subject:Patient.family=moor": {"whole", "other"},
        "patient.birthdate=1980-02-29": {"whole", "other"},
    }.items():
        assert await names(api, made, query) == expected, query
    whole = next(id for id, name in made.items() if name == "whole")
    assert await api.found(f"Observation?_has:Observation:has-member:_id={whole}") == [member["id"]]
    assert await api.found("Patient?_has:Observation:patient:value-string=part") == [api.patient]


async def test_ids_tags_and_dates_of_change(api: Api) -> None:
    """3.1.1.4.1: parameters of all resources."""
    tag = {
        "tag": [{"system": "urn:tag", "code": "t"}],
        "profile": ["http://example.org/p/1"],
        "source": "urn:s",
    }
    made = await named(api, tagged={"meta": tag}, plain={})
    ids = {name: id for id, name in made.items()}
    first = (await api.get(f"Observation/{ids['tagged']}")).json()["meta"]["lastUpdated"]
    for query, expected in {
        f"_id={ids['plain']}": {"plain"},
        f"_id={ids['plain']},{ids['tagged']}": {"plain", "tagged"},
        "_tag=urn:tag|t": {"tagged"},
        "_tag:not=t": {"plain"},
        "_profile=http://example.org/p/1": {"tagged"},
        "_profile:below=http://example.org/": {"tagged"},
        "_profile:above=http://example.org/p/1/x": {"tagged"},
        "_source=urn:s": {"tagged"},
        f"_lastUpdated={first}": {"tagged"},
        f"_lastUpdated=gt{first}": {"plain"},
        f"_lastUpdated=le{first}": {"tagged"},
    }.items():
        assert await names(api, made, query) == expected, query


async def test_patients_are_found_by_who_they_are(api: Api) -> None:
    """The parameters of Patient that R4 lists."""
    patient = (await api.get(f"Patient/{api.patient}")).json()
    patient |= {
        "name": [{"family": "O'Brien-Łukasz", "given": ["Zoë", "M."]}],
        "gender": "female",
        "telecom": [{"system": "email", "value": "z@example.org"}, {"system": "phone", "value": "555"}],
        "address": [{"city": "Malmö", "postalCode": "21120", "use": "home"}],
    }
    assert (await api.put(f"Patient/{api.patient}", patient)).status_code == 200
    for query in (
        "name=zoe", "family=o'brien-l", "given=m.", "gender=female", "email=z@example.org", "phone=555",
        "telecom=555", "address=malmo", "address-city=MALM", "address-postalcode=211", "address-use=home",
        "birthdate=1980-02-29", "birthdate=lt1990", "active=true", "deceased=false", f"_id={api.patient}",
    ):  # fmt: skip
        assert await api.found(f"Patient?{query}") == [api.patient], query
    for query in ("name=brien", "gender=male", "deceased=true", "email=555", "death-date=gt1900"):
        assert await api.found(f"Patient?{query}") == [], query


UNREADABLE = (
    "date=nonsense", "date=2020-13", "date=2020-02-30", "date=", "value-quantity=abc", "value-quantity=1|2",
    "code:below=1", "code:in=urn:x", "subject:below=x", "_text=()", "_filter=a b",
    "code:nonsense=1", "value-string:not=1", "subject:Nonsense=1", "code:missing=maybe",
    "_count=-1", "_count=x", "_total=some", "_summary=some", "_include=Patient:link", "_has:x=1",
    "subject.name.family.x.y=1", "_sort=nonsense,,x&_count=abc", "_page=abc", "date=gt%00", "performer.name=%00",
    "_lastUpdated=yesterday", "code=" + ",".join(["a"] * 200),
)  # fmt: skip


async def test_a_value_that_cannot_be_read_is_400(api: Api) -> None:
    """3.1.1.3: an error, also when handling is lenient; never a 500."""
    for query in UNREADABLE:
        answer = await api.get(f"Observation?{query}")
        assert answer.status_code == 400, (query, answer.text)
        assert answer.json()["issue"][0]["diagnostics"]


async def test_every_resource_has_an_id_and_a_date(api):
    """3.1.1.4.4: `:missing` on what is never missing; other modifiers of these are errors."""
    made = await api.made(api.observation())
    for name in ("_id", "_lastUpdated"):
        assert await api.found(f"Observation?{name}:missing=false") == [made["id"]]
        assert await api.found(f"Observation?{name}:missing=true") == []
        assert (await api.get(f"Observation?{name}:text=2020")).status_code == 400
    assert await api.found(f"Observation?_id:not={made['id']}") == []
