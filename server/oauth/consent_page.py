"""The consent page: which app, whose record, what it wants in sentences, and for how long.

SMART App Launch 2.2; RFC 9700, 4.16 (clickjacking). A plain form: a box per scope whose value is the scope, the
patient where there is a choice, and the buttons `decision` = allow | deny. `decision.py` reads what comes back.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from server.access.scopes import Scopes
from server.access.services import Services
from server.access.sign_in import SignedIn

from . import launch, narrowing, pages, profiles, sentences
from .authorization_request import Asked
from .profiles import Profile

# How long an app may stay connected when the person is away, as offered.
PERIODS = {"1": "1 day", "30": "30 days", "90": "90 days", "365": "1 year"}
USUAL_PERIOD = "90"


async def show(request: Request, services: Services, asked: Asked, signed_in: SignedIn) -> Response:
    """The page."""
    scopes = asked.scopes
    started = await launch.of(services, asked, signed_in)
    choices = await profiles.in_reach(request, services, signed_in) if needs_patient(scopes) else []
    if started:
        choices = [each for each in choices if each.id == started.patient_id]
    only = choices[0] if len(choices) == 1 else None
    studies = []
    if scopes.has("launch/imagingstudy") and not started:
        studies = await profiles.studies(request, services, signed_in)
    return pages.render(
        "consent.html",
        leads_to=[asked.redirect_uri],
        app=asked.client,
        person=signed_in,
        profiles=choices,
        nobody=needs_patient(scopes) and not choices,
        lines=sentences.lines(scopes, your=only.your if only else "the chosen person's"),
        kinds=await _kinds(request, services, signed_in, scopes, only),
        studies=studies,
        stays=_stays(scopes),
        periods=PERIODS,
        usual_period=USUAL_PERIOD,
        query=asked.query,
    )


def needs_patient(scopes: Scopes) -> bool:
    """Whether a patient has to be chosen (SMART: patient/ scopes, launch/patient, an EHR launch)."""
    asks = ("launch", "launch/patient", "launch/imagingstudy")
    return "patient" in scopes.contexts or any(scopes.has(word) for word in asks)


async def _kinds(
    request: Request, services: Services, signed_in: SignedIn, scopes: Scopes, only: Profile | None
) -> dict[str, str]:
    """The kinds of images to choose among, with their names, where there are several."""
    if only is None or not narrowing.is_possible(scopes):
        return {}
    kinds = await profiles.kinds_of_images(request, services, signed_in, only.id)
    return {kind: sentences.kind_of_images(kind) for kind in kinds} if len(kinds) > 1 else {}


def _stays(scopes: Scopes) -> str:
    """How long it lasts: while the person is away, while signed in, or an hour."""
    if scopes.has("offline_access"):
        return "away"
    return "session" if scopes.has("online_access") else "hour"
