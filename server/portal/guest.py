"""What a guest sees: the door of a link, and behind it the chosen studies, for looking only.

Everything lies below `/link/{guest}`, where the guest's cookie goes and no other. A link that is over, was taken
back, or never was shows one and the same page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson
from starlette.responses import RedirectResponse, Response

from server.access.action import STUDY_READ, STUDY_SEARCH, Right
from server.access.actor import Actor, ActorKind
from server.access.reach import Reach
from server.access.sign_in import address_of
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, Forbidden, Gone
from server.core.texts import N_, translations
from server.records import store
from server.sharing import guest
from server.sharing.guest_link import Link

from . import files, imaging, reports, studies
from .forms import Form, filled
from .imaging import PAGE, Places, cover_of, page_of
from .pages import language_of, render, see_other
from .profile import PATIENT_READ, Profile
from .studies import Study
from .study_visit import note_look
from .visit import Visit

WRONG = N_("This is not right.")
LEFT = N_("You can try %(count)d more times; then the link ends.")
LAST = N_("You can try one more time; then the link ends.")


@dataclass(frozen=True)
class Guest:
    """A guest behind the door."""

    link: Link
    actor: Actor

    @property
    def root(self) -> str:
        return f"/link/{self.link.id}"


Inside = Callable[[Visit, Guest], Awaitable[Response]]


async def show(visit: Visit) -> Response:
    """The door, or what lies behind it."""
    link = await _living(visit)
    if link is None:
        return _dead(visit)
    if (someone := await _inside(visit, link)) is not None:
        return await _studies_page(visit, someone)
    return _door(visit, filled({}), code=visit.query("step") == "code")


async def answer(visit: Visit) -> Response:
    """The birth date, then the code; or good-bye."""
    link = await _living(visit)
    if link is None:
        return _dead(visit)
    if "leave" in visit.form.values:
        return await _leave(visit, link)
    try:
        if "code" in visit.form.values:
            return await _say_code(visit, link)
        return await _say_birth_date(visit, link)
    except Gone:
        return _dead(visit)


async def _say_birth_date(visit: Visit, link: Link) -> Response:
    form = visit.form
    day = form.day("birth_date")
    if day is None:
        return _door(visit, form, code=False)
    try:
        secret = await guest.say_birth_date(visit.services, link.id, day, address=address_of(visit.request))
    except guest.Wrong as wrong:
        return _wrong(visit, "birth_date", wrong, code=False)
    response = see_other(f"/link/{link.id}?step=code")
    _set_cookie(visit, response, link, secret, int(guest.CODE_LIVES.total_seconds()))
    return response


async def _say_code(visit: Visit, link: Link) -> Response:
    form, came = visit.form, visit.request.cookies.get(visit.services.gate.guest_cookie, "")
    code = form.text("code", most=40)
    if not form:
        return _door(visit, form, code=True)
    try:
        secret, until = await guest.say_code(
            visit.services, link.id, came, code, address=address_of(visit.request)
        )
    except guest.Wrong as wrong:
        return _wrong(visit, "code", wrong, code=True)
    except Conflict as exc:
        form.refuse(exc)
        return _door(visit, form, code=False)
    response = see_other(f"/link/{link.id}")
    _set_cookie(visit, response, link, secret, int((until - clock.now()).total_seconds()))
    return response


async def _leave(visit: Visit, link: Link) -> Response:
    name = visit.services.gate.guest_cookie
    await guest.leave(visit.services, link.id, visit.request.cookies.get(name, ""))
    response = see_other(f"/link/{link.id}", "signed-out")
    response.delete_cookie(
        name, path=f"/link/{link.id}", secure=visit.services.settings.is_https, httponly=True, samesite="lax"
    )
    return response


def inside(handler: Inside) -> Callable[[Visit], Awaitable[Response]]:
    """A page behind the door: the guest is known, or led back to the door."""

    async def page(visit: Visit) -> Response:
        link = await _living(visit)
        if link is None:
            return _dead(visit)
        someone = await _inside(visit, link)
        if someone is None:
            return see_other(f"/link/{link.id}")
        await guest.note_look(visit.services, link.id)
        return await handler(visit, someone)

    page.__name__, page.__doc__ = handler.__name__, handler.__doc__
    return page


@inside
async def study(visit: Visit, someone: Guest) -> Response:
    """One study: pictures, reports where the link gives them."""
    found, reach = await _study(visit, someone)
    below = f"{someone.root}/studies/{found.uid}"
    series = await studies.series_of(visit.services.db, found, reach=reach, preview=f"{below}/preview")
    listed = await reports.of_study(visit.services.db, found, reach=await visit.reach(reports.REPORT_READ))
    return render(
        visit.request,
        "guest_study.html",
        here="link",
        study=found,
        root=someone.root,
        series=series,
        preview=f"{below}/preview",
        viewer=_viewer(someone, found),
        cover=cover_of(found, series),
        reports=listed,
        download=f"{found.root}?accept=application/zip" if someone.link.gives(Right.DOWNLOAD) else "",
    )


@inside
async def preview(visit: Visit, someone: Guest) -> Response:
    """The quick look."""
    found, reach = await _study(visit, someone)
    below = f"{someone.root}/studies/{found.uid}"
    places = Places(below, f"{below}/preview", f"{below}/frames", _viewer(someone, found))
    return await imaging.preview_page(visit, found, places, reach=reach)


@inside
async def frames(visit: Visit, someone: Guest) -> Response:
    """The images of one series, for the preview's script."""
    found, reach = await _study(visit, someone)
    return await imaging.frames_answer(visit, found, reach=reach)


