"""An SR or an encapsulated document of a study as a DiagnosticReport: small steps, one target element each.

FHIR R4, DiagnosticReport; DICOM PS3.3, C.17 (SR Document modules) and C.24 (Encapsulated Document).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from server.records import us_core
from server.records.us_core import LOINC

from . import codes, structured_report
from .imaging_study import accession_identifier, items, order, persons, text
from .names import fhir_day, fhir_instant, fhir_moment
from .structured_report import Line

Json = dict[str, Any]

SR = "1.2.840.10008.5.1.4.1.1.88."
KEY_OBJECTS = SR + "59"  # marks images; it reports nothing
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
CDA = "1.2.840.10008.5.1.4.1.1.104.2"
_MEDIA = {PDF: "application/pdf", CDA: "text/xml"}
_RADIOLOGY = {
    "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
    "code": "RAD",
    "display": "Radiology",
}
_IMAGING_REPORT = {"system": LOINC, "code": "18748-4", "display": "Diagnostic imaging study"}


def is_report(sop_class: str) -> bool:
    """Whether an instance of this class says something about the study in words or findings."""
    return sop_class in _MEDIA or (sop_class.startswith(SR) and sop_class != KEY_OBJECTS)


def is_file(sop_class: str) -> bool:
    """Whether the instance wraps a file."""
    return sop_class in _MEDIA


@dataclass(frozen=True)
class Document:
    """One instance that reports, and the study it lies in."""

    id: str
    patient_id: str
    study_id: str  # of the ImagingStudy
    sop_uid: str
    sop_class: str
    model: Json  # DICOM JSON of the whole header
    day: str  # of the study, as it is shown
    time: str
    file: Json | None = None  # the attachment that leads to the wrapped file
    orders: Sequence[str] = field(default=())  # ServiceRequests with the accession number

    @cached_property
    def lines(self) -> list[Line]:
        return structured_report.lines_of(self.model)

    @property
    def title(self) -> str:
        """What the document calls itself."""
        concepts = (codes.concept(item) for item in items(self.model, "0040A043"))
        named = next((found.get("text", "") for found in concepts if found), "")
        return text(self.model, "00420010") or named or _IMAGING_REPORT["display"]


def media_type(document_class: str, model: Json) -> str:
    """The MIME type of an encapsulated document: what the class demands, whatever (0042,0012) says."""
    return _MEDIA.get(document_class) or text(model, "00420012") or "application/octet-stream"


def diagnostic_report(document: Document) -> Json:
    """The whole resource."""
    resource: Json = {"resourceType": "DiagnosticReport", "id": document.id}
    for step in STEPS:
        step(resource, document)
    return us_core.claimed(resource)


def set_narrative(resource: Json, document: Document) -> None:
    """The content of an SR as people read it."""
    if document.lines:
        div = structured_report.as_xhtml(document.title, document.lines)
        resource["text"] = {"status": "generated", "div": div}


def set_identifier(resource: Json, document: Document) -> None:
    """SOP Instance UID, Accession Number."""
    resource["identifier"] = [{"system": "urn:dicom:uid", "value": f"urn:oid:{document.sop_uid}"}]
    if accession := accession_identifier(document.model):
        resource["identifier"].append(accession)


def set_based_on(resource: Json, document: Document) -> None:
    """The order, known by its accession number."""
    if found := order(document.model, document.orders):
        resource["basedOn"] = found


def set_status(resource: Json, document: Document) -> None:
    """Completion Flag, Preliminary Flag, Verification Flag (PS3.3, C.17.2); without any, nobody knows."""
    completion, verification = text(document.model, "0040A491"), text(document.model, "0040A493")
    if completion == "PARTIAL":
        resource["status"] = "partial"
    elif text(document.model, "0040A496") == "PRELIMINARY":
        resource["status"] = "preliminary"
    elif verification == "VERIFIED":
        resource["status"] = "final"
    elif completion or verification:
        is_final = text(document.model, "0040A496") == "FINAL"
        resource["status"] = "final" if is_final else "preliminary"
    else:
        resource["status"] = "unknown"


def set_category(resource: Json, document: Document) -> None:
    """Radiology, as HL7 version 2 and US Core name it."""
    resource["category"] = [{"coding": [_RADIOLOGY]}, {"coding": [us_core.RADIOLOGY]}]


def set_code(resource: Json, document: Document) -> None:
    """Concept Name Code Sequence of the root, else an imaging report of the document's title."""
    concepts = [found for item in items(document.model, "0040A043") if (found := codes.concept(item))]
    plain = {"coding": [_IMAGING_REPORT], "text": document.title}
    resource["code"] = next(iter(concepts), plain)


