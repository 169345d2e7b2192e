"""A patient of one's own in the running server, and clients that speak for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from dicomweb_client import DICOMwebClient

from tests.conformance.dicomweb.samples import Sample, instance, store
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer


@dataclass(frozen=True)
class Owner:
    """A patient with a token."""

    person: Person
    token: str
    root: str


@pytest.fixture
async def owner(people: People) -> Owner:
    """A new patient, and a token for everything of theirs."""
    person = await people.patient()
    return Owner(person, await people.token(person), f"/patients/{person.fhir_id}/dicomweb")


@pytest.fixture
async def web(server: RunningServer, owner: Owner) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the owner's token."""
    headers = {**bearer(owner.token), "Accept-Encoding": "identity"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
async def dicomweb(server: RunningServer, owner: Owner) -> DICOMwebClient:
    """The Python dicomweb-client with the owner's token; its calls block, so run them in a thread."""
    return DICOMwebClient(f"{server.url}/dicomweb", headers=bearer(owner.token))


@pytest.fixture
async def stored(web: httpx.AsyncClient) -> Sample:
    """One CT image that is held."""
    sample = instance()
    answer = await store(web, sample)
    assert answer.status_code == 200, answer.text
    return sample
