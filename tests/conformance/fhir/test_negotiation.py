"""FHIR R4, 3.1.0.1.8 to 11: media types, _format, _pretty."""

from __future__ import annotations

import httpx
import pytest

from .conftest import Api

FHIR_JSON = "application/fhir+json; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/fhir+json", FHIR_JSON),
        ("application/json", "application/json; charset=utf-8"),
        ("*/*", FHIR_JSON),
        ("application/fhir+json; fhirVersion=4.0", FHIR_JSON),
        ("application/*", FHIR_JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", FHIR_JSON),
        ("application/fhir+xml;q=0.4, application/json;q=0.5", "application/json; charset=utf-8"),
    ],
)
async def test_accept(api: Api, accept: str, expected: str) -> None:
    answer = await api.get(f"Patient/{api.patient}", accept=accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, expected)


@pytest.mark.parametrize("accept", ["text/turtle", "image/png", "application/fhir+json;q=0"])
async def test_what_cannot_be_made_is_406(api: Api, accept: str) -> None:
    answer = await api.get(f"Patient/{api.patient}", accept=accept)
    assert (answer.status_code, answer.json()["resourceType"]) == (406, "OperationOutcome")


async def test_another_version_of_fhir(api: Api) -> None:
    """3.1.0.1.10: fhirVersion; 406 where it is asked for, 415 where it is sent; an empty _format asks for nothing."""
    path, other = f"Patient/{api.patient}", "application/fhir+json; fhirVersion=5.0"
    assert (await api.get(path, accept=other)).status_code == 406
    assert (await api.get(path, accept=f"{other}, application/json;q=0.1")).status_code == 200
    assert (await api.get(f"{path}?_format=application/fhir%2Bxml;fhirVersion=5.0")).status_code == 406
    assert (await api.get(f"{path}?_format=")).status_code == 200
    assert (await api.post("Observation/$validate", api.observation(), content_type=other)).status_code == 415


async def test_format_comes_before_accept(api: Api) -> None:
    """3.1.0.1.11."""
    for format in (
        "json",
        "application/fhir+json",
        "application/fhir%2Bjson",
        "application/json",
        "text/json",
    ):
        answer = await api.get(f"Patient/{api.patient}?_format={format}", accept="application/fhir+xml")
        assert answer.status_code == 200, format
    assert (await api.get(f"Patient/{api.patient}?_format=ttl")).status_code == 406


@pytest.mark.parametrize(
    "kind", ["application/fhir+turtle", "text/plain", "", "application/fhir+json; charset=latin-1"]
)
async def test_a_body_of_another_type_is_415(api: Api, kind: str) -> None:
    answer = await api.post("Observation", b"<Observation/>", content_type=kind)
    assert answer.status_code == 415


@pytest.mark.parametrize("kind", ["application/json", "application/fhir+json;charset=UTF-8", "text/json"])
async def test_json_by_its_other_names(api: Api, kind: str) -> None:
    answer = await api.client.post(
        "/fhir/Observation",
        json=api.observation(),
        headers={"authorization": f"Bearer {api.token}", "content-type": kind},
    )
    assert answer.status_code == 201


async def test_pretty(api: Api) -> None:
    plain = await api.get(f"Patient/{api.patient}")
    pretty = await api.get(f"Patient/{api.patient}?_pretty=true")
    assert b"\n" not in plain.content
    assert b"\n  " in pretty.content
    assert plain.json() == pretty.json()


async def test_metadata_is_open(client: httpx.AsyncClient) -> None:
    """3.1.0.14: nobody needs a token for it; any origin may read it."""
    answer = await client.get("/fhir/metadata", headers={"origin": "https://app.example"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in ("*", "https://app.example")