def set_subject(resource: Json, document: Document) -> None:
    """The patient in whose record it lies, whatever the document says."""
    resource["subject"] = {"reference": f"Patient/{document.patient_id}"}


def set_effective(resource: Json, document: Document) -> None:
    """When what it reports on was done: the study's date and time."""
    if moment := fhir_moment(document.day, document.time, text(document.model, "00080201")):
        resource["effectiveDateTime"] = moment


def set_issued(resource: Json, document: Document) -> None:
    """The last verification, else Content Date and Time; only where its offset from UTC is known."""
    model, offset = document.model, text(document.model, "00080201")
    verified = sorted(text(item, "0040A030") for item in items(model, "0040A073"))
    content = text(model, "00080023") + text(model, "00080033") if text(model, "00080033") else ""
    for moment in [*reversed(verified), content]:
        if issued := fhir_instant(moment, offset):
            resource["issued"] = issued
            return


def set_performer(resource: Json, document: Document) -> None:
    """Who wrote it: authors, else the observers of the tree; and the institution that answers for it."""
    model = document.model
    authors = [name for item in items(model, "0040A078") for name in persons(item, "0040A123")]
    people = list(dict.fromkeys(authors or structured_report.observers(model)))
    custodian = [text(item, "00080080") for item in items(model, "0040A07C")]
    institutions = [each for each in (*custodian, text(model, "00080080")) if each][:1]
    performers = [{"display": each} for each in people]
    performers += [{"type": "Organization", "display": each} for each in institutions]
    if performers:
        resource["performer"] = performers


def set_interpreter(resource: Json, document: Document) -> None:
    """Verifying Observer Name: who answers for what is said."""
    verifiers = [name for item in items(document.model, "0040A073") for name in persons(item, "0040A075")]
    if verifiers:
        resource["resultsInterpreter"] = [{"display": each} for each in dict.fromkeys(verifiers)]


def set_imaging_study(resource: Json, document: Document) -> None:
    """The study it lies in."""
    resource["imagingStudy"] = [{"reference": f"ImagingStudy/{document.study_id}"}]


def set_conclusion(resource: Json, document: Document) -> None:
    """What stands under an impression or a conclusion."""
    texts, concepts = structured_report.conclusions(document.model)
    if texts:
        resource["conclusion"] = "\n".join(texts)
    if concepts:
        resource["conclusionCode"] = concepts


def set_presented_form(resource: Json, document: Document) -> None:
    """The wrapped file; of an SR its content as plain text."""
    if document.file is not None:
        resource["presentedForm"] = [document.file]
    elif document.lines:
        content = f"{document.title}\n\n{structured_report.as_text(document.lines)}\n".encode()
        resource["presentedForm"] = [
            {
                "contentType": "text/plain; charset=utf-8",
                "data": b64encode(content).decode(),
                "size": len(content),
                "title": document.title,
                **_created(document.model),
            }
        ]


def attachment(document_class: str, model: Json, url: str, size: int, title: str) -> Json:
    """The attachment of a wrapped file."""
    return {
        "contentType": media_type(document_class, model),
        "url": url,
        "size": size,
        "title": title,
        **_created(model),
    }


def _created(model: Json) -> Json:
    day = fhir_day(text(model, "00080023"))
    return {"creation": day} if day else {}


STEPS: tuple[Callable[[Json, Document], None], ...] = (
    set_narrative,
    set_identifier,
    set_based_on,
    set_status,
    set_category,
    set_code,
    set_subject,
    set_effective,
    set_issued,
    set_performer,
    set_interpreter,
    set_imaging_study,
    set_conclusion,
    set_presented_form,
)
