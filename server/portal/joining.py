"""Two records of one person: making one of them, and what both held with other content."""

from __future__ import annotations

from starlette.responses import Response, StreamingResponse

from server.access.action import STUDY_READ
from server.audit.events import Event
from server.core.errors import Conflict, NotFound
from server.core.texts import N_
from server.sharing import holding, merged, merging
from server.storage.db import Record

from . import step_up
from .forms import Form
from .pages import HEADERS, render, see_other
from .profile import own_id
from .visit import Visit


async def show(visit: Visit) -> Response:
    """What happens when these two records become one. Before anything does."""
    return await _page(visit, Form(), visit.query("record"))


@step_up.required
async def submit(visit: Visit) -> Response:
    """Join the other record of one's own with the one that the pages show."""
    form, other = visit.form, visit.form["record"]
    if not form.has("same"):
        form.wrong("same-yes", N_("Tick the box if both records are yours."))
        return await _page(visit, form, other)
    try:
        await merging.join(visit.services, other, await own_id(visit), actor=visit.actor)
    except Conflict as exc:
        form.refuse(exc)
        return await _page(visit, form, other)
    return see_other("/imaging", "joined")


async def other_versions(visit: Visit, patient_id: str, study_uid: str) -> list[Record]:
    """Images of a study that came twice with other content, when two records were joined."""
    reach = (await visit.reach(STUDY_READ)).at(patient_id)
    return await merged.other_versions(visit.services, patient_id, study_uid, reach=reach)


async def download(visit: Visit) -> Response:
    """The second version of an image, byte for byte."""
    patient_id = await own_id(visit)
    found = await other_versions(visit, patient_id, visit.place("uid"))
    row = next((each for each in found if each["sop_uid"] == visit.place("sop")), None)
    if row is None:
        raise NotFound()
    services = visit.services
    detail = {"study": row["study_uid"], "instance": row["sop_uid"], "version": "other"}
    await services.audit.record(
        Event.STUDY_DOWNLOADED, who=visit.actor.who(), patient_id=patient_id, detail=detail
    )
    headers = {
        **HEADERS,
        "Content-Length": str(row["size"]),
        "Content-Disposition": f'attachment; filename="{row["sop_uid"]}.other.dcm"',
    }
    return StreamingResponse(
        services.objects.stream(merged.address_of(services, row)),
        media_type="application/dicom",
        headers=headers,
    )


async def _page(visit: Visit, form: Form, other: str) -> Response:
    held = await holding.held_by(visit.services, actor=visit.actor)
    here = await own_id(visit)
    own = {each.patient_id: each for each in held if each.is_own}
    if other not in own or here not in own or other == here:
        raise NotFound()
    return render(
        visit.request,
        "join.html",
        200 if form else 422,
        here="account",
        form=form,
        kept=own[here],
        other=own[other],
    )
