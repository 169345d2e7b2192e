"""The consent page: which app, who stands behind it, whose record, what it wants in sentences, and for how long.

SMART App Launch 2.2; RFC 9700, 4.16 (clickjacking). A plain form: a box per scope whose value is the scope, the
patient where there is a choice, what is left of the images, and the buttons `decision` = allow | deny. `decision.py`
reads what comes back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from server.access.scopes import Scopes
from server.access.services import Services
from server.access.sign_in import SignedIn
from server.core.texts import N_

from . import launch, logos, narrowing, pages, profiles, sentences
from .authorization_request import Asked
from .profiles import Profile, Study

# How long an app may stay connected when the person is away, as offered.
PERIODS = {"1": N_("1 day"), "30": N_("30 days"), "90": N_("90 days"), "365": N_("1 year")}
USUAL_PERIOD = "90"
MOST_SHOWN = 12  # profiles to choose from at once; more are searched
MOST_STUDIES = 60
FIND = "_find"  # words to look for among the profiles; no parameter of a client begins so


@dataclass(frozen=True)
class Images:
    """What the person may leave of the images."""

    kinds: dict[str, str] = field(default_factory=dict)  # with their names, where there are several
    studies: list[Study] = field(default_factory=list)


async def show(request: Request, services: Services, asked: Asked, signed_in: SignedIn) -> Response:
    """The page."""
    language = pages.language_of(request, signed_in, asked.ui_locales)
    started = await launch.of(services, asked, signed_in)
    every = await profiles.in_reach(request, services, signed_in) if needs_patient(asked.scopes) else []
    if started:
        every = [each for each in every if each.id == started.patient_id]
    only = every[0] if len(every) == 1 else None
    words = request.query_params.get(FIND, "")[:100]
    choices = profiles.found(every, words) if words else every
    say = pages.say(language)
    return pages.render(
        request,
        "consent.html",
        leads_to=[asked.redirect_uri],
        language=language,
        app=asked.client,
        logo=logos.as_data(asked.client),
        answers_at=asked.redirect_uri,
        person=signed_in,
        profiles=choices[:MOST_SHOWN],
        hidden=max(0, len(choices) - MOST_SHOWN),
        searchable=len(every) > MOST_SHOWN,
        find=words,
        nobody=needs_patient(asked.scopes) and not every,
        lines=sentences.lines(asked.scopes, your=_your(only, language), language=language),
        images=await _images(request, services, signed_in, asked.scopes, only, language),
        # A study to start with is one question, narrowing the images another.
        studies=await _studies(request, services, signed_in, asked.scopes) if not started else [],
        stays=_stays(asked.scopes),
        periods={days: say(text) for days, text in PERIODS.items()},
        usual_period=USUAL_PERIOD,
        query=asked.query,
    )


def needs_patient(scopes: Scopes) -> bool:
    """Whether a patient has to be chosen (SMART: patient/ scopes, launch/patient, an EHR launch)."""
    asks = ("launch", "launch/patient", "launch/encounter", "launch/imagingstudy")
    return "patient" in scopes.contexts or any(scopes.has(word) for word in asks)


def _your(only: Profile | None, language: str) -> str:
    return only.your(language) if only else sentences.whose(None, own=False, language=language)


async def _images(
    request: Request,
    services: Services,
    signed_in: SignedIn,
    scopes: Scopes,
    only: Profile | None,
    language: str,
) -> Images | None:
    """What there is to narrow; None where no image is within the scopes."""
    if not narrowing.is_possible(scopes):
        return None
    visitor, patient_id = (request, services, signed_in), only.id if only else None
    kinds = await profiles.kinds_of_images(*visitor, patient_id)
    studies = await profiles.studies(*visitor, patient_id)
    return Images(
        {kind: sentences.kind_of_images(kind, language) for kind in kinds} if len(kinds) > 1 else {},
        studies[:MOST_STUDIES] if len(studies) > 1 else [],
    )


async def _studies(request: Request, services: Services, signed_in: SignedIn, scopes: Scopes) -> list[Study]:
    if not scopes.has("launch/imagingstudy"):
        return []
    return await profiles.studies(request, services, signed_in)


def _stays(scopes: Scopes) -> str:
    """How long it lasts: while the person is away, while signed in, or an hour."""
    if scopes.has("offline_access"):
        return "away"
    return "session" if scopes.has("online_access") else "hour"
