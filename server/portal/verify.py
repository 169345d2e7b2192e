"""Links that came by mail: confirm an address, choose a new password. A GET only shows; a POST acts."""

from __future__ import annotations

from contextlib import suppress

from starlette.responses import Response

from server.access.sign_in import address_of
from server.accounts import people, verification
from server.core.errors import Gone, TooManyRequests, Unprocessable
from server.sharing import request

from .forms import Form
from .pages import render, see_other
from .visit import Visit


async def check_mail(visit: Visit) -> Response:
    """What to do now: look into the mail."""
    return render(visit.request, "check_mail.html", form=Form())


async def send_again(visit: Visit) -> Response:
    """Another mail to an address that waits to be confirmed; the same answer for every address."""
    form = visit.form
    email = form.checked("email", people.normal_email)
    if not form:
        return render(visit.request, "check_mail.html", 422, form=form)
    account = await people.find_by_email(visit.services.db, email)
    if account is not None and not account.verified and account.disabled_at is None:
        with suppress(TooManyRequests):
            await verification.ask(visit.services, account)
    return see_other("/verify", "mail-sent")


async def show(visit: Visit) -> Response:
    """One button, because mail scanners open links too."""
    if not await verification.lives(visit.services.db, visit.place("secret"), verification.Purpose.VERIFY):
        raise Gone(verification.DEAD)
    return render(visit.request, "verify.html")


async def confirm(visit: Visit) -> Response:
    """The address is confirmed; then sign in."""
    account = await verification.confirm(
        visit.services, visit.place("secret"), address=address_of(visit.request)
    )
    await request.take_up(visit.services, account.id)  # doctors who asked this address before it was here
    return see_other("/sign-in", "verified")


async def show_forgotten(visit: Visit) -> Response:
    """Ask for a link to choose a new password."""
    return render(visit.request, "forgotten.html", form=Form())


async def forgotten(visit: Visit) -> Response:
    """The same answer whether the address has an account or not."""
    form = visit.form
    email = form.checked("email", people.normal_email)
    if form:
        try:
            await verification.ask_reset(visit.services, email)
            return see_other("/verify")
        except TooManyRequests as exc:
            form.refuse(exc)
    return render(visit.request, "forgotten.html", 422, form=form)


async def show_reset(visit: Visit) -> Response:
    """The form for a new password."""
    if not await verification.lives(visit.services.db, visit.place("secret"), verification.Purpose.RESET):
        raise Gone(verification.DEAD)
    return render(visit.request, "reset.html", form=Form())


async def reset(visit: Visit) -> Response:
    """Keep the new password; every device is signed out."""
    form = visit.form
    password = form.secret("password")
    if form:
        try:
            await verification.reset(
                visit.services, visit.place("secret"), password, address=address_of(visit.request)
            )
            return see_other("/sign-in", "password")
        except Unprocessable as exc:
            form.refuse(exc, "password")
    return render(visit.request, "reset.html", 422, form=form)
