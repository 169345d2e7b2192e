"""The second step of signing in: a passkey, a code of the app, a code on paper; or setting one up where it is needed.

Who comes here typed the right password and has no session: the step's own cookie and token are all they carry.
"""

from __future__ import annotations

import hmac
from typing import Any

from starlette.responses import JSONResponse, Response

from server.access.sign_in import CSRF_HEADER, address_of
from server.accounts import (
    attempts,
    factor_loss,
    notices,
    passkeys,
    people,
    second_factor,
    totp,
)
from server.accounts.passkeys import Purpose
from server.accounts.people import Account
from server.accounts.steps import Kind, Step
from server.audit.events import Event, Outcome
from server.core.errors import Forbidden, NotAuthenticated, ServerError, TooManyRequests
from server.core.texts import N_

from .forms import Form, filled, local_path, read_json
from .pages import HEADERS, render, see_other
from .sign_in import admit, note, welcome, with_next
from .visit import Visit

STALE = N_("This page has gone stale. Begin again.")
SLOWER = N_("Too many tries in a row. Wait a minute, then try again.")
CODES_PATH = "/account/security/codes"
PASSKEYS = attempts.Limit("passkeys", free=60, longest=60)  # challenges one network may ask for


async def show(visit: Visit) -> Response:
    """The page of the second step."""
    step = await _step(visit, Kind.SECOND)
    return await _second(visit, step, _begun(visit)) if step else _back(visit)


async def submit(visit: Visit) -> Response:
    """A code of the app, or one on paper."""
    step, form, services = await _step(visit, Kind.SECOND), visit.form, visit.services
    if step is None:
        return _back(visit)
    _require_token(step, form["csrf"])
    account, code = await people.get(services.db, step.account_id), form.text("code", most=60)
    factor = ""
    try:
        if form:
            factor = await second_factor.check(services, account, code, address_of(visit.request))
    except NotAuthenticated as exc:
        form.refuse(exc, "code")
        await note(visit, Event.SECOND_STEP_FAILED, account, Outcome.REFUSED)
    except TooManyRequests:
        form.wrong("code", SLOWER)
    if not factor:
        return await _second(visit, step, form)
    return await _in(visit, step, account, factor, local_path(form["next"]))


async def lost(visit: Visit) -> Response:
    """Device and codes are lost: days of waiting begin, and the owner is told."""
    step = await _step(visit, Kind.SECOND)
    if step is None:
        return _back(visit)
    _require_token(step, visit.form["csrf"])
    account = await people.get(visit.services.db, step.account_id)
    await factor_loss.ask(visit.services, account, address_of(visit.request))
    return render(visit.request, "factor_lost.html", here="sign-in")


async def passkey_options(visit: Visit) -> Response:
    """What the browser asks a passkey of this account."""
    step = await _json_step(visit, Kind.SECOND)
    return options(await passkeys.begin(visit.services, Purpose.SECOND, step.account_id))


async def passkey_answer(visit: Visit) -> Response:
    """The passkey's answer."""
    step, body = await _json_step(visit, Kind.SECOND), await read_json(visit.request)
    account = await people.get(visit.services.db, step.account_id)
    try:
        await passkeys.use(visit.services, Purpose.SECOND, credential_of(body), step.account_id)
    except NotAuthenticated:
        await note(visit, Event.SECOND_STEP_FAILED, account, Outcome.REFUSED)
        raise
    return as_json(await _in(visit, step, account, "passkey", onward_of(body)))


async def sign_in_options(visit: Visit) -> Response:
    """Sign in with a passkey alone: it is two factors by itself. Nothing tells who has one."""
    network = attempts.network_of(address_of(visit.request))
    await attempts.begin(visit.services.db, attempts.subject(PASSKEYS, network))
    return options(await passkeys.begin(visit.services, Purpose.SIGN_IN))


async def sign_in_answer(visit: Visit) -> Response:
    """The answer of whatever passkey the person chose."""
    body = await read_json(visit.request)
    account_id = await passkeys.use(visit.services, Purpose.SIGN_IN, credential_of(body))
    account = await people.get(visit.services.db, account_id)
    if account.disabled_at is not None:
        raise NotAuthenticated(passkeys.REFUSED)
    if not account.verified:
        return as_json(await admit(visit, account, onward_of(body)))
    return as_json(await _begin(visit, account, "passkey", onward_of(body)))


async def show_set_up(visit: Visit) -> Response:
    """Set up a second step before anything else: doctors and staff."""
    step = await _step(visit, Kind.SET_UP)
    return await _set_up(visit, step, _begun(visit)) if step else _back(visit)


async def submit_set_up(visit: Visit) -> Response:
    """The first code of the app."""
    step, form, services = await _step(visit, Kind.SET_UP), visit.form, visit.services
    if step is None:
        return _back(visit)
    _require_token(step, form["csrf"])
    code = form.text("code", most=60)
    if form:
        try:
            await totp.confirm(
                services.db, services.keyring, step.account_id, form["offer"], code, bound_to=step.id
            )
        except ServerError as exc:
            form.refuse(exc, "code")
    if not form:
        return await _set_up(visit, step, form)
    return await _added(visit, step, "totp", local_path(form["next"]))


async def set_up_options(visit: Visit) -> Response:
    """What the browser needs to make a passkey."""
    step = await _json_step(visit, Kind.SET_UP)
    account = await people.get(visit.services.db, step.account_id)
    return options(await passkeys.begin_registration(visit.services, account.id, account.email, account.name))


