"""Step-up: before a grave act (share, export, delete, security) the visitor shows again that it is them.

A page asks for it before anything else,

    @step_up.required
    async def remove_app(visit: Visit) -> Response:

or later, when it knows that it is going to act:

    if (asking := await step_up.require_recent(visit)) is not None:
        return asking

Nothing is asked within a quarter of an hour after signing in or after the last time. What was typed stays: the
page that asks holds the whole form again and sends it to where it was going, with the password beside it.
"""

from __future__ import annotations

from functools import wraps

from starlette.responses import JSONResponse, Response

from server.accounts import passkeys, people, second_factor, sessions
from server.accounts.passkeys import Purpose
from server.core import clock
from server.core.errors import NotAuthenticated, TooManyRequests, UnsupportedMediaType
from server.core.texts import N_

from .forms import Form, local_path, read_json
from .pages import HEADERS, render, see_other, wants_json
from .visit import Handler, Visit

FIELD = "confirm_password"
CONFIRM_PATH = "/confirm"
NOT_KEPT = ("csrf", FIELD, "password", "current")  # never written back into a page
NEEDED = N_("Show that it is you, then try again.")


async def require_recent(visit: Visit) -> Response | None:
    """None when the visitor showed lately who they are; else the answer to give instead of acting.

    A form that asks carries its own fields again, so the act goes on with the next press. Files cannot be kept:
    a form with files asks before it takes them (call this in its GET).
    """
    if is_recent(visit):
        return None
    if wants_json(visit.request):
        return JSONResponse({"error": NEEDED, "confirm": CONFIRM_PATH}, 403, headers=HEADERS)
    form = Form()
    typed = visit.form[FIELD] if visit.request.method == "POST" else ""
    if typed and await _confirmed(visit, typed, form):
        return None
    return await _page(visit, form)


def required(handler: Handler) -> Handler:
    """The page for who showed lately who they are; the others are asked first."""

    @wraps(handler)
    async def asked(visit: Visit) -> Response:
        asking = await require_recent(visit)
        return asking if asking is not None else await handler(visit)

    return asked


def is_recent(visit: Visit) -> bool:
    """Was the password typed, or a passkey used, a moment ago?"""
    return clock.now() - visit.signed_in.confirmed_at < sessions.CONFIRMED_FOR


async def show(visit: Visit) -> Response:
    """GET /confirm?next=…: ask, and go on there."""
    onward = local_path(visit.query("next"))
    return see_other(onward) if is_recent(visit) else await _page(visit, Form(), onward)


async def submit(visit: Visit) -> Response:
    """POST /confirm."""
    form, onward = Form(), local_path(visit.form["next"])
    if is_recent(visit):  # by a passkey, a moment ago
        return see_other(onward)
    if await _confirmed(visit, visit.form[FIELD], form):
        return see_other(onward)
    return await _page(visit, form, onward)


async def passkey_options(visit: Visit) -> Response:
    """What the browser asks one of the visitor's own passkeys."""
    _ours(visit)
    text = await passkeys.begin(visit.services, Purpose.CONFIRM, visit.signed_in.account_id)
    return Response(text, media_type="application/json", headers=HEADERS)


async def passkey_answer(visit: Visit) -> Response:
    """The passkey's answer; the form it stands beside goes on then."""
    _ours(visit)
    me, body = visit.signed_in, await read_json(visit.request)
    found = body.get("credential")
    credential = found if isinstance(found, dict) else {}
    await passkeys.use(visit.services, Purpose.CONFIRM, credential, me.account_id)
    await sessions.confirm(visit.services.db, me.session_id)
    return JSONResponse({"go": ""}, headers=HEADERS)


def _ours(visit: Visit) -> None:
    """Only our own script asks these, in JSON and with the token (checked by `page`)."""
    if not wants_json(visit.request):
        raise UnsupportedMediaType("The question is asked in JSON.")


async def _confirmed(visit: Visit, password: str, form: Form) -> bool:
    me, db = visit.signed_in, visit.services.db
    try:
        await people.check_password(db, me.account_id, password)
    except (NotAuthenticated, TooManyRequests) as exc:
        form.refuse(exc, FIELD)
        return False
    await sessions.confirm(db, me.session_id)
    return True


async def _page(visit: Visit, form: Form, onward: str | None = None) -> Response:
    """The question. A POST comes back to itself; what was asked by GET goes through `/confirm` and on."""
    request, kept = visit.request, []
    if request.method == "POST" and onward is None:
        action = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        kept = [
            (name, value)
            for name, values in visit.form.lists.items()
            if name not in NOT_KEPT
            for value in values
        ]
    else:
        query = f"?{request.url.query}" if request.url.query else ""
        action, kept = CONFIRM_PATH, [("next", onward or request.url.path + query)]
    place = None
    if (await second_factor.of(visit.services.db, visit.signed_in.account_id)).passkeys:
        place = passkeys.place_of(visit.services.settings)
    return render(request, "confirm.html", 403, form=form, action=action, kept=kept, here="", place=place)
