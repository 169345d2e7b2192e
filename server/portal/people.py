"""Account > People: records one acts for, who acts in one's own, taking over a waiting profile, the emergency code."""

from __future__ import annotations

from uuid import UUID

from starlette.responses import Response

from server.access.reach import Reach
from server.core.errors import Conflict, NotFound, TooManyRequests, Unprocessable
from server.core.texts import N_
from server.sharing import break_glass, holding

from .forms import Form
from .pages import render, see_other
from .profile import PATIENT_READ, PATIENT_UPDATE, own_id
from .step_up import require_recent
from .visit import Visit

HERE = "/account/people"


async def show(visit: Visit) -> Response:
    """Everything on one page; each part a plain form."""
    return await _page(visit, Form())


async def claim(visit: Visit) -> Response:
    """Take over the profile that a code opens, or become the guardian of its person."""
    form = visit.form
    code = form.text("code", required=False, most=40)
    born = form.day("born", past=True)
    if form and born is not None:
        try:
            held = await holding.claim(visit.services, code, born.isoformat(), actor=visit.actor)
            await holding.show(visit.services, visit.signed_in.session_id, held.patient_id)
            return see_other("/imaging", _said_of(held))
        except (Unprocessable, TooManyRequests) as exc:
            form.refuse(exc, "code")
    return await _page(visit, form)


def _said_of(held: holding.Held) -> str:
    if not held.is_own:
        return "guardian"
    return "joined" if held.joined else "claimed"


async def add_child(visit: Visit) -> Response:
    """A record for a child or a relative, held by who asks."""
    form = visit.form
    name, born = form.text("name"), form.day("birth_date", past=True)
    if form and born is not None:
        try:
            patient_id = await holding.add_child(
                visit.services, name=name, birth_date=born, actor=visit.actor
            )
            await holding.show(visit.services, visit.signed_in.session_id, patient_id)
            return see_other("/imaging", "child-added")
        except Conflict as exc:
            form.refuse(exc)
    return await _page(visit, form)


async def choose(visit: Visit) -> Response:
    """Whose record the pages show from now on."""
    await holding.show(visit.services, visit.signed_in.session_id, visit.form["patient"])
    return see_other("/imaging", "shown")


async def make_code(visit: Visit) -> Response:
    """A code for somebody who shall act in this record; shown once."""
    if (first := await require_recent(visit)) is not None:
        return first
    reach = await visit.reach(PATIENT_UPDATE)
    code = await holding.guardian_code(visit.services, await own_id(visit), actor=visit.actor, reach=reach)
    return await _page(
        visit, Form(), code=code, about=N_("Hand this code to the person who shall act for you.")
    )


async def end_guardian(visit: Visit) -> Response:
    """They act here no more."""
    try:
        account_id = UUID(visit.form["guardian"])
    except ValueError as exc:
        raise NotFound() from exc
    reach = await visit.reach(PATIENT_UPDATE)
    try:
        await holding.end_guardian(
            visit.services, await own_id(visit), account_id, actor=visit.actor, reach=reach
        )
    except Conflict as exc:
        form = Form()
        form.refuse(exc)
        return await _page(visit, form)
    return see_other(HERE, "guardian-ended")


async def allow_emergency(visit: Visit) -> Response:
    """Doctors may look in an emergency; the code is shown once, to be printed."""
    if (first := await require_recent(visit)) is not None:
        return first
    reach = await visit.reach(PATIENT_UPDATE)
    code = await break_glass.allow(visit.services, await own_id(visit), actor=visit.actor, reach=reach)
    return await _page(visit, Form(), code=code, about=N_("Print this code and carry it with you."))


async def forbid_emergency(visit: Visit) -> Response:
    """Nobody may any more."""
    reach = await visit.reach(PATIENT_UPDATE)
    await break_glass.forbid(visit.services, await own_id(visit), actor=visit.actor, reach=reach)
    return see_other(HERE, "no-emergency")


async def _page(visit: Visit, form: Form, *, code: str = "", about: str = "") -> Response:
    reach: Reach = await visit.reach(PATIENT_READ)
    patient_id = await own_id(visit)
    held = await holding.held_by(visit.services, actor=visit.actor)
    return render(
        visit.request,
        "people.html",
        200 if form else 422,
        here="account",
        form=form,
        held=held,
        shown_is_own=any(each.patient_id == patient_id and each.is_own for each in held),
        shown=patient_id,
        guardians=await holding.guardians_of(visit.services, patient_id, reach=reach),
        emergency=await break_glass.is_allowed(visit.services, patient_id, reach=reach),
        code=code,
        about=about,
    )
