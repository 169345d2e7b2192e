"""The person's page of connected apps: what each may do, since when, when last; and ending it.

SMART App Launch 2.2, "management_endpoint".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from server.access.scopes import Scopes
from server.access.services import Services
from server.access.sign_in import SignedIn, address_of, require_csrf, require_same_origin
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.core.texts import N_
from server.storage.db import Record

from . import forms, logos, pages, profiles, sentences
from .clients import QUERIES
from .problem import InvalidRequest
from .profiles import Profile

UNKNOWN = N_("a record you cannot open any more")
STALE = N_("This page has gone stale. Go back, reload it, and try again.")


@dataclass(frozen=True)
class Family:
    """What one press of Allow gave: a grant, and every token made of it."""

    id: UUID
    about: str  # whose record; empty where it is about none in particular
    sentences: tuple[str, ...]
    since: datetime
    last: datetime | None
    until: datetime | None  # None: with the session
    online: bool


@dataclass(frozen=True)
class App:
    """A connected app as the person sees it, with its families, the newest first."""

    id: str
    name: str
    verified: bool
    logo: str
    families: tuple[Family, ...]


async def show(request: Request) -> Response:
    """GET /oauth/manage"""
    services: Services = request.app.state.services
    signed_in = await services.gate.sign_in.of(request)
    if signed_in is None:
        return pages.to_sign_in("/oauth/manage")
    apps = await apps_of(request, services, signed_in, pages.language_of(request, signed_in))
    ended = request.query_params.get("ended") == "1"
    return pages.render(request, "manage.html", apps=apps, person=signed_in, ended=ended)


async def end(request: Request) -> Response:
    """POST /oauth/manage: all that one app may do for this person, or one family of its tokens, ends now."""
    services: Services = request.app.state.services
    require_same_origin(request, services.settings)
    fields = await forms.read_form(request)
    signed_in = await services.gate.sign_in.of(request)
    if signed_in is None:
        return pages.to_sign_in("/oauth/manage")
    require_csrf(signed_in, fields.get("csrf"))
    grant = _grant(fields.get("grant"))
    await end_app(services, signed_in, fields.get("client_id", ""), address_of(request), grant=grant)
    return pages.redirect("/oauth/manage?ended=1")


def _grant(text: str | None) -> UUID | None:
    """The family that is named; raises InvalidRequest for what can be none."""
    try:
        return UUID(text) if text else None
    except ValueError as exc:
        raise InvalidRequest(STALE) from exc


async def end_app(
    services: Services, signed_in: SignedIn, client_id: str, address: str, *, grant: UUID | None = None
) -> None:
    """End every grant of this app for this person, or one of them; an event for each patient it was about."""
    async with services.db.transaction():
        ended = await services.db.fetch_all(
            QUERIES["end_grants_of_person"],
            {
                "account": signed_in.account_id,
                "client": client_id,
                "grant": grant,
                "now": clock.now(),
                "why": "the person ended it",
            },
        )
        who = Who(
            name=signed_in.name,
            role=signed_in.role,
            account_id=str(signed_in.account_id),
            client_id=client_id,
            address=address,
        )
        for patient_id in sorted({row["patient_id"] or "" for row in ended}):
            await services.audit.record(Event.APP_REVOKED, who=who, patient_id=patient_id or None)


async def apps_of(request: Request, services: Services, signed_in: SignedIn, language: str) -> list[App]:
    """The apps with a living grant, the last connected first."""
    values = {"account": signed_in.account_id, "now": clock.now()}
    rows = await services.db.fetch_all(QUERIES["living_grants"], values)
    known = await profiles.in_reach(request, services, signed_in) if rows else []
    by_id = {each.id: each for each in known}
    by_app: dict[str, list[Record]] = {}
    for row in rows:
        by_app.setdefault(row["client_id"], []).append(row)
    return [_app(grants, by_id, language) for grants in by_app.values()]


def _app(grants: list[Record], known: dict[str, Profile], language: str) -> App:
    first = grants[0]
    families = tuple(_family(grant, known, language) for grant in grants)
    return App(first["client_id"], first["name"], first["verified"], logos.as_source(first["logo"]), families)


def _family(grant: Record, known: dict[str, Profile], language: str) -> Family:
    say, profile = pages.say(language), known.get(grant["patient_id"] or "")
    about = say(profile.name if profile else UNKNOWN) if grant["patient_id"] else ""
    your = profile.your(language) if profile else sentences.whose(None, own=False, language=language)
    lines = sentences.lines(Scopes.parse(grant["scope"]), your=your, language=language)
    return Family(
        grant["id"],
        about,
        tuple(dict.fromkeys(line.sentence for line in lines)),
        grant["created_at"],
        grant["used_at"],
        grant["expires_at"],
        grant["online"],
    )
