"""The doctor's home: patients who share, and each one's studies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.responses import Response

from server.access.action import STUDY_SEARCH, Right
from server.accounts import people
from server.core.errors import AlreadyStored, Conflict, Forbidden, NotFound, TooManyRequests, Unprocessable
from server.core.texts import N_
from server.records.fold import fold
from server.sharing import invitation, made_profile, merged, request, share, team
from server.storage.sql import load

from . import studies, words
from .forms import Form, filled
from .imaging import PAGE, entries_of, page_of
from .pages import language_of, render, see_other
from .profile import PATIENT_READ, Profile
from .visit import Visit

QUERIES = load(__package__)
MOST_COMPARED = 8
SIDE_BY_SIDE = "@ohif/hpCompare"  # of OHIF: a study beside the other


@dataclass(frozen=True)
class Patient:
    """A patient in the doctor's list."""

    id: str
    share_id: str
    name: str
    birth_date: str  # spelled out
    born: str  # as the profile has it: to search and sort by
    studies: int
    fresh: int  # came in since the doctor last looked
    since: datetime | None
    until: datetime | None
    rights: frozenset[Right]

    @property
    def may_pass_on(self) -> bool:
        return Right.PASS_ON in self.rights


SORTS: dict[str, tuple[str, Callable[[Patient], Any]]] = {
    "new": (N_("New first"), lambda each: (each.fresh == 0, each.name.casefold())),
    "name": (N_("Name"), lambda each: each.name.casefold()),
    "since": (N_("Last to share"), lambda each: -each.since.timestamp() if each.since else 0.0),
    "born": (N_("Date of birth"), lambda each: each.born or "9999"),
    "studies": (N_("Most studies"), lambda each: -each.studies),
}


async def patients(visit: Visit) -> Response:
    """Who shares now: those with something new first, or in the order that is chosen."""
    return await _patients_page(visit, visit.query("sort"))


async def search(visit: Visit) -> Response:
    """Those of this name or birth date. By POST: what is looked for belongs in no address and no log."""
    text = visit.form.text("text", required=False)
    return await _patients_page(visit, visit.form["sort"], text if visit.form else "")


async def _patients_page(visit: Visit, sort: str, text: str = "") -> Response:
    chosen = sort if sort in SORTS else "new"
    every = await patients_of(visit)
    wanted = fold(text).split()
    listed = [
        each
        for each in every
        if all(word in fold(f"{each.name} {each.birth_date} {each.born}") for word in wanted)
    ]
    listed.sort(key=SORTS[chosen][1])
    waiting = await invitation.waiting(visit.services, actor=visit.actor)
    practitioner = await visit.services.db.fetch_one(
        QUERIES["practitioner"], {"id": visit.signed_in.practitioner_id}
    )
    return render(
        visit.request,
        "patients.html",
        here="patients",
        patients=listed,
        total=len(every),
        text=text,
        sort=chosen,
        sorts=[(key, name) for key, (name, _) in SORTS.items()],
        invitations=waiting,
        verification=practitioner["verification"] if practitioner else "unverified",
    )


async def show_ask(visit: Visit) -> Response:
    """Ask a patient for access ahead of an appointment."""
    return await _ask_page(visit, Form())


async def ask(visit: Visit) -> Response:
    """The same answer for every address: whether it belongs to anybody here is not the doctor's to learn."""
    form = visit.form
    email, message = (
        form.checked("email", people.normal_email),
        form.lines("message", required=False, most=1000),
    )
    if form:
        try:
            await request.ask(visit.services, email, message=message, actor=visit.actor)
            return see_other("/my-patients/ask", "asked-for")
        except (Unprocessable, TooManyRequests, Forbidden) as exc:
            form.refuse(exc)
    return await _ask_page(visit, form)


async def _ask_page(visit: Visit, form: Form) -> Response:
    asked = await request.asked_by(visit.services, actor=visit.actor)
    status = 200 if form else 422
    return render(
        visit.request, "ask.html", status, here="patients", form=form, asked=asked, states=words.STATES
    )


async def patient(visit: Visit) -> Response:
    """One patient: everything they share, on one page."""
    try:
        found = await patient_of(visit)
    except NotFound:
        reach = await visit.reach(PATIENT_READ)
        went = await merged.target_of(visit.services, visit.place("patient"), reach=reach)
        if went is None:
            raise
        return see_other(f"/my-patients/{went}")  # the patient has joined two records since
    wanted = found.id
    reach = (await visit.reach(STUDY_SEARCH)).at(wanted)
    await share.note_look(visit.services, wanted, str(visit.signed_in.practitioner_id))
    number = visit.number("page")
    total, _ = await studies.count(visit.services.db, reach=reach)
    entries, papers = await entries_of(visit, wanted, number=number)
    return render(
        visit.request,
        "patient.html",
        here="patients",
        patient=found,
        total=total,
        groups=list(studies.by_year(entries)),
        may_add=Right.ADD in found.rights,
        waits=await made_profile.is_waiting(visit.services, found.id),
        page=page_of(visit, number, PAGE, total + papers),
    )


