"""What else a study gives besides its ImagingStudy: reports, the files in them, equipment, and who brought it.

Made anew with the ImagingStudy, in its transaction and under its lock. Ids follow from what each was made of, so that
nothing changes when nothing changed, and what was taken back comes back under its own name.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import structlog

from server.access.reach import Reach
from server.access.services import Services
from server.core.errors import ServerError
from server.records import store
from server.records.content import InInstance, marked
from server.records.provenance import agent, agents_of, derived_id, provenance
from server.storage.db import Record
from server.storage.sql import load

from . import bulk, catalogue
from .contents import ENCAPSULATED
from .dicom_json import ROOT, from_column
from .to_fhir import device, diagnostic_report
from .to_fhir import manifest as manifests
from .to_fhir.diagnostic_report import Document
from .to_fhir.imaging_study import Series, Study, text

QUERIES = load(__package__)

Json = dict[str, Any]
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Source:
    """A study that resources are made of, as it is shown, and where it came from."""

    study: Study
    resource: Json  # its ImagingStudy
    row: Record  # study_to_rebuild
    authors: Sequence[str]  # who brought its series


def equipped(patient_id: str, study_uid: str, series: Iterable[Series]) -> tuple[list[Series], list[Json]]:
    """The series with the ids of their Devices, and the Devices."""
    devices: dict[str, Json] = {}
    found = []
    for each in series:
        if facts := device.facts(each.attributes):
            id = derived_id("device", patient_id, study_uid, *facts)
            devices.setdefault(id, device.device(id, each.attributes))
            each = replace(each, device=id)
        found.append(each)
    return found, list(devices.values())


async def orders_of(services: Services, row: Record) -> list[str]:
    """ServiceRequests of the patient with the accession number that the images carry."""
    if not row["accession_number"]:
        return []
    values = {"patient_id": row["patient_id"], "accession": row["accession_number"]}
    return [each["id"] for each in await services.db.fetch_all(QUERIES["orders_of_study"], values)]


async def ordered(services: Services, patient_id: str, order: Json) -> None:
    """A ServiceRequest was written: studies made for it refer to it from their next reading on."""
    identifiers = order.get("identifier", [])
    values = [str(each.get("value", "")) for each in identifiers if isinstance(each, dict)]
    if values:
        key = {"patient_id": patient_id, "accessions": values}
        await services.db.execute(QUERIES["ordered_studies"], key)


async def frames_of(services: Services, patient_id: str, study_uid: str, *, reach: Reach) -> dict[str, int]:
    """The number of frames of multi-frame instances, by SOP Instance UID."""
    key = {"patient_id": patient_id, "study_uid": study_uid}
    rows = await services.db.fetch_all(QUERIES["frames_of_study"], key, reach=reach.studies())
    return {row["sop_uid"]: row["frame_count"] for row in rows}


async def make(services: Services, source: Source, devices: Sequence[Json]) -> None:
    """Put what belongs to the study, and end what does so no more."""
    key: dict[str, Any] = {"patient_id": source.study.patient_id, "study_uid": source.study.uid}
    before = {
        (row["type"], row["id"]): row["report"]
        for row in await services.db.fetch_all(QUERIES["derived_from_study"], key)
    }
    kept: set[tuple[str, str]] = set()
    for resource in [*devices, *await _origins(services, source)]:
        kept.add((resource["resourceType"], resource["id"]))
        await store.put(services.db, resource, **key, author="server")
    kept |= await _reports(services, source, before)
    for type, id in before.keys() - kept:
        await _end(services, type, id)


async def remove(services: Services, patient_id: str, study_uid: str, study_id: str) -> None:
    """End what was made of a study that is forgotten for good, the ImagingStudy too."""
    key = {"patient_id": patient_id, "study_uid": study_uid}
    for row in await services.db.fetch_all(QUERIES["derived_from_study"], key):
        await _end(services, row["type"], row["id"])
    await _end(services, "ImagingStudy", study_id)
    correction = derived_id("provenance", "ImagingStudy", study_id, "correction")
    await store.remove(services.db, "Provenance", correction, author="server")


async def _end(services: Services, type: str, id: str) -> None:
    """A resource and the Provenance of it."""
    await store.remove(services.db, type, id, author="server")
    await store.remove(services.db, "Provenance", derived_id("provenance", type, id), author="server")


async def _reports(
    services: Services, source: Source, before: Mapping[tuple[str, str], bytes | None]
) -> set[tuple[str, str]]:
    """Make the reports of the study; what there is of them now."""
    classes = [each for each in source.row["sop_classes"] if diagnostic_report.is_report(each)]
    if not classes:
        return set()
    key: dict[str, Any] = {"patient_id": source.study.patient_id, "study_uid": source.study.uid}
    kept: set[tuple[str, str]] = set()
    for row in await services.db.fetch_all(QUERIES["documents_to_rebuild"], key | {"sop_classes": classes}):
        kept |= await _report(services, source, row, before)
    return kept


async def _report(
    services: Services, source: Source, row: Record, before: Mapping[tuple[str, str], bytes | None]
) -> set[tuple[str, str]]:
    study = source.study
    key: dict[str, Any] = {"patient_id": study.patient_id, "study_uid": study.uid}
    id = derived_id("report", study.patient_id, row["sop_uid"])
    model: Json = orjson.loads(from_column(row["metadata"]).replace(ROOT, b""))
    document = Document(
        id=id,
        patient_id=study.patient_id,
        study_id=study.id,
        sop_uid=row["sop_uid"],
        sop_class=row["sop_class"],
        model=model,
        day=study.day,
        time=study.time,
        orders=study.orders,
    )
    kept = {("DiagnosticReport", id)}
    if diagnostic_report.is_file(row["sop_class"]):
        binary = ("Binary", derived_id("file", study.patient_id, row["sop_uid"]))
        stored = orjson.loads(before.get(("DiagnosticReport", id)) or b"{}").get("presentedForm")
        if not (binary in before and stored):  # the object never changes: read once
            stored = await _keep_file(services, document, binary[1], key)
        document = replace(document, file=stored[0] if stored else None)
        kept.add(binary)
    await store.put(services.db, diagnostic_report.diagnostic_report(document), **key, author="server")
    agents = await _agents(services, source, [row["author"]])
    noted = provenance(
        derived_id("provenance", "DiagnosticReport", id), f"DiagnosticReport/{id}", row["created_at"], agents
    )
    await store.put(services.db, noted, **key, author="server")
    return kept


async def _keep_file(services: Services, document: Document, id: str, key: Mapping[str, Any]) -> list[Json]:
    """The wrapped file as a Binary, and the attachment that leads to it; nothing where it cannot be read.

    Its content stays where it is, in the DICOM object, but for a short one that the metadata hold anyway.
    """
    kind = diagnostic_report.media_type(document.sop_class, document.model)
    binary: Json = {
        "resourceType": "Binary",
        "id": id,
        "contentType": kind,
        "securityContext": {"reference": f"Patient/{document.patient_id}"},
    }
    held: InInstance | None = None
    try:
        if "InlineBinary" in (element := document.model.get(ENCAPSULATED, {})):
            content = b64decode(element["InlineBinary"])
            size = _length(document, len(content), content[-1:])
            binary["data"] = b64encode(content[:size]).decode("ascii")
        else:
            size = await _size(services, document)
            held = InInstance(document.sop_uid, size)
            binary = marked(binary, held.mark)
    except (ServerError, OSError) as error:
        log.warning("an encapsulated document cannot be read", error=type(error).__name__)
        return []
    await store.put(services.db, binary, **key, author="server", contents=held)
    return [
        diagnostic_report.attachment(document.sop_class, document.model, f"Binary/{id}", size, document.title)
    ]


async def _size(services: Services, document: Document) -> int:
    row = await catalogue.held_instance(services.db, document.patient_id, document.sop_uid)
    found = await bulk.find(services, row, (ENCAPSULATED,))
    last = b"".join([chunk async for chunk in found.chunks(max(0, found.size - 1))])
    return _length(document, found.size, last)


def _length(document: Document, size: int, last: bytes) -> int:
    """Of the file as it was wrapped: without the byte that makes its length even (PS3.3, C.24.2)."""
    said = text(document.model, "00420015")
    if said.isdigit() and int(said) == size - 1:
        return size - 1
    return size - 1 if last == b"\0" and size % 2 == 0 else size


async def _origins(services: Services, source: Source) -> list[Json]:
    """Who brought the study, and who corrected it last."""
    study, target = source.study, f"ImagingStudy/{source.study.id}"
    found = origins(source, await _agents(services, source, source.authors))
    key = {"patient_id": study.patient_id, "study_uid": study.uid}
    row = await services.db.fetch_one(QUERIES["latest_correction"], key)
    if row is not None:
        by = await agents_of(
            services.db, study.patient_id, [f"account:{row['by_account']}"] * bool(row["by_account"])
        )
        id = derived_id("provenance", "ImagingStudy", study.id, "correction")
        found.append(
            provenance(id, target, row["created_at"], by or _patient(study.patient_id), activity="UPDATE")
        )
    return found


def origins(source: Source, agents: list[Json]) -> list[Json]:
    """Who brought a study, as it is said of each; and its manifest."""
    study = source.study
    id = derived_id("provenance", "ImagingStudy", study.id)
    brought = provenance(
        id, f"ImagingStudy/{study.id}", source.row["created_at"], agents or _patient(study.patient_id)
    )
    manifest = manifests.document_reference(
        derived_id("manifest", study.id), source.resource, source.row["created_at"]
    )
    return [brought, manifest]


async def _agents(services: Services, source: Source, authors: Sequence[str]) -> list[Json]:
    agents = await agents_of(services.db, source.study.patient_id, authors_of(source.row, authors))
    return agents or _patient(source.study.patient_id)


def authors_of(row: Record, authors: Sequence[str]) -> list[str]:
    """Who brought it; of what came before that was written down, the organization (the patient, where none is)."""
    organization = f"organization:{row['organization_id']}" if row["organization_id"] else ""
    return [each for each in authors if each] or [each for each in (row["author"], organization) if each][:1]


def _patient(patient_id: str) -> list[Json]:
    return [agent("enterer", {"reference": f"Patient/{patient_id}"})]
