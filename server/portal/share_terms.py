"""What a share gives, chosen by the patient: before it is sent, when a request is answered, and any time after.

`preview` shows the doctor's page as it would be; `change` is the switches on a person's page; `seen` the switch
beside one study.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

from starlette.responses import Response

from server.access.action import STUDY_READ, STUDY_SEARCH, Action, Right, Verb
from server.access.reach import NOTHING
from server.core import clock
from server.core.errors import AlreadyStored, Conflict, Unprocessable
from server.core.texts import N_
from server.sharing import share
from server.sharing.model import MOST_STUDIES, Share, State

from . import matches, reports, share_choice, studies, words
from .forms import Form
from .pages import language_of, render, see_other
from .people_seeing import CONSENT_READ
from .profile import own, own_id
from .studies import Study
from .visit import Visit

CONSENT_UPDATE = Action("Consent", Verb.UPDATE)
OFFERED = tuple(Right)
MOST_SHOWN = 8  # studies of a preview
NOTHING_CHOSEN = N_("Choose at least one thing they can do.")


async def preview(visit: Visit, form: Form, *, rights: Sequence[str], chosen: list[str] | None) -> Response:
    """The page of the doctor as it will be, before the invitation is sent; everything typed is kept."""
    profile, language = await own(visit), language_of(visit.request, visit.me)
    reach = (await visit.reach(STUDY_SEARCH)).at(profile.id)
    may_read = Right.REPORTS in rights
    counted = (await visit.reach(reports.REPORT_READ)).at(profile.id) if may_read else NOTHING
    listed: list[Study] = []
    if Right.IMAGES in rights:
        match = matches.sharable(chosen)
        listed = await studies.find(
            visit.services.db, reach=reach, reports=counted, match=match, limit=MOST_SHOWN, language=language
        )
    total = len(await studies.uids_of(visit.services.db, profile.id, reach=reach))
    kept = [
        (name, value)
        for name, values in form.lists.items()
        if name not in ("csrf", "act", "confirm_password")
        for value in values
    ]
    return render(
        visit.request,
        "share_preview.html",
        here="sharing",
        form=form,
        kept=kept,
        whose=profile,
        birth_date=words.day(profile.birth_day, language),
        rights=[words.RIGHTS[right] for right in OFFERED if right in rights],
        withheld=[words.RIGHTS[right] for right in OFFERED if right not in rights],
        sees_images=Right.IMAGES in rights,
        studies=listed,
        more=max(0, (len(chosen) if chosen else total) - len(listed)) if Right.IMAGES in rights else 0,
        chosen=chosen is not None,
        until=end_of_day(form, "until"),
    )


async def allow(visit: Visit) -> Response:
    """Answer a doctor's request with yes, to the terms on the page."""
    return await _set(visit, State.REQUESTED, "request-accepted")


async def change(visit: Visit) -> Response:
    """The switches of a person's page; they hold from the next request on."""
    return await _set(visit, State.ACTIVE, "share-changed")


async def seen(visit: Visit) -> Response:
    """Let one person see one study, or not."""
    uid, patient_id = visit.place("uid"), await own_id(visit)
    found = await share.get(visit.services, visit.form["share"], reach=await visit.reach(CONSENT_READ))
    _require(found, patient_id)
    reach = (await visit.reach(STUDY_READ)).at(patient_id)
    await studies.one(visit.services.db, uid, reach=reach)  # or there is nothing to be seen
    now = found.studies
    if now is None:
        now = tuple(await studies.uids_of(visit.services.db, patient_id, reach=reach))
        if visit.form["sees"] == "yes":
            return see_other(f"/studies/{uid}")
    wanted = [*now, uid] if visit.form["sees"] == "yes" else [each for each in now if each != uid]
    if not wanted:
        raise Unprocessable(N_("This is the only study they can see: end sharing with them instead."))
    if len(wanted) > MOST_STUDIES:
        raise Unprocessable(
            N_("There are too many studies to leave one out; end sharing, or share a choice.")
        )
    await share.change(
        visit.services,
        found.id,
        rights=[str(right) for right in found.rights],
        studies=wanted,
        until=found.until,
        actor=visit.actor,
        reach=await visit.reach(CONSENT_UPDATE),
    )
    return see_other(f"/studies/{uid}", "seen-changed")


async def _set(visit: Visit, state: State, done: str) -> Response:
    """The terms of the form, for a share that stands so; what the form does not ask about stays as it is."""
    share_id, form = visit.place("share"), visit.form
    found = await share.get(visit.services, share_id, reach=await visit.reach(CONSENT_READ))
    _require(found, await own_id(visit))
    until, rights = end_of_day(form, "until"), form.some_of("right", [str(each) for each in OFFERED])
    chosen = share_choice.read_terms(form, found.studies, asked=state is State.REQUESTED)
    if "terms" not in form.values:
        rights = [str(each) for each in found.rights]
    if not rights:
        form.wrong("right", NOTHING_CHOSEN)
    if not form:
        return await _again(visit, found, form)
    act = share.grant if state is State.REQUESTED else share.change
    terms = {"rights": rights, "studies": chosen, "until": until}
    try:
        await act(
            visit.services,
            share_id,
            **terms,  # type: ignore[arg-type]
            actor=visit.actor,
            reach=await visit.reach(CONSENT_UPDATE),
        )
    except Unprocessable as exc:
        form.refuse(exc)
        return await _again(visit, found, form)
    except (Conflict, AlreadyStored):  # the page says what it is by now
        return see_other(f"/sharing/{share_id}")
    return see_other(f"/sharing/{share_id}", done)


async def _again(visit: Visit, found: Share, form: Form) -> Response:
    from . import sharing  # it stands above this file

    return await sharing.person_page(visit, found, form)


def _require(found: Share, patient_id: str) -> None:
    if found.patient_id != patient_id:
        raise Unprocessable("This share belongs to another profile that you hold.")


def end_of_day(form: Form, name: str) -> datetime | None:
    """The end of the chosen day."""
    day = form.day(name, required=False)
    if day is None:
        return None
    end = datetime.combine(day, time(), UTC) + timedelta(days=1)
    if end <= clock.now():
        form.wrong(name, N_("This date has passed."))
    return end
