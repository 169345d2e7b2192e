"""Sign-in and sign-out with e-mail address and password."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

from starlette.responses import Response

from server.access.actor import Actor, ActorKind
from server.access.sign_in import address_of
from server.accounts import passkeys, people, second_factor
from server.accounts.people import Account
from server.accounts.steps import Kind
from server.audit.events import Event, Outcome
from server.audit.who import Who
from server.core.errors import NotAuthenticated, TooManyRequests
from server.core.texts import N_
from server.records.people import patient_of_account
from server.sharing import invitation

from .forms import Form, filled, local_path
from .pages import render, see_other
from .visit import Visit

SIGN_IN_AGAIN = N_("The e-mail address or the password is not right.")
CHECK_MAIL = "/verify"
STEP_PATHS = {Kind.SECOND: "/sign-in/second", Kind.SET_UP: "/sign-in/set-up"}
MOST_HINT = 320  # characters of an e-mail address
ONWARD = "lightbox_onward"  # cookie: where a person was going before they had to confirm their address
SLOWER = N_("Too many tries in a row. Wait a minute, then try again.")


async def show(visit: Visit) -> Response:
    """The form; who is signed in already goes on, save where an app asks them to prove it again (prompt=login)."""
    onward = local_path(visit.query("next") or visit.request.cookies.get(ONWARD))
    if visit.me is not None and visit.query("again") != "1":
        return see_other(onward)
    return _page(visit, filled({"next": onward if onward != "/" else "", "email": _hint(onward)}))


def _hint(onward: str) -> str:
    """The address an app proposes to sign in with (OpenID Connect Core, 3.1.2.1, login_hint)."""
    path, _, query = onward.partition("?")
    hint = dict(parse_qsl(query)).get("login_hint", "") if path == "/oauth/authorize" else ""
    return hint if hint.isprintable() and len(hint) <= MOST_HINT else ""


async def submit(visit: Visit) -> Response:
    """Sign in and go where `next` says, if that is a place of ours."""
    form = visit.form
    email, password = form.text("email", most=320), form.secret("password")
    account = await _authenticated(visit, email, password) if form else None
    if account is None:
        return _page(visit, form)
    return await admit(visit, account, local_path(form["next"]))


async def admit(visit: Visit, account: Account, onward: str) -> Response:
    """Go on once the address is confirmed: by mail, or by the invitation that was mailed to it.

    A session begins at once only for who needs no second step and has none.
    """
    if not account.verified and not await _came_by_invitation(visit, account, onward):
        return confirm_first(visit, onward)
    services = visit.services
    if await second_factor.of(services.db, account.id):
        return await _before(visit, account, Kind.SECOND, onward)
    if account.role in second_factor.required_of(services.settings):
        return await _before(visit, account, Kind.SET_UP, onward)
    response = welcome(onward)
    await services.gate.sign_in.start(visit.request, response, account)
    await note(visit, Event.SIGNED_IN, account)
    return response


async def _before(visit: Visit, account: Account, kind: Kind, onward: str) -> Response:
    """To the page of what is missing. No session until it is done, and none of before either."""
    response = see_other(with_next(STEP_PATHS[kind], onward))
    await visit.services.gate.sign_in.end(visit.request, response)
    await visit.services.gate.sign_in.begin_step(response, account, kind)
    return response


def welcome(onward: str) -> Response:
    """On to where the person was going, once signed in."""
    response = see_other(onward)
    response.delete_cookie(ONWARD)
    return response


def with_next(path: str, onward: str) -> str:
    """A page of the way in, which leads on to `onward`."""
    return path if onward == "/" else f"{path}?next={quote(onward, safe='/')}"


async def _came_by_invitation(visit: Visit, account: Account, onward: str) -> bool:
    """The link was mailed to that address and nowhere else."""
    path, _, secret = onward.rpartition("/")
    if path != "/invitation" or account.disabled_at is not None:
        return False
    actor = Actor(ActorKind(account.role), account_id=account.id, name=account.name)
    return await invitation.prove_address(visit.services, secret, actor=actor)


async def sign_out(visit: Visit) -> Response:
    """End this session."""
    response = see_other("/", "signed-out")
    me = visit.signed_in
    await visit.services.gate.sign_in.end(visit.request, response)
    patient = await patient_of_account(visit.services, me.account_id)
    await visit.services.audit.record(Event.SIGNED_OUT, who=visit.actor.who(), patient_id=patient)
    return response


def confirm_first(visit: Visit, onward: str) -> Response:
    """The address waits to be confirmed; a browser that comes back goes on where it wanted to.

    Who signs up with an address that has an account gets this very answer too.
    """
    response = see_other(CHECK_MAIL)
    if onward != "/":
        secure = visit.services.settings.is_https
        response.set_cookie(ONWARD, onward, max_age=7200, secure=secure, httponly=True, samesite="lax")
    return response


async def note(visit: Visit, event: Event, account: Account, outcome: Outcome = Outcome.SUCCESS) -> None:
    """Write an event of an account into the log: a patient's into their own, so that they see it."""
    patient = await patient_of_account(visit.services, account.id)
    who = Who(account.name, account.role, account.id, address=address_of(visit.request))
    await visit.services.audit.record(event, who=who, patient_id=patient, outcome=outcome)


async def _authenticated(visit: Visit, email: str, password: str) -> Account | None:
    try:
        return await people.authenticate(visit.services.db, email, password, address_of(visit.request))
    except NotAuthenticated:
        visit.form.wrong("", SIGN_IN_AGAIN)
        await _note_failure(visit, await people.find_by_email(visit.services.db, email))
    except TooManyRequests:
        visit.form.wrong("", SLOWER)
    return None


async def _note_failure(visit: Visit, account: Account | None) -> None:
    """Written down for an address without an account too: the time it takes would tell which have one."""
    if account is not None:
        await note(visit, Event.SIGN_IN_FAILED, account, Outcome.REFUSED)
        return
    who = Who(role="nobody", address=address_of(visit.request))
    await visit.services.audit.record(Event.SIGN_IN_FAILED, who=who, patient_id=None, outcome=Outcome.REFUSED)


def _page(visit: Visit, form: Form) -> Response:
    onward = local_path(form["next"])
    way = f"?next={quote(onward, safe='/')}" if onward != "/" else ""
    invited = onward.startswith("/invitation/")
    return render(
        visit.request,
        "sign_in.html",
        200 if form else 422,
        # A consent page behind this form may lead on to an app: CSP counts redirects as the form's action.
        onward=onward.startswith("/oauth/"),
        form=form,
        here="sign-in",
        sign_up=("/sign-up/doctor" if invited else "/sign-up") + way,
        demo=visit.services.settings.demo,
        place=passkeys.place_of(visit.services.settings),
    )
