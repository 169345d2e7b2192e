"""Reports: what is written about a study, as text or as files, beside its images.

A report is a FHIR DiagnosticReport; each file of it is a Binary of its own, kept byte for byte. What comes in through
FHIR is shown here all the same, and the other way round.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import orjson
from starlette.responses import Response

from server.access.action import Action, Verb
from server.access.reach import Reach
from server.audit.events import Event
from server.core import clock
from server.core.errors import NotFound, ServerError
from server.records import store, validate
from server.records.references import target
from server.records.store import Stored
from server.storage.db import Database
from server.storage.sql import load

from . import words
from .forms import Form, Upload, filled
from .pages import HEADERS, language_of, render, see_other
from .profile import own_id
from .studies import Study
from .study_visit import own_study, study_address, study_in_reach
from .texts import N_, translations
from .visit import Visit

QUERIES = load(__package__)
Json = dict[str, Any]

REPORT_READ = Action("DiagnosticReport", Verb.READ)
REPORT_CREATE = Action("DiagnosticReport", Verb.CREATE)
REPORT_DELETE = Action("DiagnosticReport", Verb.DELETE)
BINARY_READ = Action("Binary", Verb.READ)
BINARY_CREATE = Action("Binary", Verb.CREATE)
BINARY_DELETE = Action("Binary", Verb.DELETE)

MOST_FILES = 10
MOST_TEXT = 100_000
IMAGING_REPORT = {"system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study"}
RADIOLOGY = {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD", "display": "Radiology"}
NOT_A_REPORT = N_("Reports are PDF or text files. A photo of a paper belongs to a hard copy record.")


@dataclass(frozen=True)
class Attachment:
    """One part of a report: text to read here, or a file to take along."""

    number: int
    title: str
    content_type: str
    size: int | None
    text: str | None = None


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
    text = form.lines("text", required=False, most=MOST_TEXT)
    parts = [_part(form, each) for each in form.files]
    if text:
        parts.insert(0, (title or _gettext(visit)(N_("Report")), "text/plain; charset=utf-8", text.encode()))
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
        await _attachment(visit, number, each)
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
        mine=own,
        added=words.day(stored.last_updated, language),
    )


async def download(visit: Visit) -> Response:
    """One file as it was sent; nothing in it can run here."""
    stored = await _read(visit)
    parts = orjson.loads(stored.json).get("presentedForm", [])
    number = int(visit.place("number"))
    if number >= len(parts):
        raise NotFound()
    content = await _content(visit, parts[number])
    if content is None:
        raise NotFound()
    name = str(parts[number].get("title") or f"report-{number + 1}")
    kind = str(parts[number].get("contentType", "")).partition(";")[0] or "application/octet-stream"
    headers = {
        **HEADERS,
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "content-security-policy": "sandbox; default-src 'none'",
    }
    return Response(
        content, headers=headers, media_type=kind if re.fullmatch(r"[\w.+-]+/[\w.+-]+", kind) else None
    )


async def delete(visit: Visit) -> Response:
    """Take a report out of the record."""
    services, report_id = visit.services, visit.place("report")
    reach, files = await visit.reach(REPORT_DELETE), await visit.reach(BINARY_DELETE)
    before = await _read(visit)
    async with services.db.transaction():
        await store.delete(services.db, "DiagnosticReport", report_id, reach=reach, author=visit.actor.author)
        for part in orjson.loads(before.json).get("presentedForm", []):
            if (binary := _binary_of(part)) is not None:
                await store.delete(services.db, "Binary", binary, reach=files, author=visit.actor.author)
        await _note(visit, Event.RECORD_DELETED, before)
    return see_other(f"/studies/{before.study_uid}" if before.study_uid else "/imaging", "report-deleted")


Part = tuple[str, str, bytes]  # title, type, content


def _part(form: Form, upload: Upload) -> Part:
    """What a file is, by its content."""
    name = PurePath(upload.name.replace("\\", "/")).name[:200] or "report"
    if upload.content.startswith(b"%PDF-"):
        return name, "application/pdf", upload.content
    try:
        text = upload.content.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if not text or any(ord(each) < 32 and each not in "\t\n\r\f" for each in text):
        form.wrong("files", NOT_A_REPORT)
    return name, "text/plain; charset=utf-8", upload.content


async def _store(visit: Visit, study: Study, title: str, day: date | None, parts: list[Part]) -> None:
    services, actor = visit.services, visit.actor
    files, reach = await visit.reach(BINARY_CREATE), await visit.reach(REPORT_CREATE)
    patient = {"reference": f"Patient/{study.patient_id}"}
    forms: list[Json] = []
    place = {"patient_id": study.patient_id, "study_uid": study.uid, "author": actor.author}
    async with services.db.transaction():
        for name, kind, content in parts:
            binary: Json = {"resourceType": "Binary", "contentType": kind, "securityContext": patient}
            binary["data"] = b64encode(content).decode()
            kept = await store.create(services.db, binary, reach=files, **place)
            forms.append(
                {"contentType": kind, "url": f"Binary/{kept.id}", "title": name, "size": len(content)}
            )
        report = _report(visit, study, title, day, forms)
        await validate.check(report)
        stored = await store.create(services.db, report, reach=reach, **place)
        await _note(visit, Event.RECORD_CREATED, stored)


def _report(visit: Visit, study: Study, title: str, day: date | None, forms: list[Json]) -> Json:
    moment = day or study.day
    report: Json = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "category": [{"coding": [RADIOLOGY]}],
        "code": {"coding": [IMAGING_REPORT], "text": title or IMAGING_REPORT["display"]},
        "subject": {"reference": f"Patient/{study.patient_id}"},
        "issued": clock.now().isoformat(timespec="milliseconds"),
        "imagingStudy": [{"reference": f"ImagingStudy/{study.fhir_id}"}],
        "presentedForm": forms,
    }
    if moment is not None:
        report["effectiveDateTime"] = moment.isoformat()
    if visit.signed_in.practitioner_id:
        reference = f"Practitioner/{visit.signed_in.practitioner_id}"
        report["performer"] = [{"reference": reference, "display": visit.signed_in.name}]
    return report


async def _read(visit: Visit) -> Stored:
    stored = await store.read(
        visit.services.db, "DiagnosticReport", visit.place("report"), reach=await visit.reach(REPORT_READ)
    )
    caller = visit.signed_in.account_id
    await _note(
        visit,
        Event.RECORD_READ,
        stored,
        fold=f"fhir {caller} session DiagnosticReport/{stored.id} {clock.now():%Y-%m-%dT%H}",
    )
    return stored


async def _note(visit: Visit, event: Event, stored: Stored, fold: str | None = None) -> None:
    await visit.services.audit.record(
        event,
        who=visit.actor.who(),
        patient_id=stored.patient_id,
        detail={"type": stored.type, "id": stored.id, "study": stored.study_uid},
        fold=fold,
    )


async def _attachment(visit: Visit, number: int, part: Json) -> Attachment:
    title = str(part.get("title") or _gettext(visit)(N_("Report")))
    kind = str(part.get("contentType", ""))
    text = None
    if kind.partition(";")[0] == "text/plain" and (content := await _content(visit, part)) is not None:
        text = content.decode("utf-8", "replace")[:MOST_TEXT]
    return Attachment(number, title, kind.partition(";")[0], part.get("size"), text)


async def _content(visit: Visit, part: Json) -> bytes | None:
    """The bytes of an attachment: inside of it, or in a Binary of this server that is in reach."""
    data: Any = part.get("data")
    if data is None and (binary := _binary_of(part)) is not None:
        reach = await visit.reach(BINARY_READ)
        stored = await store.read(visit.services.db, "Binary", binary, reach=reach)
        data = orjson.loads(stored.json).get("data", "")
    try:
        return b64decode(data) if isinstance(data, str) else None
    except (NotBase64, ValueError):
        return None


def _binary_of(part: Json) -> str | None:
    found = target(str(part.get("url", "")))
    return found.id if found is not None and found.type == "Binary" else None


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
