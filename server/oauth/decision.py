"""What the person decided on the consent page: a code for the app, or a refusal.

SMART App Launch 2.2, "Obtain authorization code". What was unticked is not granted, and a form can add nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from starlette.requests import Request
from starlette.responses import Response

from server.access.scopes import Scope, Scopes
from server.access.services import Services
from server.access.sign_in import SignedIn, address_of, require_csrf, require_same_origin
from server.audit.events import Event, Outcome
from server.audit.who import Who
from server.core import clock
from server.core.texts import N_

from . import codes, forms, launch, narrowing, profiles, related
from .authorization_request import Asked, answered, read, refused, to_authorize
from .authorize import to_proof
from .codes import Code
from .consent_page import FIND, PERIODS, USUAL_PERIOD, needs_patient
from .launch import Launch
from .problem import InvalidRequest, OAuthError

_BOXES = ("scope", "kind", "only")
GONE = N_("This record is not open to you any more.")
WHOSE = N_("Choose whose record this is about.")
OTHERS = N_("The study is not one of the person you chose.")
NO_DAY = N_("A day is not one. Choose it again.")


@dataclass(frozen=True)
class Decision:
    """The form as it came back, and who sent it."""

    request: Request
    services: Services
    asked: Asked
    signed_in: SignedIn
    fields: Mapping[str, str]
    scopes: frozenset[str]  # ticked
    kinds: frozenset[str]  # of images, ticked
    only: frozenset[str]  # studies, ticked

    @property
    def who(self) -> Who:
        """The person, with the app, for the log."""
        return Who(
            name=self.signed_in.name,
            role=self.signed_in.role,
            account_id=str(self.signed_in.account_id),
            practitioner_id=self.signed_in.practitioner_id,
            client_id=self.asked.client.id,
            client_name=self.asked.client.name,
            address=address_of(self.request),
        )


async def decide(request: Request) -> Response:
    """POST /oauth/authorize/decision. Raises Forbidden for a form that another site, or another session, made."""
    services: Services = request.app.state.services
    require_same_origin(request, services.settings)
    pairs = await forms.read_pairs(request)
    fields = forms.once([pair for pair in pairs if pair[0] not in _BOXES])
    asked = await read(services, forms.parse(fields.get("request", "")))
    signed_in = await services.gate.sign_in.of(request)
    if signed_in is None:
        return to_authorize(asked)  # signed out meanwhile; it leads to the sign-in
    require_csrf(signed_in, fields.get("csrf"))
    ticked = (frozenset(value for name, value in pairs if name == box) for box in _BOXES)
    return await _decided(Decision(request, services, asked, signed_in, fields, *ticked))


async def _decided(decision: Decision) -> Response:
    services, asked = decision.services, decision.asked
    if asked.problem:
        return refused(services, asked, asked.problem)
    if asked.wants_proof(decision.signed_in):
        return await to_proof(services, asked)
    match decision.fields.get("decision"):
        case "allow":
            return await _allowed(decision)
        case "find":
            return to_authorize(asked, **{FIND: decision.fields.get("find", "")[:100]})
        case "switch":
            response = to_authorize(asked)
            await services.gate.sign_in.end(decision.request, response)
            return response
    return await _denied(decision)


def granted(asked: Scopes, ticked: frozenset[str]) -> Scopes:
    """What was asked for and ticked, in the words it was asked in; nothing a form could add."""
    return Scopes(tuple(item for item in asked.items if _text(item) in ticked))


async def _allowed(decision: Decision) -> Response:
    scopes, context = await _granted(decision)
    if not scopes:
        return await _denied(decision)
    services, asked, fields = decision.services, decision.asked, decision.fields
    period = fields.get("period", "")
    code = Code(
        client_id=asked.client.id,
        account_id=decision.signed_in.account_id,
        session_id=decision.signed_in.session_id,
        patient_id=context.patient_id if context else None,
        redirect_uri=asked.redirect_uri,
        challenge=asked.parameters["code_challenge"],
        scope=scopes.text,
        nonce=asked.parameters.get("nonce", ""),
        launch=context.context if context else {},
        grant_until=clock.now() + timedelta(days=int(period if period in PERIODS else USUAL_PERIOD)),
        auth_time=decision.signed_in.confirmed_at,
    )
    async with services.db.transaction():
        if code.patient_id and (scopes.has("fhirUser") or scopes.has("profile")):
            await related.ensure(services, code.account_id, code.patient_id, name=decision.signed_in.name)
        text = await codes.save(services, code)
        await services.audit.record(
            Event.APP_AUTHORIZED,
            who=decision.who,
            patient_id=code.patient_id,
            detail={"scope": scopes.text},
        )
    return answered(services, asked, {"code": text})


async def _denied(decision: Decision) -> Response:
    services = decision.services
    await services.audit.record(Event.APP_REFUSED, who=decision.who, patient_id=None, outcome=Outcome.REFUSED)
    problem = OAuthError("access_denied", "The person did not allow it.")
    return refused(services, decision.asked, problem)


async def _granted(decision: Decision) -> tuple[Scopes, Launch | None]:
    """The scopes, and the context they speak of. Raises InvalidRequest for one the person may not choose."""
    scopes = granted(decision.asked.scopes, decision.scopes)
    scopes = narrowing.narrowed(scopes, _images(decision))
    if not needs_patient(scopes):
        return scopes, None
    context = await _context(decision, scopes)
    return _agreed(decision.asked.scopes, scopes, context)


def _agreed(asked: Scopes, scopes: Scopes, context: Launch) -> tuple[Scopes, Launch]:
    """Context that was asked for by name and unticked is not told; a name without a context is not granted."""
    for word, key in launch.TOLD.items():
        if asked.has(word) and not scopes.has(word):
            context = Launch(context.patient_id, {k: v for k, v in context.context.items() if k != key})
        elif key not in context.context:
            scopes = scopes.without(word)
    return scopes, context


def _images(decision: Decision) -> narrowing.Choice:
    """What the person left of the images: kinds unticked, days named, studies ticked. Raises InvalidRequest."""
    fields, kinds = decision.fields, None
    if "kinds" in fields:
        offered = frozenset(fields["kinds"].split(","))
        kinds = decision.kinds & offered if not decision.kinds >= offered else None
    only = decision.only or None
    return narrowing.Choice(kinds, _day(fields.get("since")), _day(fields.get("until")), only)


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as exc:
        raise InvalidRequest(NO_DAY) from exc


async def _context(decision: Decision, scopes: Scopes) -> Launch:
    """What the app was launched with; else the patient picked, or the only one there is, and the study picked."""
    started = await launch.of(decision.services, decision.asked, decision.signed_in)
    if started:
        if not await _reaches(decision, started.patient_id):
            raise InvalidRequest(GONE)
        return started
    patient_id = await _patient(decision)
    study = decision.fields.get("study") if scopes.has("launch/imagingstudy") else None
    if study is None:
        return Launch(patient_id)
    visitor = decision.request, decision.services, decision.signed_in
    if not await profiles.reaches_study(*visitor, patient_id, study):
        raise InvalidRequest(OTHERS)
    return Launch(patient_id, launch.context_of(study))


async def _patient(decision: Decision) -> str:
    wanted = decision.fields.get("patient")
    if wanted is not None and await _reaches(decision, wanted):
        return wanted
    choices = await profiles.in_reach(decision.request, decision.services, decision.signed_in)
    if wanted is not None or len(choices) != 1:
        raise InvalidRequest(WHOSE)
    return choices[0].id


async def _reaches(decision: Decision, patient_id: str) -> bool:
    return await profiles.reaches(decision.request, decision.services, decision.signed_in, patient_id)


def _text(item: Scope | str) -> str:
    return item if isinstance(item, str) else item.text
