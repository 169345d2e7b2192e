"""Operators: what people wrote to us, rights requests with their clock first (product rows 37, 38, 63)."""

from __future__ import annotations

from starlette.responses import Response

from server.core.errors import NotFound, ServerError
from server.rights import operators, requests

from .forms import Form
from .help import SUBJECTS
from .operator import sections_of, uuid_of
from .pages import render, see_other
from .visit import Visit

ACTS = ("classify", "identify", "extend", "note", "close")


async def show(visit: Visit) -> Response:
    """The queue: what is due first stands first."""
    closed = visit.query("state") == "closed"
    found = await requests.listed(visit.services, _subjects(visit), actor=visit.actor, closed=closed)
    return render(
        visit.request,
        "operator_requests.html",
        here="operator",
        requests=found,
        closed=closed,
        subjects=SUBJECTS,
        kinds=requests.KINDS,
        outcomes=requests.OUTCOMES,
        sections=sections_of(visit),
    )


async def one(visit: Visit) -> Response:
    """What was written, and what was done about it."""
    return await _page(visit, Form())


async def act(visit: Visit) -> Response:
    """Sort, recognise, extend, note, close."""
    form, request_id = visit.form, uuid_of(visit, "request")
    what = form.one_of("act", ACTS)
    try:
        if form:
            await requests.act(
                visit.services,
                request_id,
                _subjects(visit),
                what=what,
                text=form["text"],
                choice=form["choice"],
                actor=visit.actor,
            )
            return see_other(f"/operator/requests/{request_id}", "saved")
    except ServerError as exc:
        if exc.status == 404:
            raise
        form.refuse(exc)
    return await _page(visit, form)


async def find_record(visit: Visit) -> Response:
    """From who wrote to the record it is about."""
    _, content, _ = await requests.read(
        visit.services, uuid_of(visit, "request"), _subjects(visit), actor=visit.actor
    )
    try:
        found = await operators.patient_of_email(visit.services, str(content["email"]), actor=visit.actor)
    except NotFound as exc:
        form = Form()
        form.refuse(exc)
        return await _page(visit, form)
    return see_other(f"/operator/records?record={found}")


def _subjects(visit: Visit) -> list[str]:
    return requests.subjects_of(visit.signed_in.duties)


async def _page(visit: Visit, form: Form) -> Response:
    found, content, notes = await requests.read(
        visit.services, uuid_of(visit, "request"), _subjects(visit), actor=visit.actor
    )
    return render(
        visit.request,
        "operator_request.html",
        200 if form else 422,
        here="operator",
        form=form,
        asked=found,
        content=content,
        notes=notes,
        subjects=SUBJECTS,
        kinds=requests.KINDS,
        outcomes=requests.OUTCOMES,
        privacy="privacy" in visit.signed_in.duties,
        sections=sections_of(visit),
    )
