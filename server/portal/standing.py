"""What the patient says of a study: mine, not mine, delete it, bring it back."""

from __future__ import annotations

from starlette.responses import PlainTextResponse, Response

from server.access.action import STUDY_DELETE, STUDY_READ, Action, Verb
from server.core.errors import NotFound
from server.imaging import removal
from server.imaging.removal import Standing

from . import step_up, studies
from .pages import HEADERS, language_of, render, see_other
from .profile import own_id
from .visit import Visit

STUDY_UPDATE = Action("ImagingStudy", Verb.UPDATE)


async def mine(visit: Visit) -> Response:
    """It is the patient's: from now on part of what they share."""
    await _say(visit, Standing.MINE)
    return see_other(f"/studies/{visit.place('uid')}", "mine")


async def not_mine(visit: Visit) -> Response:
    """It is somebody else's: gone from the record; can be taken back for 30 days."""
    await _say(visit, Standing.NOT_MINE)
    return see_other("/imaging", "not-mine")


@step_up.required
async def delete(visit: Visit) -> Response:
    """Invisible at once, to everyone; can be taken back for 30 days."""
    reach = (await visit.reach(STUDY_DELETE)).at(await own_id(visit))
    await removal.delete(visit.services, visit.place("uid"), reach=reach, actor=visit.actor)
    return see_other("/imaging", "deleted")


async def restore(visit: Visit) -> Response:
    """Bring back what was deleted, or said not to be mine."""
    patient_id, uid = await own_id(visit), visit.place("uid")
    if visit.form["was"] == Standing.NOT_MINE:
        await _say(visit, Standing.MINE)
    else:
        reach = await visit.reach(STUDY_UPDATE)
        await removal.restore(visit.services, patient_id, uid, reach=reach, actor=visit.actor)
    return see_other(f"/studies/{uid}", "restored")


async def hashes(visit: Visit) -> Response:
    """SHA-256 of every original of a study, in the form that `sha256sum --check` reads beside the unpacked ZIP."""
    reach = (await visit.reach(STUDY_READ)).at(await own_id(visit))
    listed = await studies.hashes_of(visit.services.db, visit.place("uid"), reach=reach)
    if not listed:
        raise NotFound()
    lines = "".join(f"{digest}  {name}\n" for digest, name in listed)
    return PlainTextResponse(lines, headers=HEADERS)


async def removed(visit: Visit) -> Response:
    """What was removed in the last 30 days."""
    patient_id = await own_id(visit)
    reach = (await visit.reach(STUDY_READ)).at(patient_id)
    listed = await studies.removed(
        visit.services.db, patient_id, reach=reach, language=language_of(visit.request, visit.me)
    )
    return render(visit.request, "removed.html", here="imaging", studies=listed)


async def _say(visit: Visit, standing: Standing) -> None:
    patient_id, reach = await own_id(visit), await visit.reach(STUDY_UPDATE)
    await removal.say(
        visit.services, patient_id, visit.place("uid"), standing, reach=reach, actor=visit.actor
    )
