"""Research: the projects that may be given images without a name; joining, leaving (rows 48, 57, 61-62)."""

from __future__ import annotations

from uuid import UUID

from starlette.responses import Response

from server.core.errors import Conflict, NotFound
from server.core.texts import N_
from server.records.people import patient_of_account
from server.rights import research

from .forms import Form
from .pages import language_of, render, see_other
from .visit import Visit

HERE = "/account/research"
OPTIONS = {
    "dates": N_("Dates are moved, all by the same number of days that nobody knows."),
    "characteristics": N_("Sex, age, height and weight stay. An age above 90 is given as 90."),
    "device": N_("Names and serial numbers of the devices stay."),
    "faces": N_("Images of the head are given too: a face could be made of them."),
}


async def show(visit: Visit) -> Response:
    """What there is to take part in, and what was chosen before."""
    return await _page(visit, Form())


async def act(visit: Visit) -> Response:
    """Join or leave. Joining needs a tick; leaving needs nothing."""
    project_id, form = _uuid(visit.place("project")), visit.form
    reach = await visit.own_reach(research.CONSENT_UPDATE)
    patient_id = await _own_record(visit)
    if form["do"] == "leave":
        await research.leave(visit.services, project_id, patient_id, actor=visit.holder, reach=reach)
        return see_other(HERE, "research-left")
    if form["agree"] != "yes":
        form.wrong(f"agree-{project_id}-yes", N_("Tick the box if you agree."))
    else:
        language = language_of(visit.request, visit.me)
        try:
            await research.join(
                visit.services, project_id, patient_id, language=language, actor=visit.holder, reach=reach
            )
            return see_other(HERE, "research-joined")
        except Conflict as exc:
            form.refuse(exc)
    return await _page(visit, form)


async def _own_record(visit: Visit) -> str:
    """Nobody gives somebody else's images away: not a child's, not a relative's. Raises NotFound without a record."""
    found = await patient_of_account(visit.services, visit.signed_in.account_id)
    if found is None:
        raise NotFound()
    return found


async def _page(visit: Visit, form: Form) -> Response:
    patient_id = await _own_record(visit)
    reach = await visit.own_reach(research.CONSENT_UPDATE)
    offers = await research.offers(visit.services, patient_id, actor=visit.holder)
    past = await research.history(visit.services, patient_id, reach=reach)
    return render(
        visit.request,
        "research.html",
        200 if form else 422,
        here="account",
        form=form,
        mine=[each for each in offers if each.joined_at],
        others=[each for each in offers if not each.joined_at],
        past=[each for each in past if each["left_at"]],
        purposes=research.PURPOSES,
        options=OPTIONS,
        ask=research.ASK,
    )


def _uuid(value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError as exc:
        raise NotFound() from exc
