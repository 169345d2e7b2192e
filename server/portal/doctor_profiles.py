"""The doctor's day for patients without an account, and in an emergency: make a record, upload, hand it over, open."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from server.access.action import STUDY_SEARCH, Right
from server.accounts import people
from server.core.errors import Forbidden, NotFound, TooManyRequests, Unprocessable
from server.sharing import break_glass, made_profile

from . import studies, upload
from .account import GENDERS
from .doctor import Patient, patient_of
from .forms import Form
from .pages import HEADERS, language_of, render, see_other
from .profile import of
from .visit import Visit


async def show_new(visit: Visit) -> Response:
    """A record for a patient who has none."""
    return _new_page(visit, Form())


async def create(visit: Visit) -> Response:
    """Make it; the code for the patient is shown this once."""
    form = visit.form
    name, born = form.text("name"), form.day("birth_date", past=True)
    sex = form.one_of("gender", list(GENDERS))
    email = form.checked("email", people.normal_email) if form["email"].strip() else ""
    if not form or born is None:
        return _new_page(visit, form)
    try:
        made = await made_profile.make(
            visit.services, name=name, birth_date=born, sex=sex, email=email, actor=visit.actor
        )
    except (Forbidden, Unprocessable, TooManyRequests) as exc:
        form.refuse(exc)
        return _new_page(visit, form)
    return _code_page(visit, made.patient_id, name, made.code)


async def new_code(visit: Visit) -> Response:
    """Another code, while nobody owns the record."""
    found = await patient_of(visit)
    code = await made_profile.new_code(visit.services, found.share_id, actor=visit.actor)
    return _code_page(visit, found.id, found.name, code)


async def show_upload(visit: Visit) -> Response:
    """The uploader, for a patient whose share lets the doctor add."""
    found = await _adding(visit)
    profile = await of(visit, found.id)
    base = f"/my-patients/{found.id}/upload"
    setup: dict[str, Any] = upload.setup_of(visit, profile) | {
        "token": f"{base}/token",
        "held": f"{base}/held",
        "begin": "",
        "states": f"{base}/states",
    }
    script = upload.script_json(setup)
    return render(visit.request, "upload.html", here="patients", setup=script, unfinished=[], patient=found)


async def token(visit: Visit) -> Response:
    """The token of the session as it is now."""
    found = await _adding(visit)
    facts = {"csrf": visit.signed_in.csrf_token, "owner": found.id}
    return JSONResponse(facts, headers=HEADERS)


async def held(visit: Visit) -> Response:
    """Which of these instances the patient's record holds, as far as the doctor sees it."""
    found, uids = await _adding(visit), await upload.uids_of(visit)
    reach = (await visit.reach(STUDY_SEARCH)).at(found.id)
    return JSONResponse({"held": await studies.held(visit.services.db, uids, reach=reach)}, headers=HEADERS)


async def states(visit: Visit) -> Response:
    """How far the cataloguing of these studies is."""
    found, uids = await _adding(visit), await upload.uids_of(visit)
    reach = (await visit.reach(STUDY_SEARCH)).at(found.id)
    said = await upload.states_of(visit.services.db, uids, reach=reach)
    return JSONResponse({"states": said}, headers=HEADERS)


async def show_emergency(visit: Visit) -> Response:
    """Open a record with the code of the patient's card."""
    return _emergency_page(visit, Form())


async def open_emergency(visit: Visit) -> Response:
    """For two hours; the patient is told at once."""
    form = visit.form
    code, born = form.text("code", most=40), form.day("birth_date", past=True)
    reason = form.lines("reason", most=1000)
    if form and born is not None:
        try:
            share = await break_glass.open_record(
                visit.services, code, born.isoformat(), reason, actor=visit.actor
            )
            return see_other(f"/my-patients/{share.patient_id}")
        except (Forbidden, Unprocessable, TooManyRequests) as exc:
            form.refuse(exc)
    return _emergency_page(visit, form)


async def _adding(visit: Visit) -> Patient:
    """The patient of the path, whose share lets the doctor add. Raises NotFound."""
    found = await patient_of(visit)
    if Right.ADD not in found.rights:
        raise NotFound()
    return found


def _new_page(visit: Visit, form: Form) -> Response:
    return render(
        visit.request,
        "patient_new.html",
        200 if form else 422,
        here="patients",
        form=form,
        genders=list(GENDERS.items()),
    )


def _code_page(visit: Visit, patient_id: str, name: str, code: str) -> Response:
    address = f"{visit.services.settings.base_url}/account/people"
    language = language_of(visit.request, visit.me)
    return render(
        visit.request,
        "patient_code.html",
        here="patients",
        patient_id=patient_id,
        name=name,
        code=code,
        address=address,
        language_of_page=language,
    )


def _emergency_page(visit: Visit, form: Form) -> Response:
    return render(visit.request, "emergency.html", 200 if form else 422, here="patients", form=form)