@inside
async def report(visit: Visit, someone: Guest) -> Response:
    """One report, to be read."""
    resource, stored_study = await _report(visit, someone)
    parts = [
        await files.attachment(visit, number, each)
        for number, each in enumerate(resource.get("presentedForm", []))
    ]
    language = language_of(visit.request, visit.me)
    return render(
        visit.request,
        "guest_report.html",
        here="link",
        report=reports.Report(resource, language),
        conclusion=resource.get("conclusion", ""),
        parts=parts,
        back=f"{someone.root}/studies/{stored_study}" if stored_study else someone.root,
        root=someone.root,
    )


@inside
async def report_file(visit: Visit, someone: Guest) -> Response:
    """One file of a report as it was sent: how a PDF is read."""
    resource, _ = await _report(visit, someone)
    return await files.answer(visit, resource.get("presentedForm", []), int(visit.place("number")))


async def _studies_page(visit: Visit, someone: Guest) -> Response:
    await guest.note_look(visit.services, someone.link.id)
    reach, db = await visit.reach(STUDY_SEARCH), visit.services.db
    language, number = language_of(visit.request, visit.me), visit.number("page")
    total, _ = await studies.count(db, reach=reach)
    listed = await studies.find(
        db,
        reach=reach,
        reports=await visit.reach(reports.REPORT_READ),
        limit=PAGE,
        offset=(number - 1) * PAGE,
        language=language,
    )
    return render(
        visit.request,
        "guest_studies.html",
        here="link",
        link=someone.link,
        root=someone.root,
        whose=await _profile(visit, someone),
        groups=list(studies.by_year(replace(each, link=someone.link.id) for each in listed)),
        page=page_of(visit, number, PAGE, total),
    )


async def _profile(visit: Visit, someone: Guest) -> Profile:
    reach = await visit.reach(PATIENT_READ)
    found = await store.read(visit.services.db, "Patient", someone.link.patient_id, reach=reach)
    return Profile(found.id, orjson.loads(found.json), found.version)


async def _study(visit: Visit, someone: Guest) -> tuple[Study, Reach]:
    reach = await visit.reach(STUDY_READ)
    language = language_of(visit.request, visit.me)
    found = await studies.one(visit.services.db, visit.place("uid"), reach=reach, language=language)
    await note_look(visit, found, someone.actor)
    return replace(found, link=someone.link.id), reach


async def _report(visit: Visit, someone: Guest) -> tuple[dict[str, Any], str | None]:
    reach = await visit.reach(reports.REPORT_READ)
    stored = await store.read(visit.services.db, "DiagnosticReport", visit.place("report"), reach=reach)
    await visit.services.audit.record(
        Event.RECORD_READ,
        who=someone.actor.who(),
        patient_id=stored.patient_id,
        detail={"type": stored.type, "id": stored.id, "study": stored.study_uid},
        fold=f"fhir {someone.actor.key} DiagnosticReport/{stored.id} {clock.now():%Y-%m-%dT%H}",
    )
    return orjson.loads(stored.json), stored.study_uid


async def _living(visit: Visit) -> Link | None:
    return await guest.look(visit.services, visit.place("guest"))


async def _inside(visit: Visit, link: Link) -> Guest | None:
    try:
        actor = await visit.services.gate.actor(visit.request)
    except Forbidden:  # it ended this moment
        return None
    return Guest(link, actor) if actor.kind is ActorKind.GUEST else None


def _viewer(someone: Guest, found: Study) -> str:
    return f"/viewer/viewer?StudyInstanceUIDs={found.uid}&link={someone.link.id}"


def _door(visit: Visit, form: Form, *, code: bool) -> Response:
    return render(visit.request, "guest_door.html", 200 if form else 422, here="link", form=form, code=code)


def _wrong(visit: Visit, name: str, wrong: guest.Wrong, *, code: bool) -> Response:
    if wrong.tries_left == 0:
        return _dead(visit)
    gettext = translations(language_of(visit.request, visit.me)).gettext
    left = gettext(LEFT if wrong.tries_left > 1 else LAST) % {"count": wrong.tries_left}
    visit.form.wrong(name, f"{gettext(WRONG)} {left}")
    return _door(visit, visit.form, code=code)


def _dead(visit: Visit) -> Response:
    return render(visit.request, "guest_dead.html", 410, here="link")


def _set_cookie(visit: Visit, response: RedirectResponse, link: Link, secret: str, seconds: int) -> None:
    response.set_cookie(
        visit.services.gate.guest_cookie,
        secret,
        max_age=max(1, seconds),
        path=f"/link/{link.id}",  # sent nowhere else: a guest has no other page
        secure=visit.services.settings.is_https,
        httponly=True,
        samesite="lax",
    )
