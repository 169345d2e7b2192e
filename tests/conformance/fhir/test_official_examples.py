"""Round trip of the official examples: created, read, deep-equal less id and meta.

The examples are R4B's, from the data of PyPI's fhirstarter; what R4 itself says otherwise is named with its reason.
FHIR R4, 3.1.0.8 (create) and 3.1.0.1 (read): what is stored is what was sent.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.records import validate
from server.records.document import dump, parse
from server.records.registry import types
from tests.factories import People

from .conftest import Api

Json = dict[str, Any]
EXAMPLES = Path(__file__).parents[2] / "assets" / "fhir-examples" / "examples.zip"
SERVER_MADE = {"AuditEvent", "Endpoint"}  # nobody writes them: only checked
NOT_KEPT = {
    "Bundle",
    "CapabilityStatement",
    "OperationOutcome",
    "Parameters",
}  # what the server says, and takes in

# Why an example is refused: R4B allows what R4 does not, or it asks for what this server cannot promise.
REFUSED = {
    "Consent/consent-example-basic": "an active Consent that denies: more than shares can enforce (decision 5)",
    "Subscription/example": "criteria is a search; the backport's is the address of a topic",
}


def examples(*names: str) -> Iterator[tuple[str, Json]]:
    """Every example of these types, its numbers as they are written."""
    with zipfile.ZipFile(EXAMPLES) as archive:
        for name in names:
            if f"{name.lower()}.json" not in archive.namelist():
                continue
            for id, one in parse(archive.read(f"{name.lower()}.json")).items():
                if (
                    one.get("value", {}).get("resourceType") == name
                ):  # some are Bundles around it, some are empty
                    yield f"{name}/{id}", one["value"]


def without_id_and_meta(resource: Json) -> str:
    """What must come back, as text: 1.10 is not 1.1."""
    rest = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    return json.dumps(parse(dump(rest)), sort_keys=True, default=str)


@pytest.fixture
async def system(client: httpx.AsyncClient, people: People) -> Api:
    """A trusted system, that writes for every patient."""
    trusted = await people.backend(trusted=True)
    return Api(client, await people.system_token(trusted), "")


async def known(api: Api, resource: Json) -> None:
    """The patients that the example names are there."""
    found = set()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            reference = value.get("reference")
            if isinstance(reference, str) and reference.startswith("Patient/"):
                found.add(reference.split("/")[1])
            for each in value.values():
                look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)

    look(resource)
    for id in found:
        if (await api.get(f"Patient/{id}")).status_code == 404:
            answer = await api.put(f"Patient/{id}", {"resourceType": "Patient", "id": id, "active": True})
            assert answer.status_code == 201, answer.text


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples were not fetched (scripts/test does)")
@pytest.mark.parametrize("type", sorted(set(types()) - SERVER_MADE))
async def test_round_trip(system: Api, type: str) -> None:
    for name, example in examples(type):
        await known(system, example)
        answer = await system.post(type, dump(example))
        if name in REFUSED:
            assert answer.status_code == 422, name
            continue
        assert answer.status_code == 201, (name, answer.text)
        id = answer.headers["location"].split("/")[-3]
        read = await system.get(f"{type}/{id}", accept="application/fhir+json")
        assert without_id_and_meta(parse(read.content)) == without_id_and_meta(example), name


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples were not fetched (scripts/test does)")
async def test_what_the_server_makes_or_says_is_understood() -> None:
    for name, example in examples(*sorted(SERVER_MADE | NOT_KEPT)):
        if name not in REFUSED:
            assert await validate.find_issues(example) == [], name
