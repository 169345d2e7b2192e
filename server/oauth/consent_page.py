"""The consent page: which app, whose record, what it wants in sentences, for how long; and the decision.

SMART App Launch 2.2; RFC 9700, 4.16 (clickjacking). A plain form: a box per scope whose value is the scope, the
patient where there is a choice, and the buttons `decision` = allow | deny. What was unticked is not granted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from server.access.scopes import Scope, Scopes
from server.access.services import Services
from server.access.sign_in import SignedIn, address_of, require_csrf, require_same_origin
from server.audit.events import Event, Outcome
from server.audit.who import Who
from server.core import clock
from server.core.errors import Forbidden

from . import codes, forms, launch, narrowing, pages, profiles, sentences
from .authorization_request import Asked, answered, read, refused, to_authorize
from .codes import Code
from .launch import Launch
from .problem import InvalidRequest, OAuthError

# How long an app may stay connected when the person is away, as offered.
PERIODS = {"1": "1 day", "30": "30 days", "90": "90 days", "365": "1 year"}
USUAL_PERIOD = "90"


_BOXES = ("scope", "kind")


@dataclass(frozen=True)
class Ticked:
    """The boxes left ticked: scopes, and kinds of images (modalities)."""

    scopes: frozenset[str]
    kinds: frozenset[str]


async def show(request: Request, services: Services, asked: Asked, signed_in: SignedIn) -> Response:
    """The page."""
    started = await _launched(services, asked, signed_in)
    choices = await profiles.in_reach(request, services, signed_in) if needs_patient(asked.scopes) else []
    if started:
        choices = [each for each in choices if each.id == started.patient_id]
    only = choices[0] if len(choices) == 1 else None
    kinds: list[str] = []
    if only and narrowing.is_possible(asked.scopes):
        kinds = await profiles.kinds_of_images(request, services, signed_in, only.id)
    return pages.render(
        "consent.html",
        leads_to=[asked.redirect_uri],
        app=asked.client,
        person=signed_in,
        profiles=choices,
        nobody=needs_patient(asked.scopes) and not choices,
        lines=sentences.lines(asked.scopes, your=only.your if only else "the chosen person's"),
        kinds={kind: sentences.kind_of_images(kind) for kind in kinds} if len(kinds) > 1 else {},
        stays=_stays(asked.scopes),
        periods=PERIODS,
        usual_period=USUAL_PERIOD,
        query=asked.query,
    )


async def decide(request: Request) -> Response:
    """POST /oauth/authorize/decision"""
    services: Services = request.app.state.services
    require_same_origin(request, services.settings)
    pairs = await forms.read_pairs(request)
    fields = forms.once([pair for pair in pairs if pair[0] not in _BOXES])
    ticked = Ticked(*(frozenset(value for name, value in pairs if name == box) for box in _BOXES))
    signed_in = await services.gate.sign_in.of(request)
    if signed_in is None:
        raise Forbidden("You were signed out meanwhile. Start again from the app.")
    require_csrf(signed_in, fields.get("csrf"))
    asked = await read(services, forms.parse(fields.get("request", "")))
    if asked.problem:
        return refused(services, asked, asked.problem)
    if fields.get("decision") == "switch":
        response = to_authorize(asked)
        await services.gate.sign_in.end(request, response)
        return response
    if fields.get("decision") != "allow":
        return await _denied(services, asked, signed_in, request)
    return await _allowed(request, services, asked, signed_in, fields, ticked)


def needs_patient(scopes: Scopes) -> bool:
    """Whether a patient has to be chosen (SMART: patient/ scopes, launch/patient, an EHR launch)."""
    return "patient" in scopes.contexts or scopes.has("launch/patient") or scopes.has("launch")


def granted(asked: Scopes, ticked: frozenset[str]) -> Scopes:
    """What was asked for and ticked, in the words it was asked in; nothing a form could add."""
    return Scopes(tuple(item for item in asked.items if _text(item) in ticked))


async def _allowed(
    request: Request,
    services: Services,
    asked: Asked,
    signed_in: SignedIn,
    fields: Mapping[str, str],
    ticked: Ticked,
) -> Response:
    started = await _launched(services, asked, signed_in)
    scopes = granted(asked.scopes, ticked.scopes)
    if "kinds" in fields:
        scopes = narrowing.narrowed(scopes, frozenset(fields["kinds"].split(",")), ticked.kinds)
    patient_id = None
    if needs_patient(scopes):
        patient_id = await _chosen(request, services, signed_in, fields.get("patient"), started)
    if not scopes:
        return await _denied(services, asked, signed_in, request)
    period = timedelta(days=int(_one_of(PERIODS, fields.get("period"), USUAL_PERIOD)))
    code = Code(
        client_id=asked.client.id,
        account_id=signed_in.account_id,
        session_id=signed_in.session_id,
        patient_id=patient_id,
        redirect_uri=asked.redirect_uri,
        challenge=asked.parameters["code_challenge"],
        scope=scopes.text,
        nonce=asked.parameters.get("nonce", ""),
        launch=started.context if started else {},
        grant_until=clock.now() + period,
    )
    async with services.db.transaction():
        text = await codes.save(services, code)
        await services.audit.record(
            Event.APP_AUTHORIZED,
            who=_who(signed_in, asked, request),
            patient_id=patient_id,
            detail={"scope": scopes.text},
        )
    return answered(services, asked, {"code": text})


async def _denied(services: Services, asked: Asked, signed_in: SignedIn, request: Request) -> Response:
    await services.audit.record(
        Event.APP_REFUSED,
        who=_who(signed_in, asked, request),
        patient_id=None,
        outcome=Outcome.REFUSED,
    )
    return refused(services, asked, OAuthError("access_denied", "The person did not allow it."))


async def _chosen(
    request: Request, services: Services, signed_in: SignedIn, wanted: str | None, started: Launch | None
) -> str:
    """The patient in context: the one launched with, the one picked, or the only one there is."""
    if started:
        wanted = started.patient_id
    if wanted is None:
        choices = await profiles.in_reach(request, services, signed_in)
        if len(choices) != 1:
            raise InvalidRequest("Choose whose record this is about.")
        return choices[0].id
    if not await profiles.reaches(request, services, signed_in, wanted):
        raise InvalidRequest("Choose whose record this is about.")
    return wanted


async def _launched(services: Services, asked: Asked, signed_in: SignedIn) -> Launch | None:
    secret = asked.parameters.get("launch")
    if secret is None:
        return None
    started = await launch.find(services, secret, asked.client.id, signed_in.account_id)
    if started is None:
        raise InvalidRequest("This start of the app took too long, or was another person's. Start it again.")
    return started


def _stays(scopes: Scopes) -> str:
    """How long it lasts: while the person is away, while signed in, or an hour."""
    if scopes.has("offline_access"):
        return "away"
    return "session" if scopes.has("online_access") else "hour"


def _who(signed_in: SignedIn, asked: Asked, request: Request) -> Who:
    return Who(
        name=signed_in.name,
        role=signed_in.role,
        account_id=str(signed_in.account_id),
        practitioner_id=signed_in.practitioner_id,
        client_id=asked.client.id,
        client_name=asked.client.name,
        address=address_of(request),
    )


def _one_of(choices: Mapping[str, str], value: str | None, usual: str) -> str:
    return value if value is not None and value in choices else usual


def _text(item: Scope | str) -> str:
    return item if isinstance(item, str) else item.text
