"""Operators: one record by its id: state, holds, disclosures, emergency access. No name, no health data."""

from __future__ import annotations

from datetime import UTC, datetime, time

from starlette.responses import Response

from server.core.errors import NotFound, ServerError
from server.rights import disclosures, emergency, holds, operating, parting, proposals, restriction

from . import step_up
from .forms import Form
from .operator import sections_of, uuid_of
from .pages import render, see_other
from .visit import Visit


async def show(visit: Visit) -> Response:
    """Look up a record; what lasts of one's own emergency access."""
    return await _page(visit, Form(), visit.query("record").strip())


@step_up.required
async def restrict(visit: Visit) -> Response:
    """Restrict, or free."""
    form, record = visit.form, visit.place("record")
    why = form.lines("reason", most=500)
    try:
        if form and form["do"] == "free":
            await restriction.end_by_operator(visit.services, record, actor=visit.actor)
        elif form:
            await restriction.begin_by_operator(visit.services, record, actor=visit.actor, why=why)
    except ServerError as exc:
        form.refuse(exc)
    return await _answer(visit, record)


@step_up.required
async def propose_hold(visit: Visit) -> Response:
    """A hold, which a second operator places."""
    form, record = visit.form, visit.place("record")
    texts = {name: form.lines(name, most=1000) for name in ("authority", "scope", "reason")}
    review = form.day("review_at")
    if form and review is not None:
        at = datetime.combine(review, time(), UTC)
        try:
            await proposals.propose_hold(visit.services, record, review_at=at, actor=visit.actor, **texts)
            return see_other("/operator/proposals", "proposed")
        except ServerError as exc:
            form.refuse(exc)
    return await _answer(visit, record)


@step_up.required
async def propose_export(visit: Visit) -> Response:
    """A copy of everything for its person, which a second operator has made."""
    form, record = visit.form, visit.place("record")
    reason = form.lines("copy_reason", most=1000)
    if form:
        await proposals.propose_export(visit.services, record, reason=reason, actor=visit.actor)
        return see_other("/operator/proposals", "proposed")
    return await _page(visit, form, record)


@step_up.required
async def propose_release(visit: Visit) -> Response:
    """The end of a hold, which a second operator decides."""
    reason = visit.form.lines("reason", most=1000)
    if visit.form:
        await proposals.propose_release(
            visit.services, uuid_of(visit, "hold"), reason=reason, actor=visit.actor
        )
        return see_other("/operator/proposals", "proposed")
    return see_other("/operator/proposals")


@step_up.required
async def part(visit: Visit) -> Response:
    """Take a record out again that was joined with this one."""
    form, record = visit.form, visit.place("record")
    reason = form.lines("parting_reason", most=1000)
    if form:
        try:
            await parting.undo(visit.services, uuid_of(visit, "merger"), reason=reason, actor=visit.actor)
            return see_other(f"/operator/records?record={record}", "parted")
        except ServerError as exc:
            form.refuse(exc)
    return await _page(visit, form, record)


@step_up.required
async def begin_emergency(visit: Visit) -> Response:
    """Open one record for two hours; the person is told."""
    form, record = visit.form, visit.place("record")
    reason = form.lines("emergency_reason", most=1000)
    if form:
        try:
            await emergency.begin(visit.services, record, reason=reason, actor=visit.actor)
        except ServerError as exc:
            form.refuse(exc, "emergency_reason")
    return await _answer(visit, record)


async def end_emergency(visit: Visit) -> Response:
    """Before its time."""
    await emergency.end(visit.services, uuid_of(visit, "emergency"), actor=visit.actor)
    return see_other("/operator/records", "saved")


async def show_proposals(visit: Visit) -> Response:
    """What waits for a second operator, and the holds in force."""
    return render(
        visit.request,
        "operator_proposals.html",
        here="operator",
        proposals=await proposals.listed(visit.services, actor=visit.actor),
        kinds=proposals.KINDS,
        holds=await holds.listed(visit.services, actor=visit.actor),
        sections=sections_of(visit),
    )


@step_up.required
async def decide(visit: Visit) -> Response:
    """Do it, or refuse it."""
    do = visit.form["do"] == "yes"
    await proposals.decide(visit.services, uuid_of(visit, "proposal"), do=do, actor=visit.actor)
    return see_other("/operator/proposals", "saved")


async def show_disclosures(visit: Visit) -> Response:
    """What was given to authorities."""
    return await _disclosures(visit, Form())


@step_up.required
async def disclose(visit: Visit) -> Response:
    """Write one down; the patient is told, unless an authority forbids it until a date."""
    form = visit.form
    record = form.text("record", most=64)
    texts = {
        name: form.lines(name, most=1000) for name in ("recipient", "description", "purpose", "legal_basis")
    }
    day = form.day("disclosed_at", past=True)
    until = form.day("suspended_until", required=False)
    by = form.text("suspended_by", required=False)
    if form and day is not None:
        try:
            await disclosures.add(
                visit.services,
                record,
                disclosed_at=datetime.combine(day, time(), UTC),
                suspended_until=datetime.combine(until, time(), UTC) if until else None,
                suspended_by=by,
                actor=visit.actor,
                **texts,
            )
            return see_other("/operator/disclosures", "saved")
        except ServerError as exc:
            form.refuse(exc)
    return await _disclosures(visit, form)


async def _disclosures(visit: Visit, form: Form) -> Response:
    return render(
        visit.request,
        "operator_disclosures.html",
        200 if form else 422,
        here="operator",
        form=form,
        disclosures=await disclosures.listed(visit.services, actor=visit.actor),
        sections=sections_of(visit),
    )


async def _answer(visit: Visit, record: str) -> Response:
    if visit.form:
        return see_other(f"/operator/records?record={record}", "saved")
    return await _page(visit, visit.form, record)


async def _page(visit: Visit, form: Form, record: str) -> Response:
    services, actor, state = visit.services, visit.actor, None
    if record:
        try:
            state = await operating.record_state(services, record, actor=actor)
        except NotFound as exc:
            form.refuse(exc, "record")
    own = await emergency.own(services, actor=actor)
    all_holds = await holds.listed(services, actor=actor) if record else []
    mergers = await parting.mergers_of(services, record, actor=actor) if state else []
    form.values["record"] = record
    return render(
        visit.request,
        "operator_records.html",
        200 if form else 422,
        here="operator",
        form=form,
        state=state,
        record=record,
        open_now=own,
        opened=next((each for each in own if each.patient_id == record), None),
        mergers=[(each, await parting.sent_meanwhile(services, each, actor=actor)) for each in mergers],
        holds=[each for each in all_holds if each.patient_id == record],
        privacy="privacy" in visit.signed_in.duties,
        sections=sections_of(visit),
    )
