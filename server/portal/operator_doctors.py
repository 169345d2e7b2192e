"""Operators: doctors to verify, to suspend, to let in again. Names stand here, for they are looked up in a register."""

from __future__ import annotations

from starlette.responses import Response

from server.core.errors import ServerError
from server.core.texts import N_
from server.rights import doctors

from . import words
from .forms import Form
from .operator import sections_of
from .pages import render, see_other
from .visit import Visit

ACTS = {
    "unverified": (("verified", N_("Verify")), ("suspended", N_("Suspend"))),
    "verified": (("suspended", N_("Suspend")), ("unverified", N_("Take the verification back"))),
    "suspended": (
        ("verified", N_("Lift the suspension: verified")),
        ("unverified", N_("Lift it: not checked")),
    ),
}


async def show(visit: Visit) -> Response:
    """The queue, or all in one state."""
    state = visit.query("state")
    chosen = state if state in doctors.STATES else None
    found = await doctors.listed(visit.services, actor=visit.actor, state=chosen)
    return render(
        visit.request,
        "operator_doctors.html",
        here="operator",
        doctors=found,
        state=chosen or "",
        states=words.VERIFICATION,
        sections=sections_of(visit),
    )


async def one(visit: Visit) -> Response:
    """What the doctor says, and what operators said."""
    return await _page(visit, Form())


async def judge(visit: Visit) -> Response:
    """Verify or suspend, with a reason."""
    form = visit.form
    state, reason = form.one_of("state", doctors.STATES), form.lines("reason", most=1000)
    if form:
        try:
            await doctors.judge(
                visit.services, visit.place("doctor"), state=state, reason=reason, actor=visit.actor
            )
            return see_other(f"/operator/doctors/{visit.place('doctor')}", "saved")
        except ServerError as exc:
            if exc.status == 404:
                raise
            form.refuse(exc)
    return await _page(visit, form)


async def _page(visit: Visit, form: Form) -> Response:
    doctor, history = await doctors.one(visit.services, visit.place("doctor"), actor=visit.actor)
    return render(
        visit.request,
        "operator_doctor.html",
        200 if form else 422,
        here="operator",
        form=form,
        doctor=doctor,
        history=history,
        states=words.VERIFICATION,
        acts=ACTS[doctor.verification],
        sections=sections_of(visit),
    )
