"""EHR launch: an app started from Lightbox knows the patient, and the study, that were open.

SMART App Launch 2.2, "EHR launch flow": the app gets `iss` and an opaque `launch`, and hands the latter to authorize.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import orjson

from server.access.scopes import Scopes
from server.access.services import Services
from server.core import clock, ids
from server.core.errors import NotFound, Unprocessable

from . import clients
from .clients import QUERIES

LIFETIME = timedelta(minutes=10)


@dataclass(frozen=True)
class Launch:
    """What the app was started with."""

    patient_id: str
    context: dict[str, Any] = field(default_factory=dict)


def possible(asked: Scopes, *, launched: bool) -> Scopes:
    """Without the contexts that this request cannot get."""
    needs_launch = ("launch", "launch/encounter", "launch/imagingstudy")
    if launched:
        return asked
    return Scopes(tuple(item for item in asked.items if item not in needs_launch))


async def begin(
    services: Services,
    client_id: str,
    account_id: UUID,
    patient_id: str,
    *,
    imaging_study: str | None = None,
) -> str:
    """The address that starts the app with this patient (and study) open. Raises NotFound, Unprocessable.

    Whoever calls has proved that the person may see both.
    """
    client = await clients.find(services.db, client_id)
    if client is None:
        raise NotFound("There is no such app.")
    if not client.launch_url:
        raise Unprocessable("This app cannot be started from here.")
    context: dict[str, Any] = {}
    if imaging_study:
        context["fhirContext"] = [{"reference": f"ImagingStudy/{imaging_study}"}]
    secret = ids.new_secret()
    row = {
        "launch_hash": ids.digest(secret),
        "client": client.id,
        "account": account_id,
        "patient": patient_id,
        "context": orjson.dumps(context).decode(),
        "expires_at": clock.now() + LIFETIME,
    }
    await services.db.execute(QUERIES["add_launch"], row)
    joined = "&" if "?" in client.launch_url else "?"
    query = urlencode({"iss": services.settings.fhir_base, "launch": secret})
    return f"{client.launch_url}{joined}{query}"


async def find(services: Services, secret: str, client_id: str, account_id: UUID) -> Launch | None:
    """What this launch was made with, by the same person, for the same app."""
    row = await services.db.fetch_one(
        QUERIES["launch"],
        {
            "launch_hash": ids.digest(secret),
            "client": client_id,
            "account": account_id,
            "now": clock.now(),
        },
    )
    return Launch(row["patient_id"], orjson.loads(row["context"])) if row is not None else None
