"""A doctor's own page: for the doctor, who hands its address or QR code out; and for patients, who come by it.

Whoever opens the address learns whose page it is and what to do, and nothing else. Giving access takes an account, a
choice of what, and a press of the button that says so (product.md, "Beyond the seed" 6).
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from server.access.action import Action, Right, Verb
from server.core.errors import (
    AlreadyStored,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    TooManyRequests,
    Unprocessable,
)
from server.sharing import doctor_page, share
from server.sharing.doctor_page import Behind

from . import qr_code, share_choice, share_terms, step_up, words
from .doctor import patients_of
from .forms import Form, filled
from .pages import render, see_other
from .people_seeing import CONSENT_READ
from .profile import acting_for, own, own_id
from .visit import Visit

CONSENT_CREATE = Action("Consent", Verb.CREATE)
HERE = "/my-patients/page"
ACTS = {"make": "page-made", "reset": "page-reset", "close": "page-closed"}


async def mine(visit: Visit) -> Response:
    """The doctor's side: the address, a card to print, who came by it."""
    page = await doctor_page.mine(visit.services, actor=visit.actor)
    names = {each.id: each.name for each in await patients_of(visit)}
    came = await doctor_page.uses(visit.services, actor=visit.actor)
    return render(
        visit.request,
        "doctor_page.html",
        here="patients",
        page=page,
        address=_address(visit, page.id) if page else "",
        came=[(names[each.patient_id], each) for each in came if each.patient_id in names],
        over=sum(each.patient_id not in names for each in came),
    )


async def act(visit: Visit) -> Response:
    """Make it, reset it (the address before is dead at once), or close it."""
    what = visit.form.one_of("act", list(ACTS))
    if not visit.form:
        raise NotFound()
    if what == "close":
        await doctor_page.close(visit.services, actor=visit.actor)
    else:
        await doctor_page.make(visit.services, actor=visit.actor)
    return see_other(HERE, ACTS[what])


async def qr(visit: Visit) -> Response:
    """The address as a QR code."""
    page = await doctor_page.mine(visit.services, actor=visit.actor)
    if page is None:
        raise NotFound()
    return qr_code.answer(_address(visit, page.id))


async def show(visit: Visit) -> Response:
    """The patient's side: whose page this is, and what one gives by it. Opening it does nothing."""
    usual = [str(right) for right in share.USUAL_RIGHTS]
    return await _page(visit, filled(share_choice.which(None), right=usual))


async def give(visit: Visit) -> Response:
    """Share with this doctor, from now on."""
    me, form = visit.signed_in, visit.form
    doctor = await doctor_page.behind(visit.services, visit.place("page"))
    if doctor is None:
        return _dead(visit)
    if me.role != "patient":
        return await _page(visit, form, 403)
    rights = form.some_of("right", [str(each) for each in Right])
    until, chosen = share_terms.end_of_day(form, "until"), share_choice.read(form)
    if not rights:
        form.wrong("right", share_terms.NOTHING_CHOSEN)
    if not form:
        return await _page(visit, form)
    if (asking := await step_up.require_recent(visit)) is not None:
        return asking
    try:
        await doctor_page.give(
            visit.services,
            doctor.page_id,
            await own_id(visit),
            rights=rights,
            studies=chosen,
            until=until,
            actor=visit.actor,
            reach=await visit.reach(CONSENT_CREATE),
        )
    except Gone:
        return _dead(visit)
    except AlreadyStored:
        pass  # the page says so
    except (Unprocessable, Conflict, TooManyRequests, Forbidden) as exc:
        form.refuse(exc)
        return await _page(visit, form)
    return see_other(f"/give/{doctor.page_id}", "given")


async def _page(visit: Visit, form: Form, status: int = 200) -> Response:
    doctor = await doctor_page.behind(visit.services, visit.place("page"))
    if doctor is None:
        return _dead(visit)
    me = visit.me
    context: dict[str, Any] = {"whose": "", "given": None, "choice": None}
    if me is not None and me.role == "patient":
        context = await _for_patient(visit, doctor, form)
    return render(
        visit.request,
        "give.html",
        status if form else 422,
        here="give",
        form=form,
        doctor=doctor,
        verification=words.VERIFICATION[doctor.verification],
        is_mine=me is not None and me.account_id == doctor.account_id,
        rights=[(str(right), words.RIGHTS[right]) for right in Right],
        **context,
    )


async def _for_patient(visit: Visit, doctor: Behind, form: Form) -> dict[str, Any]:
    """What the patient has to choose from, and what they share with this doctor already."""
    profile = await own(visit)
    given = await doctor_page.given(
        visit.services, profile.id, doctor.practitioner_id, reach=await visit.reach(CONSENT_READ)
    )
    return {
        "whose": await acting_for(visit, profile.id),
        "given": given,
        "choice": await share_choice.offered(visit, profile.id, form.all("study")),
    }


def _dead(visit: Visit) -> Response:
    return render(visit.request, "give_dead.html", 410, here="give")


def _address(visit: Visit, page_id: str) -> str:
    return visit.services.settings.base_url + doctor_page.PATH.format(page=page_id)
