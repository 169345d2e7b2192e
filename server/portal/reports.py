"""Reports: what is written about a study, as text or as files, beside its images.

A report is a FHIR DiagnosticReport; each file of it is a Binary of its own, kept byte for byte. What comes in through
FHIR is shown here all the same, and the other way round.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson
from starlette.responses import Response

from server.access.action import Action, Verb
from server.access.reach import Reach
from server.audit.events import Event
from server.core import clock
from server.core.errors import ServerError
from server.core.texts import N_, translations
from server.records import store, us_core, validate
from server.records.store import Stored
from server.storage.db import Database
from server.storage.sql import load

from . import files, words
from .files import Part
from .forms import Form, filled
from .pages import language_of, render, see_other
from .profile import own_id
from .studies import Study
from .study_visit import own_study, study_address, study_in_reach
from .visit import Visit

QUERIES = load(__package__)
Json = dict[str, Any]

REPORT_READ = Action("DiagnosticReport", Verb.READ)
REPORT_CREATE = Action("DiagnosticReport", Verb.CREATE)
REPORT_DELETE = Action("DiagnosticReport", Verb.DELETE)

IMAGING_REPORT = {"system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study"}
RADIOLOGY = {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD", "display": "Radiology"}


@dataclass(frozen=True)
class Report:
    """A report in a list."""

    resource: Json
    language: str

    @property
    def id(self) -> str:
        return str(self.resource["id"])

    @property
    def title(self) -> str:
        code: Json = self.resource.get("code", {})
        forms = self.resource.get("presentedForm") or [{}]
        said = forms[0].get("title") or code.get("text")
        codings = code.get("coding") or [{}]
        return str(said or codings[0].get("display") or translations(self.language).gettext(N_("Report")))

    @property
    def date_words(self) -> str:
        for key in ("effectiveDateTime", "issued"):
            if text := str(self.resource.get(key, "")):
                return spelled(text, self.language)
        return ""

    @property
    def brought_by(self) -> str:
        performers = self.resource.get("performer") or [{}]
        return str(performers[0].get("display", ""))


async def of_study(db: Database, study: Study, *, reach: Reach) -> list[Report]:
    """The reports on a study that are in reach, the newest first."""
    values = {"patient": study.patient_id, "study": study.uid}
    rows = await db.fetch_all(QUERIES["reports_of_study"], values, reach=reach.resources())
    return [Report(orjson.loads(row["json"]), study.language) for row in rows]


async def show_form(visit: Visit) -> Response:
    """A text, or files, or both."""
    study, _ = await study_in_reach(visit)
    return await _form_page(visit, study, filled({}))


async def add(visit: Visit) -> Response:
    """Keep the report beside its study."""
    study, _ = await study_in_reach(visit)
    form = visit.form
    title, day = form.text("title", required=False), form.day("date", required=False, past=True)
    text = form.lines("text", required=False, most=files.MOST_TEXT)
    parts = [files.part_of(form, each) for each in form.files]
    if text:
        parts.insert(0, Part(title or _gettext(visit)(N_("Report")), files.TEXT, text.encode()))
    if not parts and form:
        form.wrong("text", N_("Write something, or choose a file."))
    if form:
        try:
            await _store(visit, study, title, day, parts)
            return see_other(study_address(study, await own_study(visit, study)), "report-added")
        except ServerError as exc:
            if exc.status >= 500:
                raise
            form.refuse(exc)
    return await _form_page(visit, study, form)


async def show(visit: Visit) -> Response:
    """One report: its text, its files, who brought it."""
    stored = await _read(visit)
    resource, language = orjson.loads(stored.json), language_of(visit.request, visit.me)
    report = Report(resource, language)
    parts = [
        await files.attachment(visit, number, each)
        for number, each in enumerate(resource.get("presentedForm", []))
    ]
    own = visit.signed_in.role == "patient" and await own_id(visit) == stored.patient_id
    back = f"/studies/{stored.study_uid}" if stored.study_uid else "/imaging"
    if not own:
        back = (
            f"{back}?patient={stored.patient_id}" if stored.study_uid else f"/my-patients/{stored.patient_id}"
        )
    return render(
        visit.request,
        "report.html",
        here="imaging" if own else "patients",
        report=report,
        conclusion=resource.get("conclusion", ""),
        parts=parts,
        back=back,
        mine=own and stored.author != "server",  # what an image says goes with the image
        added=words.day(stored.last_updated, language),
    )


async def download(visit: Visit) -> Response:
    """One file as it was sent; nothing in it can run here."""
    stored = await _read(visit)
    parts = orjson.loads(stored.json).get("presentedForm", [])
    return await files.answer(visit, parts, int(visit.place("number")))


async def delete(visit: Visit) -> Response:
    """Take a report out of the record."""
    services, report_id = visit.services, visit.place("report")
    reach = await visit.reach(REPORT_DELETE)
    before = await _read(visit)
    async with services.db.transaction():
        await store.delete(services.db, "DiagnosticReport", report_id, reach=reach, author=visit.actor.author)
        await files.drop(visit, orjson.loads(before.json).get("presentedForm", []))
        await note(visit, Event.RECORD_DELETED, before)
    return see_other(f"/studies/{before.study_uid}" if before.study_uid else "/imaging", "report-deleted")


async def _store(visit: Visit, study: Study, title: str, day: date | None, parts: list[Part]) -> None:
    about = {"imagingStudy": [{"reference": f"ImagingStudy/{study.fhir_id}"}]}
    async with (
        files.taken(visit, parts, patient_id=study.patient_id) as taken,
        visit.services.db.transaction(),
    ):
        await keep_report(
            visit, study.patient_id, study.uid, title, str(day or study.day or ""), taken, about
        )


async def keep_report(
    visit: Visit,
    patient_id: str,
    study_uid: str | None,
    title: str,
    date: str,
    taken: files.Taken,
    about: Json,
) -> Stored:
    """A DiagnosticReport with these files; `date` may be partial. Inside the caller's transaction."""
    forms = await files.keep(visit, taken, patient_id=patient_id, study_uid=study_uid)
    report: Json = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "category": [{"coding": [RADIOLOGY]}, {"coding": [us_core.RADIOLOGY]}],
        "code": {"coding": [IMAGING_REPORT], "text": title or IMAGING_REPORT["display"]},
        "subject": {"reference": f"Patient/{patient_id}"},
        "issued": clock.now().isoformat(timespec="milliseconds"),
        "presentedForm": forms,
        **about,
    }
    if date:
        report["effectiveDateTime"] = date
    if visit.signed_in.practitioner_id:
        reference = f"Practitioner/{visit.signed_in.practitioner_id}"
        report["performer"] = [{"reference": reference, "display": visit.signed_in.name}]
    await validate.check(report)
    stored = await store.create(
        visit.services.db,
        us_core.claimed(report),
        reach=await visit.reach(REPORT_CREATE),
        patient_id=patient_id,
        study_uid=study_uid,
        author=visit.actor.author,
    )
    await note(visit, Event.RECORD_CREATED, stored)
    return stored


