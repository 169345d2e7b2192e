"""One account for a doctor who is a patient too: open a record of one's own, register as a doctor, change sides.

Pages show one side at a time. What the doctor's side reaches is what patients share; the own record is reached from
its own side only, and is written down there as its owner's.
"""

from __future__ import annotations

from starlette.responses import Response

from server.access.sign_in import SignedIn
from server.core.errors import Conflict, NotFound
from server.records.people import Registration, patient_of_account
from server.rights import doctors
from server.sharing import own_record

from . import permissions, words
from .forms import Form, filled, local_path
from .pages import render, see_other
from .step_up import require_recent
from .visit import Visit

HATS = {"patient": "/imaging", "doctor": "/my-patients"}


async def change(visit: Visit) -> Response:
    """To the other side. Raises NotFound for who has one side only."""
    me, hat = visit.signed_in, visit.form["hat"]
    if hat not in HATS or me.account_role != "doctor" or not me.records:
        raise NotFound()
    onward = local_path(visit.form["next"])
    response = see_other(onward if onward != "/" else HATS[hat])
    await _wear(visit, response, me, hat)
    return response


async def show_record(visit: Visit) -> Response:
    """A record of one's own, for a doctor."""
    return await _record_page(visit, Form())


async def open_record(visit: Visit) -> Response:
    """Make it, with the choices that every sign-up asks (product row 48)."""
    me, form, services = visit.signed_in, visit.form, visit.services
    born = form.day("birth_date", past=True)
    chosen = form.some_of("permission", [each.key for each in permissions.CHOICES])
    if not form or born is None:
        return await _record_page(visit, form)
    try:
        async with services.db.transaction():
            patient_id = await own_record.open_own(services, birth_date=born, actor=visit.actor)
            await permissions.choose(
                services,
                me.account_id,
                chosen,
                who=visit.actor.who(),
                patient_id=patient_id,
                channel="account",
            )
    except Conflict as exc:
        form.refuse(exc)
        return await _record_page(visit, form)
    response = see_other("/imaging", "own-record")
    await _wear(visit, response, me, "patient")
    return response


async def show_registration(visit: Visit) -> Response:
    """What a doctor says of being one; empty for a patient who registers as one."""
    if visit.signed_in.role == "patient":
        _require_no_doctor(visit)
        return await _registration_page(visit, Form())
    said, _ = await doctors.registration_of(visit.services, _doctor_id(visit))
    values = {"number": said.number, "authority": said.authority}
    return await _registration_page(
        visit, filled(values | {"specialty": said.specialty, "organization": said.organization})
    )


async def submit_registration(visit: Visit) -> Response:
    """Keep it: not checked from then on. A patient is a doctor too from then on."""
    me, form = visit.signed_in, visit.form
    registration = Registration(
        number=form.text("number", most=80),
        authority=form.text("authority"),
        specialty=form.text("specialty", most=120),
        organization=form.text("organization"),
    )
    if me.role == "patient":
        _require_no_doctor(visit)
    else:
        _doctor_id(visit)
    if not form:
        return await _registration_page(visit, form)
    if (asking := await require_recent(visit)) is not None:
        return asking
    if me.role == "doctor":
        changed = await doctors.change_registration(visit.services, registration, actor=visit.actor)
        return see_other("/account", "registration" if changed else "saved")
    await doctors.register(visit.services, registration, email=me.email, actor=visit.actor)
    response = see_other("/my-patients", "registered")
    await _wear(visit, response, me, "doctor")  # a new cookie: what processes remember is of a patient
    return response


def _require_no_doctor(visit: Visit) -> None:
    """A doctor who looks at the own record changes the registration on the other side."""
    if visit.signed_in.account_role != "patient":
        raise NotFound()


def _doctor_id(visit: Visit) -> str:
    if visit.signed_in.practitioner_id is None:
        raise NotFound()
    return visit.signed_in.practitioner_id


async def _wear(visit: Visit, response: Response, me: SignedIn, hat: str) -> None:
    kept = "patient" if hat == "patient" else ""
    await visit.services.gate.sign_in.wear(visit.request, response, me, kept)


async def _record_page(visit: Visit, form: Form) -> Response:
    me = visit.signed_in
    if me.role != "doctor" or await patient_of_account(visit.services, me.account_id):
        raise NotFound()
    if not form.values:
        given = await permissions.current(visit.services, me.account_id)
        form.lists["permission"] = [key for key, each in given.items() if each.given]
    return render(
        visit.request,
        "own_record.html",
        200 if form else 422,
        here="account",
        form=form,
        permissions=permissions.CHOICES,
    )


async def _registration_page(visit: Visit, form: Form) -> Response:
    me, state, history = visit.signed_in, "", []
    if me.practitioner_id is not None:
        _, state = await doctors.registration_of(visit.services, me.practitioner_id)
        history = await doctors.judgements_of(visit.services, me.practitioner_id)
    return render(
        visit.request,
        "registration.html",
        200 if form else 422,
        here="account",
        form=form,
        state=state,
        states=words.VERIFICATION,
        history=history,
    )
