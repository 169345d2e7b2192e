"""Operators: incidents that the watch found or somebody reported, the records affected, the clocks of a breach."""

from __future__ import annotations

from starlette.responses import Response

from server.core.errors import ServerError
from server.rights import incidents

from . import step_up
from .forms import Form
from .operator import sections_of, uuid_of
from .pages import render, see_other
from .visit import Visit

ACTS = ("note", "breach", "told-authority", "tell-people", "close")


async def show(visit: Visit) -> Response:
    """What is open; a form to report one."""
    return await _list(visit, Form())


async def report(visit: Visit) -> Response:
    """An operator saw something."""
    form = visit.form
    words = form.lines("words", most=2000)
    patients = form["patients"].replace(",", " ").split()
    if not form:
        return await _list(visit, form)
    made = await incidents.report(visit.services, words=words, patients=patients, actor=visit.actor)
    return see_other(f"/operator/incidents/{made}", "saved")


async def one(visit: Visit) -> Response:
    """One incident."""
    return await _page(visit, Form())


@step_up.required
async def act(visit: Visit) -> Response:
    """Note, declare a breach, tell, close."""
    form, incident_id = visit.form, uuid_of(visit, "incident")
    what = form.one_of("act", ACTS)
    words = form.lines("words", most=2000)
    patients = form["patients"].replace(",", " ").split()
    if form:
        try:
            await incidents.act(visit.services, incident_id, what=what, words=words, actor=visit.actor)
            await incidents.add_patients(visit.services, incident_id, patients, actor=visit.actor)
            return see_other(f"/operator/incidents/{incident_id}", "saved")
        except ServerError as exc:
            form.refuse(exc)
    return await _page(visit, form)


async def _list(visit: Visit, form: Form) -> Response:
    closed = visit.query("state") == "closed"
    found = await incidents.listed(visit.services, actor=visit.actor, closed=closed)
    return render(
        visit.request,
        "operator_incidents.html",
        200 if form else 422,
        here="operator",
        form=form,
        incidents=found,
        closed=closed,
        rules=incidents.RULES,
        sections=sections_of(visit),
    )


async def _page(visit: Visit, form: Form) -> Response:
    story = await incidents.story(visit.services, uuid_of(visit, "incident"), actor=visit.actor)
    return render(
        visit.request,
        "operator_incident.html",
        200 if form else 422,
        here="operator",
        form=form,
        story=story,
        incident=story.incident,
        rules=incidents.RULES,
        sections=sections_of(visit),
    )
