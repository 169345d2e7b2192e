"""Operators: projects of research, and what they are given. Numbers and pseudonyms; nobody's name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, time
from uuid import UUID

from starlette.responses import Response

from server.core.errors import ServerError
from server.core.texts import N_, translations
from server.imaging.deidentify import REASONS, Options
from server.rights import research, research_delivery, research_handover

from . import step_up
from .downloads import zip_answer
from .forms import Form, filled
from .operator import sections_of, uuid_of
from .pages import language_of, render, see_other
from .visit import Visit

HERE = "/operator/research"
OPTIONS = {
    "dates": N_("Keep intervals: dates are moved by one secret number of days a person"),
    "characteristics": N_("Keep sex, age, height, weight"),
    "device": N_("Keep names and serial numbers of devices"),
    "descriptors": N_("Keep descriptions, cleaned: listed words of radiology only"),
    "faces": N_("Give images of which a face could be made (head, neck, unknown parts of the body)"),
}
USUAL = ("dates", "characteristics", "descriptors")
STATES = {"proposed": N_("Waits for another operator"), "open": N_("Open"), "ended": N_("Ended")}
DELIVERIES = {
    "proposed": N_("Waits for another operator"),
    "preparing": N_("Being made"),
    "ready": N_("Ready"),
    "failed": N_("It could not be made."),
}
ACTS: dict[str, Callable[..., Awaitable[object]]] = {
    "approve": research.approve,
    "end": research.end,
    "deliver": research_delivery.ask,
}
DELIVERY_ACTS: dict[str, Callable[..., Awaitable[object]]] = {
    "approve": research_delivery.approve,
    "drop": research_delivery.drop,
}


async def show(visit: Visit) -> Response:
    """Every project; a form for a new one."""
    return await _list(visit, filled({}, options=USUAL))


@step_up.required
async def propose(visit: Visit) -> Response:
    """A new project, which another operator approves."""
    form = visit.form
    texts = {name: form.text(name) for name in ("name", "organization", "contact")}
    texts["description"] = form.lines("description", most=2000)
    texts["purpose"] = form.one_of("purpose", tuple(research.PURPOSES))
    chosen = form.some_of("options", tuple(OPTIONS))
    kinds = form.text("modalities", required=False)
    day = form.day("until")
    if form and day is not None:
        try:
            made = await research.propose(
                visit.services,
                **texts,
                options=Options(**{name: name in chosen for name in OPTIONS}),
                modalities=kinds.replace(",", " ").split(),
                until=datetime.combine(day, time(), UTC),
                actor=visit.actor,
            )
            return see_other(f"{HERE}/{made}", "proposed")
        except ServerError as exc:
            form.refuse(exc)
    return await _list(visit, form)


async def one(visit: Visit) -> Response:
    """One project: what it is, what it was given, what it has to delete."""
    return await _page(visit, Form())


async def act(visit: Visit) -> Response:
    """Approve it, end it, ask for a delivery."""
    return await _act(visit, ACTS, uuid_of(visit, "project"))


async def act_on_delivery(visit: Visit) -> Response:
    """Approve it, or drop it."""
    return await _act(visit, DELIVERY_ACTS, uuid_of(visit, "delivery"))


async def _act(visit: Visit, acts: dict[str, Callable[..., Awaitable[object]]], which: UUID) -> Response:
    if (asking := await step_up.require_recent(visit)) is not None:
        return asking
    form = visit.form
    what = form.one_of("do", tuple(acts))
    if form:
        try:
            await acts[what](visit.services, which, actor=visit.actor)
            return see_other(f"{HERE}/{visit.place('project')}", "saved")
        except ServerError as exc:
            if exc.status == 404:
                raise
            form.refuse(exc)
    return await _page(visit, form)


async def fetch(visit: Visit) -> Response:
    """The ZIP, whole or from where a download was cut (RFC 9110, 14); made while it is sent."""
    found = await research_handover.hand_over(visit.services, uuid_of(visit, "delivery"), actor=visit.actor)
    return zip_answer(visit, found, name="research.zip", etag=found.etag)


async def _list(visit: Visit, form: Form) -> Response:
    gettext = translations(language_of(visit.request, visit.me)).gettext
    return render(
        visit.request,
        "operator_research.html",
        200 if form else 422,
        here="operator",
        form=form,
        projects=await research.listed(visit.services, actor=visit.actor),
        purposes=research.PURPOSES,
        choices=[(each, gettext(name)) for each, name in research.PURPOSES.items()],
        states=STATES,
        options=OPTIONS,
        sections=sections_of(visit),
    )


async def _page(visit: Visit, form: Form) -> Response:
    services, actor = visit.services, visit.actor
    project = await research.one(services, uuid_of(visit, "project"), actor=actor)
    deliveries = []
    for each in await research_delivery.listed(services, project.id, actor=actor):
        lines = await research_delivery.summary(services, each.id, actor=actor)
        removed = await research_delivery.counts(services, each.id, actor=actor)
        deliveries.append((each, lines, removed))
    gone, aside = await research.to_delete(services, project.id, actor=actor)
    return render(
        visit.request,
        "operator_research_one.html",
        200 if form else 422,
        here="operator",
        form=form,
        project=project,
        deliveries=deliveries,
        gone=gone,
        aside=aside,
        reasons=REASONS,
        purposes=research.PURPOSES,
        states=STATES,
        delivery_states=DELIVERIES,
        options=[words for name, words in OPTIONS.items() if getattr(project.options, name)],
        sections=sections_of(visit),
    )