async def _read(visit: Visit) -> Stored:
    stored = await store.read(
        visit.services.db, "DiagnosticReport", visit.place("report"), reach=await visit.reach(REPORT_READ)
    )
    caller = visit.signed_in.account_id
    await note(
        visit,
        Event.RECORD_READ,
        stored,
        fold=f"fhir {caller} session DiagnosticReport/{stored.id} {clock.now():%Y-%m-%dT%H}",
    )
    return stored


async def note(visit: Visit, event: Event, stored: Stored, fold: str | None = None) -> None:
    """Write what was done to a resource into the log of its patient."""
    await visit.services.audit.record(
        event,
        who=visit.actor.who(),
        patient_id=stored.patient_id,
        detail={"type": stored.type, "id": stored.id, "study": stored.study_uid},
        fold=fold,
    )


def spelled(text: str, language: str) -> str:
    """A FHIR date, which may be partial, in words."""
    if re.fullmatch(r"\d{4}", text):
        return text
    try:
        if re.fullmatch(r"\d{4}-\d{2}", text):
            return words.month(date.fromisoformat(f"{text}-01"), language)
        return words.day(
            date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text), language
        )
    except ValueError:
        return ""


async def _form_page(visit: Visit, study: Study, form: Form) -> Response:
    mine = await own_study(visit, study)
    return render(
        visit.request,
        "report_add.html",
        200 if form else 422,
        here="imaging" if mine else "patients",
        form=form,
        study=study,
        address=study_address(study, mine, "/reports/add"),
        back=study_address(study, mine),
    )


def _gettext(visit: Visit) -> Any:
    return translations(language_of(visit.request, visit.me)).gettext