async def compare(visit: Visit) -> Response:
    """The ticked studies side by side in the viewer, which asks for each of them with the rights of this session."""
    found = await patient_of(visit)
    ticked = [uid for uid in visit.request.query_params.getlist("study") if studies.is_uid(uid)]
    if not 2 <= len(ticked) <= MOST_COMPARED:
        return see_other(f"/my-patients/{found.id}", "tick-two")
    asked = {"StudyInstanceUIDs": ",".join(ticked), "patient": found.id, "hangingProtocolId": SIDE_BY_SIDE}
    query = urlencode(asked)
    return see_other(f"/viewer/viewer?{query}")


async def give_back(visit: Visit) -> Response:
    """End the access from the doctor's side; the patient is told."""
    found = await patient_of(visit)
    await invitation.give_back(visit.services, found.share_id, actor=visit.actor)
    return see_other("/my-patients", "given-back")


async def show_pass_on(visit: Visit) -> Response:
    """Pass on to a colleague in the care team, where the patient allowed it."""
    found = await patient_of(visit, may_pass_on=True)
    usual = [str(right) for right in share.USUAL_RIGHTS if right in found.rights]
    return await _pass_on_page(visit, found, filled({}, right=usual))


async def pass_on(visit: Visit) -> Response:
    """Invite the colleague; the patient sees it at once, and that it came from here."""
    found, form = await patient_of(visit, may_pass_on=True), visit.form
    name, email = form.text("name"), form.checked("email", people.normal_email)
    rights = form.some_of("right", [str(right) for right in _offered(found)])
    message = form.lines("message", required=False, most=1000)
    if not rights:
        form.wrong("right", N_("Choose at least one thing they can do."))
    if form:
        try:
            await team.pass_on(
                visit.services,
                found.share_id,
                name=name,
                email=email,
                rights=rights,
                message=message,
                actor=visit.actor,
            )
            return see_other(f"/my-patients/{found.id}/pass-on", "invited")
        except (Unprocessable, AlreadyStored, Forbidden) as exc:
            form.refuse(exc)
    return await _pass_on_page(visit, found, form)


async def take_back(visit: Visit) -> Response:
    """End what was passed on."""
    found = await patient_of(visit)
    with suppress(Conflict):  # the page shows what it is by now
        await team.take_back(visit.services, visit.place("share"), actor=visit.actor)
    return see_other(f"/my-patients/{found.id}/pass-on", "taken-back")


async def _pass_on_page(visit: Visit, found: Patient, form: Form) -> Response:
    return render(
        visit.request,
        "pass_on.html",
        200 if form else 422,
        here="patients",
        form=form,
        patient=found,
        passed=await team.passed_on(visit.services, found.share_id, actor=visit.actor),
        rights=[(str(right), words.RIGHTS[right]) for right in _offered(found)],
        states=words.STATES,
    )


def _offered(found: Patient) -> list[Right]:
    """Nobody passes on more than they have, nor the right to pass on."""
    return [right for right in Right if right in found.rights and right is not Right.PASS_ON]


async def patient_of(visit: Visit, *, may_pass_on: bool = False) -> Patient:
    """The patient of the path, who shares with the doctor now. Raises NotFound."""
    wanted = visit.place("patient")
    found = next((each for each in await patients_of(visit) if each.id == wanted), None)
    if found is None or (may_pass_on and not found.may_pass_on):
        raise NotFound()
    return found


async def patients_of(visit: Visit) -> list[Patient]:
    """Everyone who shares with the doctor now."""
    sharing = await share.list_for_practitioner(visit.services, actor=visit.actor)
    if not sharing:
        return []
    language, db = language_of(visit.request, visit.me), visit.services.db
    ids = {"ids": sorted({each.share.patient_id for each in sharing})}
    profiles = await db.fetch_all(
        QUERIES["profiles"], ids, reach=(await visit.reach(PATIENT_READ)).resources()
    )
    known = {row["patient_id"]: Profile(row["patient_id"], orjson.loads(row["json"])) for row in profiles}
    counts = await db.fetch_all(
        QUERIES["study_counts"],
        ids | {"practitioner": visit.signed_in.practitioner_id},
        reach=(await visit.reach(STUDY_SEARCH)).studies(),
    )
    counted = {row["patient_id"]: (row["total"], row["fresh"]) for row in counts}
    found: dict[str, Patient] = {}
    for each in sharing:
        one, profile = each.share, known.get(each.share.patient_id)
        total, fresh = counted.get(one.patient_id, (0, 0))
        born = words.day(profile.birth_day, language) or profile.birth_date if profile else ""
        name = (profile.name if profile else "") or each.name
        found.setdefault(
            one.patient_id,
            Patient(
                one.patient_id,
                one.id,
                name,
                born,
                profile.birth_date if profile else "",
                total,
                fresh,
                one.accepted_at,
                one.until,
                one.rights,
            ),
        )
    return list(found.values())
