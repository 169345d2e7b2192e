"""FHIR R4, 3.1.0.14: the CapabilityStatement says what is true, for it is made from the registry that is used."""

from __future__ import annotations

import httpx
from starlette.routing import Route

from server.fhir.routes import routes
from server.records import validate
from server.records.registry import types

from .conftest import Api


async def test_it_is_valid_and_of_the_right_version(client: httpx.AsyncClient) -> None:
    statement = (await client.get("/fhir/metadata")).json()
    assert (statement["fhirVersion"], statement["kind"]) == ("4.0.1", "instance")
    assert await validate.find_issues(statement) == []


async def test_it_names_the_authorization_server(client: httpx.AsyncClient) -> None:
    """SMART App Launch 2.2, "Declaring support in the CapabilityStatement"."""
    statement = (await client.get("/fhir/metadata")).json()
    security = statement["rest"][0]["security"]
    base = statement["implementation"]["url"].removesuffix("/fhir")
    uris = {each["url"]: each["valueUri"] for each in security["extension"][0]["extension"]}
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    assert uris["authorize"] == f"{base}/oauth/authorize"
    assert uris["token"] == f"{base}/oauth/token"


async def test_every_search_parameter_it_names_is_understood(api: Api) -> None:
    """Strict handling refuses what is not known: none of these is."""
    values = {"date": "2020", "quantity": "1", "number": "1", "uri": "urn:x", "reference": "Practitioner/x"}
    values["composite"] = "x$2020"  # which is a number, a date, a text and an id
    statement = (await api.client.get("/fhir/metadata")).json()
    assert {each["type"] for each in statement["rest"][0]["resource"]} == set(types())
    for resource in statement["rest"][0]["resource"]:
        if resource["type"] in ("Practitioner", "PractitionerRole", "Organization"):
            continue  # found by id and identifier
        queries = []
        for param in resource["searchParam"]:
            value = values.get(param["type"], "_id eq x" if param["name"] == "_filter" else "x")
            if param["name"] in ("patient", "subject", "entity"):
                value = f"Patient/{api.patient}"
            queries.append(f"{param['name']}={value}")
        for start in range(0, len(queries), 12):
            query = f"{resource['type']}?{'&'.join(queries[start : start + 12])}"
            answer = await api.get(query, prefer="handling=strict")
            assert answer.status_code == 200, (query, answer.text)


async def test_every_include_it_names_is_understood(api: Api) -> None:
    statement = (await api.client.get("/fhir/metadata")).json()
    for resource in statement["rest"][0]["resource"]:
        if resource["type"] in ("Practitioner", "PractitionerRole", "Organization", "Patient"):
            continue
        names = [f"_include={each}" for each in resource.get("searchInclude", [])]
        names += [f"_revinclude={each}" for each in resource.get("searchRevInclude", [])]
        for start in range(0, len(names), 10):
            query = f"{resource['type']}?{'&'.join(names[start : start + 10])}"
            assert (await api.get(query, prefer="handling=strict")).status_code == 200, query


async def test_every_operation_it_names_has_an_address(api: Api) -> None:
    """Not one of them is just an id that nothing has."""
    rest = (await api.client.get("/fhir/metadata")).json()["rest"][0]
    places = [("", each["name"]) for each in rest["operation"]]
    places += [(f"{one['type']}/", each["name"]) for one in rest["resource"] for each in one["operation"]]
    assert {name for _, name in places} >= {
        "validate",
        "everything",
        "match",
        "export",
        "docref",
        "status",
        "events",
    }
    addresses = {route.path for route in routes if isinstance(route, Route)}
    for place, name in places:
        ways = (f"/{place}${name}", f"/{place}{{id}}/${name}", f"/{{type}}/${name}")
        assert addresses.intersection(ways), (place, name)
