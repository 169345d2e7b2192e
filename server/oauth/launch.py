"""EHR launch: an app started from Lightbox knows the patient, and the study, that were open.

SMART App Launch 2.2, "EHR launch flow": the app gets `iss` and an opaque `launch`, and hands the latter to authorize.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response

from server.access.scopes import Scopes
from server.access.services import Services
from server.access.sign_in import SignedIn, require_csrf, require_same_origin
from server.core import clock, ids
from server.core.errors import NotFound, Unprocessable
from server.core.texts import N_

from . import clients, forms, pages, profiles
from .clients import QUERIES
from .problem import InvalidRequest

if TYPE_CHECKING:
    from .authorization_request import Asked

LIFETIME = timedelta(minutes=10)
# Launch scopes, and what each tells the app in the token response.
TOLD = {"launch/encounter": "encounter", "launch/imagingstudy": "fhirContext"}
OVER = N_("This start of the app took too long, or was another person's. Start it again.")


@dataclass(frozen=True)
class Launch:
    """What the app was started with."""

    patient_id: str
    context: dict[str, Any] = field(default_factory=dict)


async def show(request: Request) -> Response:
    """GET /oauth/launch?patient=…&study=…&encounter=…: the apps that can be started with this record open."""
    services: Services = request.app.state.services
    fields = forms.once(forms.parse(request.url.query))
    signed_in = await services.gate.sign_in.of(request)
    if signed_in is None:
        return pages.to_sign_in(f"/oauth/launch?{urlencode(_named(fields))}")
    opened = await _what(request, services, signed_in, fields)
    apps = await services.db.fetch_all(QUERIES["apps_to_launch"])
    return pages.render(
        request,
        "launch.html",
        leads_to=[app["launch_url"] for app in apps],
        apps=apps,
        person=signed_in,
        profile=opened.profile,
        study=opened.study or "",
        encounter=opened.encounter or "",
        visits=await profiles.visits(request, services, signed_in, opened.profile.id),
    )


async def start(request: Request) -> Response:
    """POST /oauth/launch: start an app with this patient, and study, in context."""
    services: Services = request.app.state.services
    require_same_origin(request, services.settings)
    fields = await forms.read_form(request)
    signed_in = await services.gate.sign_in.of(request)
    if signed_in is None:
        return pages.to_sign_in(f"/oauth/launch?{urlencode(_named(fields))}")
    require_csrf(signed_in, fields.get("csrf"))
    opened = await _what(request, services, signed_in, fields)
    address = await begin(
        services,
        fields.get("client_id", ""),
        signed_in.account_id,
        opened.profile.id,
        imaging_study=opened.study,
        encounter=opened.encounter,
    )
    return Response(status_code=303, headers={"Location": address, "Cache-Control": "no-store"})


def _named(fields: dict[str, str]) -> dict[str, str]:
    return {name: fields[name] for name in ("patient", "study", "encounter") if name in fields}


@dataclass(frozen=True)
class Opened:
    """What is open at this moment, in this person's sight."""

    profile: profiles.Profile
    study: str | None
    encounter: str | None


async def _what(request: Request, services: Services, signed_in: SignedIn, fields: dict[str, str]) -> Opened:
    """The patient, the study and the visit of the request. Raises NotFound for what this person may not see."""
    choices = await profiles.in_reach(request, services, signed_in)
    profile = next((each for each in choices if each.id == fields.get("patient")), None)
    if profile is None:
        raise NotFound()
    study, encounter = fields.get("study"), fields.get("encounter")
    visitor = request, services, signed_in, profile.id
    if study and not await profiles.reaches_study(*visitor, study):
        raise NotFound()
    if encounter and not await profiles.reaches_visit(*visitor, encounter):
        raise NotFound()
    return Opened(profile, study, encounter)


def possible(asked: Scopes, *, launched: bool) -> Scopes:
    """Without the contexts that this request cannot get."""
    return asked if launched else asked.without("launch", "launch/encounter")


def context_of(study_id: str | None, encounter_id: str | None = None) -> dict[str, Any]:
    """The study and the visit as launch context (SMART App Launch 2.2, "fhirContext", "encounter")."""
    context: dict[str, Any] = {}
    if study_id:
        context["fhirContext"] = [{"reference": f"ImagingStudy/{study_id}"}]
    if encounter_id:
        context["encounter"] = encounter_id
    return context


async def of(services: Services, asked: Asked, signed_in: SignedIn) -> Launch | None:
    """What the app was started with, when it was. Raises InvalidRequest when that is over, or another's."""
    secret = asked.parameters.get("launch")
    if secret is None:
        return None
    started = await find(services, secret, asked.client.id, signed_in.account_id)
    if started is None:
        raise InvalidRequest(OVER)
    return started


async def begin(
    services: Services,
    client_id: str,
    account_id: UUID,
    patient_id: str,
    *,
    imaging_study: str | None = None,
    encounter: str | None = None,
) -> str:
    """The address that starts the app with this patient (and study) open. Raises NotFound, Unprocessable.

    Whoever calls has proved that the person may see both.
    """
    _, address = await made(
        services, client_id, account_id, patient_id, imaging_study=imaging_study, encounter=encounter
    )
    if not address:
        raise Unprocessable("This app cannot be started from here.")
    return address


async def made(
    services: Services,
    client_id: str,
    account_id: UUID,
    patient_id: str,
    *,
    imaging_study: str | None = None,
    encounter: str | None = None,
) -> tuple[str, str]:
    """The opaque `launch`, and the address that starts the app with it (none where it has no launch address).

    Raises NotFound. Whoever calls has proved that the person may see all of it.
    """
    client = await clients.find(services.db, client_id)
    if client is None:
        raise NotFound("There is no such app.")
    context = context_of(imaging_study, encounter)
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
    if not client.launch_url:
        return secret, ""
    joined = "&" if "?" in client.launch_url else "?"
    query = urlencode({"iss": services.settings.fhir_base, "launch": secret})
    return secret, f"{client.launch_url}{joined}{query}"


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
