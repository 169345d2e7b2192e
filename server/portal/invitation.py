"""The page an invitation's link leads to, for strangers and for the invited doctor.

Opening it changes nothing; a link that is withdrawn, spent, late or made up shows one and the same page.
"""

from __future__ import annotations

from starlette.responses import Response

from server.access.action import Right
from server.core.errors import Forbidden, Gone, NotAuthenticated
from server.core.texts import N_, translations
from server.sharing import invitation

from . import words
from .pages import language_of, render, see_other
from .visit import Visit

OTHER_ACCOUNT = N_(
    "This invitation was sent to another e-mail address. Sign out, and sign in or register with the address the"
    " invitation came to."
)


async def show(visit: Visit) -> Response:
    """What this is, in two sentences, and what to do."""
    return await _page(visit)


async def answer(visit: Visit) -> Response:
    """Accept, with a doctor's account; or decline, which whoever holds the link may."""
    secret = visit.place("secret")
    if visit.form["answer"] == "decline":
        await invitation.decline(visit.services, secret, actor=visit.actor if visit.me else None)
        return render(visit.request, "declined.html")
    if visit.me is None:
        raise NotAuthenticated()
    if visit.me.role != visit.me.account_role:  # a doctor with the own record open: the page says so
        return await _page(visit)
    try:
        accepted = await invitation.accept(visit.services, secret, actor=visit.actor)
    except Forbidden:
        return await _page(visit, status=403)
    return see_other(f"/my-patients/{accepted.patient_id}", "accepted")


async def accept_waiting(visit: Visit) -> Response:
    """Accept or decline an invitation on the doctor's own page, found by the confirmed address."""
    share_id = visit.place("share")
    if visit.form["answer"] == "decline":
        await invitation.decline_waiting(visit.services, share_id, actor=visit.actor)
        return see_other("/my-patients", "declined")
    accepted = await invitation.accept_waiting(visit.services, share_id, actor=visit.actor)
    return see_other(f"/my-patients/{accepted.patient_id}", "accepted")


async def _page(visit: Visit, status: int = 200) -> Response:
    secret = visit.place("secret")
    waiting = await invitation.look(visit.services, secret)
    if waiting is None:
        raise Gone(invitation.DEAD)
    offer = None
    if visit.me is not None and visit.me.account_role == "doctor":
        offer = await invitation.offer(visit.services, secret, actor=visit.actor)
    wrong = visit.me is not None and visit.me.account_role == "doctor" and offer is None
    return render(
        visit.request,
        "invitation.html",
        status,
        offer=_facts(visit, offer) if offer else None,
        message=offer.share.message if offer else "",
        waits_until=waiting.waits_until,
        problem=OTHER_ACCOUNT if wrong else "",
    )


def _facts(visit: Visit, offer: invitation.Offer) -> list[tuple[str, str]]:
    language = language_of(visit.request, visit.me)
    gettext, share = translations(language).gettext, offer.share
    rights = ", ".join(gettext(words.RIGHTS[right]) for right in Right if right in share.rights)
    until = words.day(share.until, language) if share.until else gettext(N_("until the patient ends it"))
    return [
        (gettext(N_("From")), offer.inviter),
        (gettext(N_("You may")), rights),
        (gettext(N_("For how long")), until),
    ]