async def set_up_answer(visit: Visit) -> Response:
    """The passkey that was made."""
    step, body = await _json_step(visit, Kind.SET_UP), await read_json(visit.request)
    await passkeys.register(visit.services, step.account_id, credential_of(body), name=name_of(body))
    return as_json(await _added(visit, step, "passkey", onward_of(body)))


async def show_stop(visit: Visit) -> Response:
    """The owner stops that the second step is taken off: one button, because mail scanners open links too."""
    return render(visit.request, "link_act.html", act="stop")


async def stop(visit: Visit) -> Response:
    """It stays."""
    await factor_loss.stop(visit.services, visit.place("secret"), address_of(visit.request))
    return see_other("/sign-in", "factor-kept")


async def show_take_off(visit: Visit) -> Response:
    """After the days of waiting: the password once more."""
    return render(visit.request, "link_act.html", act="take-off", form=Form())


async def take_off(visit: Visit) -> Response:
    """The second step is taken off."""
    form = visit.form
    password = form.secret("password")
    if form:
        try:
            await factor_loss.take_off(
                visit.services, visit.place("secret"), password, address_of(visit.request)
            )
            return see_other("/sign-in", "factor-removed")
        except (NotAuthenticated, TooManyRequests) as exc:
            form.refuse(exc, "password")
    return render(visit.request, "link_act.html", 422, act="take-off", form=form)


def options(text: str) -> Response:
    """The options of a ceremony, as the library writes them."""
    return Response(text, media_type="application/json", headers=HEADERS)


def as_json(response: Response) -> Response:
    """For our script: where to go on, with the cookies of the answer."""
    made = JSONResponse({"go": response.headers["location"]}, headers=HEADERS)
    for name, value in response.raw_headers:
        if name == b"set-cookie":
            made.raw_headers.append((name, value))
    return made


def credential_of(body: dict[str, Any]) -> dict[str, Any]:
    """What the browser answered; nothing where it sent something else."""
    found = body.get("credential")
    return found if isinstance(found, dict) and isinstance(found.get("response"), dict) else {"response": {}}


def name_of(body: dict[str, Any]) -> str:
    """What the owner calls the passkey."""
    found = body.get("name")
    return found if isinstance(found, str) else ""


def onward_of(body: dict[str, Any]) -> str:
    """Where the script says the person was going."""
    found = body.get("next")
    return local_path(found if isinstance(found, str) else None)


async def _in(visit: Visit, step: Step, account: Account, factor: str, onward: str) -> Response:
    """The step is done: a session begins, and whoever said that the factor is lost was wrong."""
    response = welcome(onward)
    sign_in = visit.services.gate.sign_in
    if not await sign_in.finish_step(visit.request, response, step, account, factor=factor):
        return _back(visit)
    await factor_loss.cancel(visit.services.db, account.id)
    await note(visit, Event.SIGNED_IN, account)
    return response


async def _begin(visit: Visit, account: Account, factor: str, onward: str) -> Response:
    response = welcome(onward)
    await visit.services.gate.sign_in.start(visit.request, response, account, factor=factor)
    await factor_loss.cancel(visit.services.db, account.id)
    await note(visit, Event.SIGNED_IN, account)
    return response


async def _added(visit: Visit, step: Step, factor: str, onward: str) -> Response:
    """Set up: the session begins, and the codes on paper come next."""
    account = await people.get(visit.services.db, step.account_id)
    response = await _in(visit, step, account, factor, with_next(CODES_PATH, onward))
    await notices.tell(visit.services, account, "factor-added")
    await note(visit, Event.FACTOR_ADDED, account)
    return response


async def _step(visit: Visit, kind: Kind) -> Step | None:
    step = await visit.services.gate.sign_in.step_of(visit.request)
    return step if step is not None and step.kind is kind else None


async def _json_step(visit: Visit, kind: Kind) -> Step:
    """The step a script works for. Raises NotAuthenticated, and Forbidden without its token."""
    step = await _step(visit, kind)
    if step is None:
        raise NotAuthenticated(STALE)
    _require_token(step, visit.request.headers.get(CSRF_HEADER, ""))
    return step


def _require_token(step: Step, value: str) -> None:
    if not hmac.compare_digest(value.encode(), step.csrf_token.encode()):
        raise Forbidden(STALE)


def _begun(visit: Visit) -> Form:
    onward = local_path(visit.query("next"))
    return filled({"next": onward if onward != "/" else ""})


def _back(visit: Visit) -> Response:
    """The step is over or was never there: the password again."""
    return see_other(with_next("/sign-in", local_path(visit.query("next") or visit.form["next"])))


async def _second(visit: Visit, step: Step, form: Form) -> Response:
    services = visit.services
    factors = await second_factor.of(services.db, step.account_id)
    place = passkeys.place_of(services.settings)
    return render(
        visit.request,
        "second_step.html",
        200 if form else 422,
        onward=local_path(form["next"]).startswith("/oauth/"),
        form=form,
        here="sign-in",
        factors=factors,
        place=place if factors.passkeys else None,
        csrf=step.csrf_token,
    )


async def _set_up(visit: Visit, step: Step, form: Form) -> Response:
    services = visit.services
    account = await people.get(services.db, step.account_id)
    offer = totp.offer(
        services.keyring, services.settings, account.email, bound_to=step.id, token=form["offer"] or None
    )
    return render(
        visit.request,
        "set_up_step.html",
        200 if form else 422,
        form=form,
        here="sign-in",
        offer=offer,
        place=passkeys.place_of(services.settings),
        csrf=step.csrf_token,
    )
