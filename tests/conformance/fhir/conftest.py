"""A caller with a patient of its own, for each test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.factories import People, Person, bearer

Json = dict[str, Any]


@dataclass
class Api:
    """The FHIR API as one caller sees it."""

    client: httpx.AsyncClient
    token: str
    patient: str  # FHIR id of the caller's own patient

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self._ask("GET", path, None, headers)

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return await self._ask("POST", path, body, headers)

    async def put(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return await self._ask("PUT", path, body, headers)

    async def delete(self, path: str, **headers: str) -> httpx.Response:
        return await self._ask("DELETE", path, None, headers)

    async def patch(self, path: str, body: Any, **headers: str) -> httpx.Response:
        kind = {"content_type": "application/json-patch+json"}
        return await self._ask("PATCH", path, body, kind | headers)

    async def made(self, resource: Json) -> Json:
        """A resource as stored."""
        answer = await self.post(resource["resourceType"], resource)
        assert answer.status_code == 201, answer.text
        stored: Json = answer.json()
        return stored

    async def found(self, query: str) -> list[str]:
        """The ids that a search finds, in order."""
        answer = await self.get(query)
        assert answer.status_code == 200, answer.text
        entries = answer.json().get("entry", [])
        return [each["resource"]["id"] for each in entries if each["search"]["mode"] == "match"]

    def observation(self, **elements: Any) -> Json:
        """A valid Observation of the caller's patient."""
        return {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
            "subject": {"reference": f"Patient/{self.patient}"},
            **elements,
        }

    async def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        sent = bearer(self.token) | {name.replace("_", "-"): value for name, value in headers.items()}
        if body is None:
            return await self.client.request(method, f"/fhir/{path}", headers=sent)
        if isinstance(body, bytes | str):
            sent = {"content-type": "application/fhir+json"} | sent
            return await self.client.request(method, f"/fhir/{path}", headers=sent, content=body)
        return await self.client.request(method, f"/fhir/{path}", headers=sent, json=body)


@pytest.fixture
async def ada(people: People) -> Person:
    return await people.patient("Ada Moor")


@pytest.fixture
async def api(client: httpx.AsyncClient, people: People, ada: Person) -> Api:
    """Ada's app, with every scope for her record."""
    return Api(client, await people.token(ada), ada.fhir_id)


@pytest.fixture
async def stranger(client: httpx.AsyncClient, people: People) -> Api:
    """Somebody else's app, with every scope for that other record."""
    other = await people.patient("Eve Other")
    return Api(client, await people.token(other), other.fhir_id)
