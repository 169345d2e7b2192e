"""One visit to a page: who looks, what they sent, and the way a page is made for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Action, Right
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.access.sign_in import CSRF_HEADER, SignedIn, address_of, require_csrf, require_same_origin
from server.core.errors import NotAuthenticated, NotFound

from .forms import MOST_BYTES, Form, read_form
from .pages import render, to_sign_in, wants_json

MOST_NAME = 128  # characters of a UID, an id or a one-time secret


class Who(Enum):
    """Whom a page is for."""

    ANYONE = "anyone"
    SIGNED_IN = "signed in"
    PATIENT = "a patient"
    DOCTOR = "a doctor"
    OPERATOR = "an operator"


@dataclass(frozen=True)
class Visit:
    """A request to the portal after its first checks."""

    request: Request
    services: Services
    me: SignedIn | None = None
    form: Form = field(default_factory=Form)

    @property
    def signed_in(self) -> SignedIn:
        """Who looks; raises NotAuthenticated for a stranger."""
        if self.me is None:
            raise NotAuthenticated()
        return self.me

    @property
    def actor(self) -> Actor:
        return self.signed_in.actor(address_of(self.request))

    async def reach(
        self, action: Action, *, patient_id: str | None = None, right: Right | None = None
    ) -> Reach:
        """What this visitor may touch with `action`: the gate's answer."""
        return await self.services.gate.reach_for(self.request, action, patient_id=patient_id, right=right)

    @property
    def holder(self) -> Actor:
        """The visitor as whoever holds their records: what is asked for an account is asked for all of it."""
        return self.signed_in.holder(address_of(self.request))

    async def own_reach(self, action: Action) -> Reach:
        """What this visitor may do with the records they hold, a doctor too, whatever hat they wear."""
        await self.services.gate.confirm(self.request)
        return await self.services.gate.reach_for_actor(self.holder, action)

    def place(self, name: str) -> str:
        """A part of the path; raises NotFound for what can be no name of anything here."""
        value = str(self.request.path_params[name])
        if not value.isprintable() or len(value) > MOST_NAME:
            raise NotFound()
        return value

    def query(self, name: str) -> str:
        """A parameter of the query; nothing where it holds what no link of ours does."""
        value = self.request.query_params.get(name, "")
        return value if value.isprintable() else ""

    def number(self, name: str, otherwise: int = 1, most: int = 1_000_000) -> int:
        """A number of the query, kept within 1 and `most`."""
        try:
            return min(max(1, int(self.query(name))), most)
        except ValueError:
            return otherwise


Handler = Callable[[Visit], Awaitable[Response]]


def page(handler: Handler, who: Who, *, files: int = 0) -> Callable[[Request], Awaitable[Response]]:
    """A handler as an endpoint: the visitor is known and the page is for them, a form is checked and read.

    A POST must come from this site, and with the token of the session where there is one: no handler can forget it.
    What our own scripts send as JSON carries the token in a header.
    """

    async def endpoint(request: Request) -> Response:
        services: Services = request.app.state.services
        me = request.state.me = await services.gate.sign_in.of(request)
        if (elsewhere := _admit(request, me, who)) is not None:
            return elsewhere
        form = Form()
        if request.method == "POST" and wants_json(request):
            require_same_origin(request, services.settings)
            if me is not None:
                require_csrf(me, request.headers.get(CSRF_HEADER))
        elif request.method == "POST":
            form = await _checked_form(request, services, me, files)
        return await handler(Visit(request, services, me, form))

    endpoint.__name__ = handler.__name__
    endpoint.__doc__ = handler.__doc__
    return endpoint


def _admit(request: Request, me: SignedIn | None, who: Who) -> Response | None:
    """None when the page is for this visitor; a way to sign-in for strangers. Raises NotFound for the others."""
    if who is Who.ANYONE:
        return None
    if me is None:
        if wants_json(request):
            raise NotAuthenticated()
        return to_sign_in(request)
    wanted = {Who.PATIENT: "patient", Who.DOCTOR: "doctor", Who.OPERATOR: "operator"}.get(who, me.role)
    if me.role == wanted:
        return None
    if not (me.records and me.account_role == "doctor" and wanted in ("patient", "doctor")):
        raise NotFound()
    if request.method != "GET" or wants_json(request):
        raise NotFound()
    return _other_hat(request, wanted)


def _other_hat(request: Request, wanted: str) -> Response:
    """A doctor with a record of their own came to a page of the other hat: one press, and they are there."""
    onward = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return render(request, "other_hat.html", wanted=wanted, leads_to=onward)


async def _checked_form(request: Request, services: Services, me: SignedIn | None, files: int) -> Form:
    require_same_origin(request, services.settings)
    most = MOST_BYTES + (services.settings.max_resource_bytes if files else 0)
    form = await read_form(request, files=files, most=most)
    if me is not None:
        require_csrf(me, form["csrf"])
    return form
