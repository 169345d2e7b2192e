"""Backend clients: what an organization's own writes, and what one that the operator trusts does."""

from __future__ import annotations

import httpx
import pytest

from server.storage.sql import Statement
from tests.factories import People

from .conftest import Api


@pytest.fixture
async def trusted(client: httpx.AsyncClient, people: People) -> Api:
    system = await people.backend("EHR", trusted=True)
    return Api(client, await people.system_token(system), "")


async def test_a_patient_under_a_chosen_id(client: httpx.AsyncClient, people: People) -> None:
    """Decision 1: system tokens may create by PUT; the resource is kept as it was sent."""
    own = Api(client, await people.system_token(await people.backend()), "")
    id = f"chosen-{own.token[-12:].replace('_', '-')}"
    sent = {"resourceType": "Patient", "id": id, "gender": "other", "name": [{"family": "Chosen"}]}
    made = await own.put(f"Patient/{id}", sent)
    assert made.status_code == 201, made.text
    assert {k: v for k, v in made.json().items() if k != "meta"} == sent
    again = await own.put(f"Patient/{id}", sent | {"gender": "female"})
    assert (again.status_code, again.json()["meta"]["versionId"]) == (200, "2")
    other = Api(client, await people.system_token(await people.backend()), "")
    assert (await other.get(f"Patient/{id}")).status_code == 404
    assert (await other.put(f"Patient/{id}", sent)).status_code in (405, 409)


async def test_a_trusted_client_reaches_every_patient(trusted: Api, api: Api) -> None:
    made = await api.made(api.observation())
    assert (await trusted.get(f"Observation/{made['id']}")).status_code == 200
    assert made["id"] in await trusted.found(f"Observation?patient={api.patient}")


async def test_what_belongs_to_nobody_is_kept_for_a_trusted_client(trusted: Api, api: Api) -> None:
    """Practitioners and organizations of an EHR, groups, devices; everybody may read the register by id."""
    for body in (
        {"resourceType": "Practitioner", "name": [{"family": "Elsewhere"}]},
        {"resourceType": "Organization", "name": "Elsewhere"},
        {"resourceType": "Group", "type": "person", "actual": True},
        {"resourceType": "Device", "status": "active"},
    ):
        made = await trusted.made(body)
        path = f"{body['resourceType']}/{made['id']}"
        assert (await trusted.get(path)).json() == made
        expected = 200 if body["resourceType"] in ("Practitioner", "Organization") else 404
        assert (await api.get(path)).status_code == expected
        assert (await api.put(path, made)).status_code == 405
    assert (await api.post("Practitioner", {"resourceType": "Practitioner"})).status_code == 405


async def test_a_trusted_client_may_bring_an_imaging_study(trusted: Api, api: Api) -> None:
    """Of images that lie elsewhere; a filtered scope of an app does not open it."""
    study = {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": {"reference": f"Patient/{api.patient}"},
    }
    made = await trusted.made(study)
    assert (await api.get(f"ImagingStudy/{made['id']}")).status_code == 200


async def test_an_organization_asserts_the_identifiers_of_its_patients(
    client: httpx.AsyncClient, people: People
) -> None:
    """Decision 6: in its own system they match its stores, and are one patient's only."""
    system = await people.backend()
    own = Api(client, await people.system_token(system), "")
    row = Statement("system", "SELECT identifier_system FROM organization WHERE id = :id")
    issuer = await people.services.db.fetch_val(row, {"id": system.organization_id})
    sent = {"resourceType": "Patient", "identifier": [{"system": issuer, "value": "MRN-1"}]}
    made = await own.made(sent)
    assert (await own.post("Patient", sent)).status_code == 409
    other = sent | {"identifier": [{"system": "urn:elsewhere", "value": "MRN-1"}]}
    second = await own.made(other)
    taken = await own.put(f"Patient/{second['id']}", sent | {"id": second["id"]})
    assert taken.status_code == 409
    freed = await own.put(f"Patient/{made['id']}", other | {"id": made["id"]})
    assert freed.status_code == 200
    assert (await own.put(f"Patient/{second['id']}", sent | {"id": second["id"]})).status_code == 200
