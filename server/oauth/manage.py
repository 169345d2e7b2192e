"""The person's page of connected apps: what each may do, since when, when last; and ending it.

SMART App Launch 2.2, "management_endpoint".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from server.access.scopes import Scopes
from server.access.services import Services
from server.access.sign_in import SignedIn, address_of, require_csrf, require_same_origin
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.storage.db import Record

from . import forms, pages, profiles, sentences
from .clients import QUERIES
from .profiles import Profile


@dataclass(frozen=True)
class App:
    """A connected app as the person sees it: all its grants together."""

    id: str
    name: str
    verified: bool
    about: tuple[str, ...]
    sentences: tuple[str, ...]
    since: datetime
    last: datetime | None
    until: datetime | None


async def show(request: Request) -> Response:
    """GET /oauth/manage"""
    services: Services = request.app.state.services
    signed_in = await services.gate.sign_in.of(request)
    if signed_in is None:
        return pages.to_sign_in("/oauth/manage")
    apps = await apps_of(request, services, signed_in)
    return pages.render(
        "manage.html", apps=apps, person=signed_in, ended=request.query_params.get("ended") == "1"
    )


async def end(request: Request) -> Response:
    """POST /oauth/manage: all that one app may do for this person ends now."""
    services: Services = request.app.state.services
    require_same_origin(request, services.settings)
    fields = await forms.read_form(request)
    signed_in = await services.gate.sign_in.of(request)
    if signed_in is None:
        return pages.to_sign_in("/oauth/manage")
    require_csrf(signed_in, fields.get("csrf"))
    await end_app(services, signed_in, fields.get("client_id", ""), address_of(request))
    return pages.redirect("/oauth/manage?ended=1")


async def end_app(services: Services, signed_in: SignedIn, client_id: str, address: str) -> None:
    """End every grant of this app for this person, with one event for each patient it was about."""
    async with services.db.transaction():
        ended = await services.db.fetch_all(
            QUERIES["end_grants_of_person"],
            {
                "account": signed_in.account_id,
                "client": client_id,
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


async def apps_of(request: Request, services: Services, signed_in: SignedIn) -> list[App]:
    """The apps with a living grant, the last connected first."""
    values = {"account": signed_in.account_id, "now": clock.now()}
    rows = await services.db.fetch_all(QUERIES["living_grants"], values)
    known = await profiles.in_reach(request, services, signed_in) if rows else []
    by_id = {each.id: each for each in known}
    by_app: dict[str, list[Record]] = {}
    for row in rows:
        by_app.setdefault(row["client_id"], []).append(row)
    return [_app(grants, by_id) for grants in by_app.values()]


def _app(grants: list[Record], known: dict[str, Profile]) -> App:
    first = grants[0]
    union = Scopes.of(item for grant in grants for item in Scopes.parse(grant["scope"]))
    patients = dict.fromkeys(grant["patient_id"] for grant in grants if grant["patient_id"])
    about = [known[each].name if each in known else "a record you cannot open any more" for each in patients]
    only = known.get(next(iter(patients))) if len(patients) == 1 else None
    untils = [grant["expires_at"] for grant in grants]
    return App(
        first["client_id"],
        first["name"],
        first["verified"],
        tuple(dict.fromkeys(about)),
        tuple(line.sentence for line in sentences.lines(union, your=only.your if only else "the")),
        min(grant["created_at"] for grant in grants),
        max((grant["used_at"] for grant in grants if grant["used_at"]), default=None),
        None if None in untils else max(untils),
    )
