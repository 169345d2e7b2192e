"""Account > Sign-in and devices: password, second step, e-mail address, where one is signed in, what happened.

Every change asks that it is you, when the sign-in is some time ago, and is told to you by mail.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from starlette.responses import JSONResponse, Response

from server.access.sign_in import address_of
from server.accounts import (
    email_change,
    notices,
    passkeys,
    passwords,
    people,
    recovery_codes,
    second_factor,
    sessions,
    totp,
)
from server.accounts.second_factor import Factors
from server.audit.events import Event
from server.core import clock
from server.core.errors import (
    Forbidden,
    NotAuthenticated,
    ServerError,
    TooManyRequests,
    UnsupportedMediaType,
)
from server.core.texts import N_, translations
from server.records.people import patient_of_account

from . import security_words, step_up
from .forms import Form, local_path, read_json
from .pages import HEADERS, language_of, render, see_other, wants_json
from .second_step import CODES_PATH, credential_of, name_of, options
from .visit import Visit

HERE = "/account/security"
STAYS = N_("Doctors and staff need a second step. Set up another one first, then remove this one.")


async def show(visit: Visit) -> Response:
    """Everything about signing in."""
    return await _page(visit, Form())


async def change_password(visit: Visit) -> Response:
    """Check the old one, keep the new one; everything else is signed out, this browser signed in anew."""
    form, me, services = visit.form, visit.signed_in, visit.services
    current, wanted = form.secret("current"), form.secret("password")
    if form:
        try:
            least = await _least(visit)
            passwords.require_good(wanted, least=least, about=(me.email, me.name))
            await people.check_password(services.db, me.account_id, current)
            await people.change_password(services.db, me.account_id, wanted, least=least)
        except (NotAuthenticated, TooManyRequests) as exc:
            form.refuse(exc, "current")
        except ServerError as exc:
            form.refuse(exc, "password")
    if not form:
        return await _page(visit, form)
    account = await people.get(services.db, me.account_id)
    response = see_other(HERE, "password")
    await services.gate.sign_in.start(visit.request, response, account, factor=me.factor)
    await notices.tell(services, account, "password-changed")
    await _note(visit, Event.PASSWORD_CHANGED)
    return response


async def end_session(visit: Visit) -> Response:
    """Sign another device out."""
    try:
        session_id = UUID(visit.form["session"])
    except ValueError:
        return see_other(HERE)
    await sessions.end(visit.services.db, session_id, account_id=visit.signed_in.account_id)
    return see_other(HERE, "session-ended")


async def end_others(visit: Visit) -> Response:
    """Sign out every other device, and every app."""
    me, services = visit.signed_in, visit.services
    account = await people.get(services.db, me.account_id)
    async with services.db.transaction():
        await people.end_everything(
            services.db, me.account_id, why="signed out everywhere", keep=me.session_id
        )
        await notices.tell(services, account, "ended-all")
        await _note(visit, Event.SESSIONS_ENDED)
    return see_other(HERE, "sessions-ended")


async def passkey_options(visit: Visit) -> Response:
    """What the browser needs to make a passkey; 403 when it must be shown first who asks."""
    if (asking := await _ours(visit)) is not None:
        return asking
    me = visit.signed_in
    return options(await passkeys.begin_registration(visit.services, me.account_id, me.email, me.name))


async def add_passkey(visit: Visit) -> Response:
    """The passkey that was made."""
    if (asking := await _ours(visit)) is not None:
        return asking
    body, me = await read_json(visit.request), visit.signed_in
    first = not await second_factor.of(visit.services.db, me.account_id)
    await passkeys.register(visit.services, me.account_id, credential_of(body), name=name_of(body))
    await _added(visit, "passkey")
    return JSONResponse({"go": CODES_PATH if first else f"{HERE}?done=factor-added"}, headers=HEADERS)


@step_up.required
async def remove_passkey(visit: Visit) -> Response:
    """Remove one; the last factor stays where it is needed."""
    me, services = visit.signed_in, visit.services
    factors = await second_factor.of(services.db, me.account_id)
    last = factors.passkeys == 1 and not factors.totp
    if last and (refused := await _refused_last(visit)) is not None:
        return refused
    try:
        await passkeys.remove(services.db, me.account_id, UUID(visit.form["passkey"]))
    except ValueError:
        return see_other(HERE)
    await _removed(visit, last=last)
    return see_other(HERE, "passkey-removed")


@step_up.required
async def show_app(visit: Visit) -> Response:
    """Set up an authenticator app."""
    return _app_page(visit, Form())


@step_up.required
async def add_app(visit: Visit) -> Response:
    """The first code of the app."""
    form, me, services = visit.form, visit.signed_in, visit.services
    code = form.text("code", most=60)
    first = not await second_factor.of(services.db, me.account_id)
    if form:
        try:
            await totp.confirm(
                services.db, services.keyring, me.account_id, form["offer"], code, bound_to=me.session_id
            )
        except ServerError as exc:
            form.refuse(exc, "code")
    if not form:
        return _app_page(visit, form)
    await _added(visit, "totp")
    return see_other(CODES_PATH if first else HERE, "factor-added")


@step_up.required
async def remove_app(visit: Visit) -> Response:
    """The app's codes do not count any more."""
    me, services = visit.signed_in, visit.services
    factors = await second_factor.of(services.db, me.account_id)
    last = factors.passkeys == 0
    if last and (refused := await _refused_last(visit)) is not None:
        return refused
    await totp.remove(services.db, me.account_id)
    await _removed(visit, last=last)
    return see_other(HERE, "factor-removed")


