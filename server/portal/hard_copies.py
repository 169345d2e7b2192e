"""Hard copies and historical records: films, paper, pictures of them; listed among the imaging by their own date.

A record is a FHIR DocumentReference (R4 ImagingStudy is for DICOM content): type and category imaging, a period that
may be a year only, an attachment for each document. Reports on it are DiagnosticReports it is related to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response

from server.access.action import Action, Verb
from server.access.reach import Reach
from server.audit.events import Event
from server.core import clock
from server.core.errors import NotFound
from server.core.texts import N_, translations
from server.imaging.text import fold
from server.records import store, us_core, validate
from server.records.store import Stored
from server.storage.db import Database
from server.storage.sql import load

from . import files, reports, words
from .files import Part
from .forms import Form, filled
from .pages import language_of, render, see_other
from .profile import own_id
from .reports import note, spelled
from .visit import Visit

QUERIES = load(__package__)
Json = dict[str, Any]

DOCUMENT_READ = Action("DocumentReference", Verb.READ)
DOCUMENT_CREATE = Action("DocumentReference", Verb.CREATE)
DOCUMENT_UPDATE = Action("DocumentReference", Verb.UPDATE)
DOCUMENT_DELETE = Action("DocumentReference", Verb.DELETE)

RADIOLOGY = {"system": "http://loinc.org", "code": "LP29684-5", "display": "Radiology"}
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
KINDS = ("DX", "MG", "US", "CT", "MR", "NM", "PT", "XA", "IO", "OT")
FIRST_YEAR = 1895  # Röntgen


@dataclass(frozen=True)
class HardCopy:
    """A record as pages show it."""

    resource: Json
    patient_id: str
    version: int
    language: str = "en"

    @property
    def id(self) -> str:
        return str(self.resource["id"])

    @property
    def _context(self) -> Json:
        found: Json = self.resource.get("context", {})
        return found

    @property
    def modality(self) -> str:
        events: list[Json] = self._context.get("event", [])
        codings = [
            coding for each in events for coding in each.get("coding", []) if coding.get("system") == DICOM
        ]
        return str(codings[0].get("code", "")) if codings else ""

    @property
    def kind(self) -> str:
        gettext = translations(self.language).gettext
        return ", ".join(gettext(each) for each in words.kinds([self.modality])) if self.modality else ""

    @property
    def title(self) -> str:
        gettext = translations(self.language).gettext
        what = ", ".join(each for each in (self.kind, self.body_part) if each)
        return what or str(self.resource.get("description") or gettext(N_("Historical record")))

    @property
    def body_part(self) -> str:
        return str(self._context.get("practiceSetting", {}).get("text", ""))

    @property
    def date(self) -> str:
        return str(self._context.get("period", {}).get("start", ""))

    @property
    def sorting(self) -> str:
        return self.date.replace("-", "")

    def says(self, text: str) -> bool:
        """Whether these words stand in it, or it is of this year."""
        said = " ".join((self.title, self.kind, self.body_part, self.place, self.notes))
        return fold(text) in fold(said) or text.strip() == str(self.year)

    @property
    def year(self) -> int | None:
        return int(self.date[:4]) if re.match(r"\d{4}", self.date) else None

    @property
    def date_words(self) -> str:
        return spelled(self.date, self.language) or translations(self.language).gettext(N_("Date unknown"))

    @property
    def place(self) -> str:
        return str(self._context.get("facilityType", {}).get("text", ""))

    @property
    def notes(self) -> str:
        return str(self.resource.get("description", ""))

    @property
    def draft(self) -> bool:
        """Saved, and not said to be done."""
        return bool(self.resource.get("docStatus") == "preliminary")

    @property
    def documents(self) -> list[Json]:
        """Its files; a title alone stands where there is none."""
        parts = [each.get("attachment", {}) for each in self.resource.get("content", [])]
        return [each for each in parts if each.get("url") or each.get("data")]

    @property
    def reports(self) -> list[str]:
        found = (str(each.get("reference", "")) for each in self._context.get("related", []))
        return [each.partition("/")[2] for each in found if each.startswith("DiagnosticReport/")]


async def some(db: Database, ids: list[str], *, reach: Reach, language: str) -> dict[str, HardCopy]:
    """These records, by their id."""
    rows = await db.fetch_all(QUERIES["documents"], {"ids": ids}, reach=reach.resources())
    found = (HardCopy(orjson.loads(row["json"]), row["patient_id"], row["version"], language) for row in rows)
    return {each.id: each for each in found}


async def show_new(visit: Visit) -> Response:
    """A form with as much detail as one can give; only the kind and the year are needed."""
    return _form_page(visit, filled({}), "/records/new")


async def create(visit: Visit) -> Response:
    """Save and continue: a draft is there from now on."""
    patient_id = await own_id(visit)
    body = _body(visit, patient_id)
    if body is None:
        return _form_page(visit, visit.form, "/records/new")
    reach = await visit.reach(DOCUMENT_CREATE)
    async with visit.services.db.transaction():
        await validate.check(body)
        stored = await store.create(
            visit.services.db, body, reach=reach, patient_id=patient_id, author=visit.actor.author
        )
        await note(visit, Event.RECORD_CREATED, stored)
    return see_other(f"/records/{stored.id}/add")


async def show_add(visit: Visit) -> Response:
    """Next: reports or other documents, several if there are; or go on."""
    return await _add_page(visit, await _read(visit), Form())


async def add(visit: Visit) -> Response:
    """A report (text, or a file of it) or other documents of the record."""
    record, form = await _read(visit), visit.form
    is_report = form.one_of("what", ("report", "document")) == "report"
    title, text = form.text("title", required=False), form.lines("text", required=False, most=files.MOST_TEXT)
    parts = [files.part_of(form, each, pictures=not is_report) for each in form.files]
    if text:
        parts.insert(0, Part(title or "Text", files.TEXT, text.encode()))
    if not parts:
        form.wrong("files", N_("Write something, or choose a file."))
    if not form:
        return await _add_page(visit, record, form)
    async with (
        files.taken(visit, parts, patient_id=record.patient_id) as taken,
        visit.services.db.transaction(),
    ):
        if is_report:
            report = await reports.keep_report(visit, record.patient_id, None, title, record.date, taken, {})
            await _change(visit, record, report=report.id)
        else:
            kept = await files.keep(visit, taken, patient_id=record.patient_id, study_uid=None)
            await _change(visit, record, documents=kept)
    return see_other(f"/records/{record.id}/add", "document-added")


async def done(visit: Visit) -> Response:
    """The record is complete."""
    record = await _read(visit)
    async with visit.services.db.transaction():
        await _change(visit, record, final=True)
    return see_other(f"/records/{record.id}", "record-done")


async def show(visit: Visit) -> Response:
    """The record: what it is, its documents and reports."""
    record = await _read(visit)
    mine = visit.signed_in.role == "patient" and await own_id(visit) == record.patient_id
    return render(
        visit.request,
        "record.html",
        here="imaging" if mine else "patients",
        record=record,
        mine=mine,
        back="/imaging" if mine else f"/my-patients/{record.patient_id}",
        parts=[await files.attachment(visit, number, each) for number, each in enumerate(record.documents)],
        reports=await _reports(visit, record),
    )


async def download(visit: Visit) -> Response:
    """One document as it was sent."""
    record = await _read(visit)
    return await files.answer(visit, record.documents, int(visit.place("number")))


async def delete(visit: Visit) -> Response:
    """Take the record and its documents out; reports on it too."""
    record, author, db = await _read(visit), visit.actor.author, visit.services.db
    reach, of_reports = await visit.reach(DOCUMENT_DELETE), await visit.reach(reports.REPORT_DELETE)
    async with db.transaction():
        await files.drop(visit, record.documents)
        for each in await _reports(visit, record):
            await files.drop(visit, each.resource.get("presentedForm", []))
            await store.delete(db, "DiagnosticReport", each.id, reach=of_reports, author=author)
        stored = await store.delete(db, "DocumentReference", record.id, reach=reach, author=author)
        await note(visit, Event.RECORD_DELETED, stored)
    return see_other("/imaging", "record-deleted")


def _body(visit: Visit, patient_id: str) -> Json | None:
    """The DocumentReference of a filled-in form; None when something is wrong."""
    form = visit.form
    kind, date = form.one_of("kind", ("", *KINDS)), _date(form)
    body_part = form.text("body_part", required=False)
    place, notes = form.text("place", required=False), form.lines("notes", required=False)
    if not kind:
        form.wrong("kind", N_("Say what kind of images it is."))
    if not form:
        return None
    context: Json = {
        "event": [{"coding": [{"system": DICOM, "code": kind}]}],
        "period": {"start": date},
    }
    if place:
        context["facilityType"] = {"text": place}
    if body_part:
        context["practiceSetting"] = {"text": body_part}
    body: Json = {
        "resourceType": "DocumentReference",
        "status": "current",
        "docStatus": "preliminary",
        "type": {"coding": [reports.IMAGING_REPORT]},
        "category": [{"coding": [RADIOLOGY]}, {"coding": [us_core.CLINICAL_NOTE]}],
        "subject": {"reference": f"Patient/{patient_id}"},
        "date": clock.now().isoformat(timespec="milliseconds"),
        "author": [{"reference": f"Patient/{patient_id}"}],
        "content": [{"attachment": {"title": body_part or words.KINDS[kind]}}],
        "context": context,
    }
    return body | ({"description": notes} if notes else {})


def _date(form: Form) -> str:
    """A year, a year and a month, or a whole date, as FHIR writes partial dates."""
    year, month, day = (form.text(name, required=False, most=4) for name in ("year", "month", "day"))
    if not year.isdecimal() or not FIRST_YEAR <= int(year) <= clock.now().year:
        form.wrong("year", N_("Write the year, with four digits. A guess is better than nothing."))
        return ""
    parts = [year, *(f"{int(part):02}" for part in (month, day) if part.isdecimal())]
    text = "-".join(parts)
    if (day and not month) or not spelled(text, "en") or text[:10] > clock.now().date().isoformat():
        form.wrong("year", N_("There is no such date, or it lies in the future."))
    return text


async def _read(visit: Visit) -> HardCopy:
    """The record in reach; raises NotFound, also for documents that are no imaging."""
    reach = await visit.reach(DOCUMENT_READ)
    stored = await store.read(visit.services.db, "DocumentReference", visit.place("record"), reach=reach)
    resource = orjson.loads(stored.json)
    if RADIOLOGY["code"] not in str(resource.get("category", "")):
        raise NotFound()
    caller, hour = visit.signed_in.account_id, f"{clock.now():%Y-%m-%dT%H}"
    fold = f"fhir {caller} session DocumentReference/{stored.id} {hour}"
    await note(visit, Event.RECORD_READ, stored, fold=fold)
    return HardCopy(resource, stored.patient_id, stored.version, language_of(visit.request, visit.me))


async def _change(
    visit: Visit,
    record: HardCopy,
    *,
    documents: list[Json] | None = None,
    report: str | None = None,
    final: bool = False,
) -> Stored:
    """The next version of the record; raises PreconditionFailed when another change came between."""
    body = dict(record.resource)
    if documents:
        kept = [{"attachment": each} for each in [*record.documents, *documents]]
        body["content"] = kept
    if report:
        context = dict(body.get("context", {}))
        context["related"] = [*context.get("related", []), {"reference": f"DiagnosticReport/{report}"}]
        body["context"] = context
    if final:
        body["docStatus"] = "final"
    body = us_core.claimed(body)
    await validate.check(body)
    stored = await store.update(
        visit.services.db,
        body,
        reach=await visit.reach(DOCUMENT_UPDATE),
        patient_id=record.patient_id,
        author=visit.actor.author,
        if_match=record.version,
    )
    await note(visit, Event.RECORD_UPDATED, stored)
    return stored


async def _reports(visit: Visit, record: HardCopy) -> list[reports.Report]:
    reach = await visit.reach(reports.REPORT_READ)
    rows = await visit.services.db.fetch_all(
        QUERIES["reports_by_id"], {"ids": record.reports}, reach=reach.resources()
    )
    return [reports.Report(orjson.loads(row["json"]), record.language) for row in rows]


async def _add_page(visit: Visit, record: HardCopy, form: Form) -> Response:
    return render(
        visit.request,
        "record_add.html",
        200 if form else 422,
        here="imaging",
        form=form,
        record=record,
        reports=await _reports(visit, record),
        what=form["what"] or "report",
    )


def _form_page(visit: Visit, form: Form, address: str) -> Response:
    language = language_of(visit.request, visit.me)
    gettext = translations(language).gettext
    kinds = [("", gettext(N_("Choose …"))), *((code, gettext(words.KINDS[code])) for code in KINDS)]
    months = [("", "–"), *((f"{n:02}", words.month_name(n, language)) for n in range(1, 13))]
    days = [("", "–"), *((f"{n:02}", str(n)) for n in range(1, 32))]
    return render(
        visit.request,
        "record_new.html",
        200 if form else 422,
        here="imaging",
        form=form,
        address=address,
        kinds=kinds,
        months=months,
        days=days,
    )
