"""Clients that others wrote, as their documentation says: Python's fhirclient and fhirpy, JavaScript's fhir-kit-client.

SMART's JavaScript client goes through whole launches in tests/conformance/smart.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fhirclient import client as smart
from fhirclient.models import imagingstudy, observation, patient
from fhirpy import AsyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

from tests.conftest import RunningServer

from .conftest import Api
from .outside import MODULES, node
from .test_smart_imaging import ct

__all__ = ["ct"]

KIT = Path(__file__).parent / "js" / "kit.mjs"


async def test_fhirclient(server: RunningServer, api: Api, ct: Any) -> None:
    """Search, read, create with its models: every answer passes their strict checks."""

    def story() -> tuple[str, int, str]:
        app = smart.FHIRClient(settings={"app_id": "test", "api_base": f"{server.url}/fhir"})
        app.server.session.headers["Authorization"] = f"Bearer {api.token}"
        one = patient.Patient.read(api.patient, app.server)
        search = imagingstudy.ImagingStudy.where({"patient": api.patient})
        studies = list(search.perform_resources_iter(app.server))
        made = observation.Observation(api.observation())
        created = made.create(app.server)
        return app.human_name(one.name[0]), len(studies), created["id"]

    name, studies, made = await asyncio.to_thread(story)
    assert (name, studies) == ("Ada Moor", 1)
    assert (await api.get(f"Observation/{made}")).status_code == 200


async def test_fhirpy(server: RunningServer, api: Api, ct: Any) -> None:
    """Create, search, page, include, update, delete, and errors as it knows them."""
    client = AsyncFHIRClient(f"{server.url}/fhir", authorization=f"Bearer {api.token}")
    for number in range(3):
        made = client.resource("Observation", **api.observation(valueString=f"n{number}"))
        await made.save()
    found = await client.resources("Observation").search(patient=api.patient).limit(2).fetch_all()
    assert len(found) == 3
    assert await client.resources("Observation").search(patient=api.patient).count() == 3
    studies = client.resources("ImagingStudy").search(patient=api.patient).include("ImagingStudy", "endpoint")
    entries = (await studies.fetch_raw())["entry"]
    assert [each["resource"]["resourceType"] for each in entries] == ["ImagingStudy", "Endpoint"]
    found[0]["status"] = "amended"
    await found[0].save()
    assert (await client.get("Observation", found[0].id))["status"] == "amended"
    await found[0].delete()
    with pytest.raises((ResourceNotFound, OperationOutcome)):
        await client.get("Observation", "unknown")


async def test_fhir_kit_client(server: RunningServer, api: Api, ct: Any) -> None:
    running = await asyncio.create_subprocess_exec(
        node(), str(KIT), str(MODULES), f"{server.url}/fhir", api.token, api.patient,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, trouble = await running.communicate()
    assert running.returncode == 0, trouble.decode()[-2000:]
    assert json.loads(said) == {
        "version": "4.0.1",
        "name": "Moor",
        "studies": 1,
        "endpoint": "dicom-wado-rs",
        "pages": [2, 1],
        "updated": "amended",
        "patched": "final",
        "batch": 2,
        "missing": 404,
    }