async def show_codes(visit: Visit) -> Response:
    """Ask for new recovery codes: they are shown by the POST, once."""
    return _codes_page(visit, [], local_path(visit.query("next"), otherwise=HERE))


@step_up.required
async def make_codes(visit: Visit) -> Response:
    """New codes, shown now and never again."""
    me, services = visit.signed_in, visit.services
    if not await second_factor.of(services.db, me.account_id):
        raise Forbidden("Recovery codes stand in for a second step. Set one up first.")
    account = await people.get(services.db, me.account_id)
    async with services.db.transaction():
        codes = await recovery_codes.make(services.db, me.account_id)
        await notices.tell(services, account, "codes-made")
        await _note(visit, Event.CODES_MADE)
    return _codes_page(visit, codes, local_path(visit.form["next"], otherwise=HERE))


@step_up.required
async def change_address(visit: Visit) -> Response:
    """Ask for another e-mail address: both are told."""
    form, services = visit.form, visit.services
    email = form.checked("email", people.normal_email)
    if form:
        try:
            account = await people.get(services.db, visit.signed_in.account_id)
            await email_change.ask(services, account, email, address_of(visit.request))
            return see_other(HERE, "address-asked")
        except ServerError as exc:
            form.refuse(exc, "email")
    return await _page(visit, form)


async def show_confirm_address(visit: Visit) -> Response:
    """One button, because mail scanners open links too."""
    return render(visit.request, "link_act.html", act="confirm-address")


async def confirm_address(visit: Visit) -> Response:
    """The new mailbox has spoken."""
    await email_change.confirm(visit.services, visit.place("secret"), address_of(visit.request))
    return see_other("/sign-in" if visit.me is None else HERE, "address-changed")


async def show_keep_address(visit: Visit) -> Response:
    """The old mailbox may take it back."""
    return render(visit.request, "link_act.html", act="keep-address")


async def keep_address(visit: Visit) -> Response:
    """Taken back; everything is signed out."""
    await email_change.undo(visit.services, visit.place("secret"), address_of(visit.request))
    return see_other("/sign-in", "address-kept")


async def _ours(visit: Visit) -> Response | None:
    if not wants_json(visit.request):
        raise UnsupportedMediaType("The question is asked in JSON.")
    return await step_up.require_recent(visit)


async def _least(visit: Visit) -> int:
    """Short passwords only for who has a second step and cannot do without."""
    services, me = visit.services, visit.signed_in
    needed = me.account_role in second_factor.required_of(services.settings)
    if needed and await second_factor.of(services.db, me.account_id):
        return passwords.LEAST_WITH_SECOND_FACTOR
    return passwords.LEAST


async def _refused_last(visit: Visit) -> Response | None:
    """Doctors and staff keep one."""
    form, me, services = visit.form, visit.signed_in, visit.services
    if me.account_role in second_factor.required_of(services.settings):
        form.wrong("", STAYS)
        return await _page(visit, form)
    return None


async def _added(visit: Visit, factor: str) -> None:
    """Told, written down, and this session counts as made with it."""
    services, me = visit.services, visit.signed_in
    await sessions.set_factor(services.db, me.session_id, factor)
    await notices.tell(services, await people.get(services.db, me.account_id), "factor-added")
    await _note(visit, Event.FACTOR_ADDED)


async def _removed(visit: Visit, *, last: bool) -> None:
    services, me = visit.services, visit.signed_in
    if last:
        await second_factor.remove_all(services.db, me.account_id)  # the codes on paper with it
    await notices.tell(services, await people.get(services.db, me.account_id), "factor-removed")
    await _note(visit, Event.FACTOR_REMOVED)


async def _note(visit: Visit, event: Event) -> None:
    me, services = visit.signed_in, visit.services
    patient_id = await patient_of_account(services, me.account_id)
    await services.audit.record(event, who=visit.actor.who(), patient_id=patient_id)


def _app_page(visit: Visit, form: Form) -> Response:
    me, services = visit.signed_in, visit.services
    token = form["offer"] or None
    made = totp.offer(services.keyring, services.settings, me.email, bound_to=me.session_id, token=token)
    return render(
        visit.request, "security_app.html", 200 if form else 422, here="account", form=form, offer=made
    )


def _codes_page(visit: Visit, codes: list[str], onward: str) -> Response:
    return render(visit.request, "security_codes.html", here="account", codes=codes, leads_to=onward)


async def _page(visit: Visit, form: Form) -> Response:
    me, services = visit.signed_in, visit.services
    gettext = translations(language_of(visit.request, me)).gettext
    place = passkeys.place_of(services.settings)
    factors: Factors = await second_factor.of(services.db, me.account_id)
    return render(
        visit.request,
        "security.html",
        200 if form else 422,
        here="account",
        form=form,
        factors=factors,
        needed=me.account_role in second_factor.required_of(services.settings),
        place=place,
        passkeys=await passkeys.list_of(services.db, me.account_id),
        waiting=await email_change.waiting(services.db, me.account_id),
        sessions=await _sessions(visit, gettext),
        least=await _least(visit),
        history=await security_words.history(visit, gettext),
    )


async def _sessions(visit: Visit, gettext: Any) -> list[dict[str, Any]]:
    me, now = visit.signed_in, clock.now()
    return [
        {
            "id": each.id,
            "device": security_words.device(each.user_agent) or gettext(N_("Unknown device")),
            "address": each.address,
            "since": each.created_at,
            "seen": each.seen_at,
            "factor": gettext(security_words.FACTORS[each.factor]),
            "this": each.id == me.session_id,
        }
        for each in await sessions.sessions_of(visit.services.db, me.account_id)
        if each.expires_at > now
    ]
