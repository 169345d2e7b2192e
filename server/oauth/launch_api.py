"""Launch contexts made by an EHR that embeds us: it starts an app by itself, with what is open on its own screen.

SMART App Launch 2.2, "EHR launch flow". The EHR holds an access token of the person at its screen; what that token
may not read cannot be put into a context.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_READ, Action, Verb
from server.access.services import Services
from server.core.errors import Forbidden, InvalidInput, NotFound, TooLarge
from server.records import store

from . import launch, problem
from .clients import QUERIES
from .problem import InvalidRequest

_PATIENT_READ = Action("Patient", Verb.READ)
_VISIT_READ = Action("Encounter", Verb.READ)
_MOST_BYTES = 16 * 1024
_NAMES = ("client_id", "patient", "imaging_study", "encounter")


async def create(request: Request) -> Response:
    """POST /oauth/ehr-launch: `{"client_id", "patient", "imaging_study"?, "encounter"?}` -> 201 with the launch.

    The person who signs in to the app within ten minutes must be the one whose token this is. Raises NotAuthenticated,
    InsufficientScope, Forbidden (no person's token), NotFound for what the token does not reach.
    """
    services: Services = request.app.state.services
    reach = await services.gate.reach_for(request, _PATIENT_READ)
    actor = await services.gate.actor(request)
    if actor.account_id is None:
        raise Forbidden("A launch is a person's: use an access token of the person at the screen.")
    fields = await _fields(request)
    patient_id = fields.get("patient", "")
    if not await services.gate.reaches_patient(reach, patient_id):
        raise NotFound()
    await _require(request, services, fields, patient_id)
    return await _made(services, fields, actor.account_id, patient_id)


async def _require(request: Request, services: Services, fields: dict[str, str], patient_id: str) -> None:
    """Raise NotFound for a study or a visit that is not this patient's, or out of the token's reach."""
    if study := fields.get("imaging_study"):
        reach = await services.gate.reach_for(request, STUDY_READ, patient_id=patient_id)
        found = await services.db.fetch_val(QUERIES["study_in_reach"], {"id": study}, reach=reach.studies())
        if not found:
            raise NotFound()
    if visit := fields.get("encounter"):
        reach = await services.gate.reach_for(request, _VISIT_READ, patient_id=patient_id)
        await store.read(services.db, "Encounter", visit, reach=reach)


async def _made(services: Services, fields: dict[str, str], account_id: UUID, patient_id: str) -> Response:
    secret, address = await launch.made(
        services,
        fields.get("client_id", ""),
        account_id,
        patient_id,
        imaging_study=fields.get("imaging_study"),
        encounter=fields.get("encounter"),
    )
    answer = {
        "iss": services.settings.fhir_base,
        "launch": secret,
        "launch_url": address,
        "expires_in": int(launch.LIFETIME.total_seconds()),
    }
    return problem.json(answer, 201)


async def _fields(request: Request) -> dict[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise TooLarge("This is too large.")
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest("The body must be a JSON object.") from exc
    if not isinstance(found, dict):
        raise InvalidRequest("The body must be a JSON object.")
    named = {name: found[name] for name in _NAMES if found.get(name) is not None}
    if not all(
        isinstance(value, str) and value.isprintable() and len(value) <= 128 for value in named.values()
    ):
        raise InvalidInput("client_id, patient, imaging_study and encounter are texts.")
    return named
