"""For developers of apps: what there is to ask, and a form that registers an app."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from server.access.services import Services
from server.access.sign_in import require_same_origin
from server.core import ids
from server.core.errors import Unprocessable

from . import clients, forms, pages, register

_TYPES = {"public": "public", "confidential": "confidential-symmetric"}
SCOPES = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/ImagingStudy.rs"


async def show(request: Request) -> Response:
    """GET /oauth/developers"""
    return _page(request)


async def add(request: Request) -> Response:
    """POST /oauth/developers: register an app; its secret is shown this once."""
    services: Services = request.app.state.services
    require_same_origin(request, services.settings)
    fields = await forms.read_form(request)
    await register.require_not_too_many(services)
    token = ids.new_secret()
    try:
        added = await register.keep(
            services,
            name=fields.get("name", ""),
            type=_TYPES.get(fields.get("type", ""), "public"),
            redirect_uris=fields.get("redirect_uris", "").split(),
            scope=fields.get("scope", ""),
            contact=fields.get("contact", "")[:300],
            launch_url=fields.get("launch_uri"),
            **{name: fields.get(name) for name in ("client_uri", "policy_uri", "logo_uri")},
            registration_token=token,
        )
    except Unprocessable as problem:
        say = pages.say(pages.language_of(request))
        return _page(request, 422, typed=fields, problem=say(str(problem)))
    return _page(request, 201, added=added, token=token)


def _page(
    request: Request,
    status: int = 200,
    *,
    typed: dict[str, str] | None = None,
    problem: str = "",
    added: clients.Added | None = None,
    token: str = "",
) -> Response:
    settings = request.app.state.services.settings
    return pages.render(
        request,
        "developers.html",
        status,
        base=settings.base_url,
        demo=settings.demo,
        scopes=SCOPES,
        typed=typed or {},
        problem=problem,
        added=added,
        token=token,
    )
