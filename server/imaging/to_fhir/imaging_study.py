"""A study of the catalogue as an ImagingStudy: small steps, one target element each.

FHIR R4, ImagingStudy; DICOM PS3.3, C.7.2 and C.7.3 (General Study and General Series modules).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import codes
from .names import fhir_moment, human_name, printable

Json = dict[str, Any]

_MOST = 2**31 - 1
_IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")


@dataclass(frozen=True)
class Instance:
    """One SOP instance."""

    uid: str
    sop_class: str
    number: int | None


@dataclass(frozen=True)
class Series:
    """One series with what is left of it."""

    uid: str
    modality: str
    number: int | None
    day: str  # YYYYMMDD
    time: str  # HHMMSSffffff
    attributes: Json  # DICOM JSON
    instances: Sequence[Instance] = ()
    device: str = ""  # the Device that made it
    author: str = ""  # who brought it, as `resource.author` says it


@dataclass(frozen=True)
class Study:
    """One study as the catalogue has it."""

    id: str
    uid: str
    patient_id: str
    day: str
    time: str
    modalities: Sequence[str]
    attributes: Json
    series: Sequence[Series] = field(default=())
    orders: Sequence[str] = field(default=())  # ServiceRequests of the patient with its accession number


def imaging_study(study: Study) -> Json:
    """The whole resource."""
    resource: Json = {"resourceType": "ImagingStudy", "id": study.id}
    for step in STEPS:
        step(resource, study)
    return resource


def set_identifier(resource: Json, study: Study) -> None:
    """Study Instance UID, Accession Number, Study ID."""
    identifiers: list[Json] = [{"system": "urn:dicom:uid", "value": f"urn:oid:{study.uid}"}]
    if accession := accession_identifier(study.attributes):
        identifiers.append(accession)
    if study_id := text(study.attributes, "00200010"):
        identifiers.append({"use": "usual", "value": study_id})
    resource["identifier"] = identifiers


def set_status(resource: Json, study: Study) -> None:
    """What is in the catalogue can be had."""
    resource["status"] = "available"


def set_modality(resource: Json, study: Study) -> None:
    """Modalities in Study; at least one."""
    resource["modality"] = [codes.modality(code) for code in study.modalities or ("OT",)]


def set_subject(resource: Json, study: Study) -> None:
    """The patient in whose record it lies, whatever the images say."""
    resource["subject"] = {"reference": f"Patient/{study.patient_id}"}


def set_started(resource: Json, study: Study) -> None:
    """Study Date and Time."""
    offset = text(study.attributes, "00080201")
    if started := fhir_moment(study.day, study.time, offset):
        resource["started"] = started


def set_based_on(resource: Json, study: Study) -> None:
    """The order, known by its accession number."""
    if found := order(study.attributes, study.orders):
        resource["basedOn"] = found


def set_referrer(resource: Json, study: Study) -> None:
    """Referring Physician's Name."""
    if name := person(study.attributes, "00080090"):
        resource["referrer"] = {"display": name}


def set_interpreter(resource: Json, study: Study) -> None:
    """Name of Physician(s) Reading Study."""
    names = persons(study.attributes, "00081060")
    if names:
        resource["interpreter"] = [{"display": name} for name in names]


def set_endpoint(resource: Json, study: Study) -> None:
    """Where the images are retrieved."""
    resource["endpoint"] = [{"reference": f"Endpoint/{study.patient_id}"}]


def set_counts(resource: Json, study: Study) -> None:
    """Number of series and instances."""
    resource["numberOfSeries"] = len(study.series)
    resource["numberOfInstances"] = sum(len(series.instances) for series in study.series)


def set_procedure_code(resource: Json, study: Study) -> None:
    """Procedure Code Sequence, else the Requested Procedure Code Sequence."""
    performed = _concepts(study.attributes, "00081032")
    if found := performed or _concepts(study.attributes, "00321064"):
        resource["procedureCode"] = found


def set_reason_code(resource: Json, study: Study) -> None:
    """Why it was done, or asked for: in codes, else in words; of the study, else of the requests in its series."""
    requests = [item for series in study.series for item in items(series.attributes, "00400275")]
    for said in (study.attributes, *requests):
        found = _concepts(said, "00401012") or _concepts(said, "0040100A")
        if not found and (reason := text(said, "00401002")):
            found = [{"text": reason}]
        if found:
            resource["reasonCode"] = found
            return


def set_description(resource: Json, study: Study) -> None:
    """Study Description."""
    if description := text(study.attributes, "00081030"):
        resource["description"] = description


def set_series(resource: Json, study: Study) -> None:
    """Every series with its instances."""
    if study.series:
        resource["series"] = [_series(series) for series in study.series]


STEPS: tuple[Callable[[Json, Study], None], ...] = (
    set_identifier,
    set_status,
    set_modality,
    set_subject,
    set_started,
    set_based_on,
    set_referrer,
    set_interpreter,
    set_endpoint,
    set_counts,
    set_procedure_code,
    set_reason_code,
    set_description,
    set_series,
)


def accession_identifier(attributes: Json) -> Json | None:
    """Accession Number, with its issuer where the object names it (PS3.3, 10.14, HL7v2 Hierarchic Designator)."""
    value = text(attributes, "00080050")
    if not value:
        return None
    found: Json = {"type": {"coding": [{"system": _IDENTIFIER_TYPE, "code": "ACSN"}]}}
    for issuer in items(attributes, "00080051"):
        if text(issuer, "00400033") == "ISO" and _OID.fullmatch(text(issuer, "00400032")):
            found["system"] = f"urn:oid:{text(issuer, '00400032')}"
        if namespace := text(issuer, "00400031"):
            found["assigner"] = {"display": namespace}
    return {**found, "value": value}


def order(attributes: Json, orders: Sequence[str]) -> list[Json]:
    """References to the order: by its accession number, and by its id where the record holds it."""
    accession = accession_identifier(attributes)
    if accession is None:
        return []
    by_number: Json = {"type": "ServiceRequest", "identifier": accession}
    return [{"reference": f"ServiceRequest/{each}", **by_number} for each in orders] or [by_number]


def _concepts(attributes: Json, tag: str) -> list[Json]:
    return [concept for item in items(attributes, tag) if (concept := codes.concept(item))]


def _series(series: Series) -> Json:
    attributes = series.attributes
    found: Json = {
        "uid": series.uid,
        "number": _unsigned(series.number),
        "modality": codes.modality(series.modality or "OT"),
        "description": text(attributes, "0008103E"),
        "numberOfInstances": len(series.instances),
        "bodySite": codes.body_site(text(attributes, "00180015")),
        "laterality": codes.laterality(text(attributes, "00200060")),
        "started": fhir_moment(series.day, series.time, text(attributes, "00080201")),
        "performer": _performers(attributes, series.device),
        "instance": [_instance(instance) for instance in series.instances],
    }
    return _without_empty(found)


def _instance(instance: Instance) -> Json:
    return _without_empty(
        {
            "uid": instance.uid,
            "sopClass": codes.sop_class(instance.sop_class),
            "number": _unsigned(instance.number),
        }
    )


def _performers(attributes: Json, device: str) -> list[Json]:
    """Performing Physician, Operators, the institution and the equipment."""
    physicians, operators = persons(attributes, "00081050"), persons(attributes, "00081070")
    found = [_performer("PRF", "performer", name) for name in dict.fromkeys(physicians)]
    found += [_performer("SPRF", "secondary performer", name) for name in dict.fromkeys(operators)]
    if institution := text(attributes, "00080080"):
        found.append({"actor": {"type": "Organization", "display": institution}})
    if device:
        found.append({"actor": {"reference": f"Device/{device}"}})
    return found


def _performer(code: str, display: str, name: str) -> Json:
    coding = {"system": _PARTICIPATION, "code": code, "display": display}
    return {"function": {"coding": [coding]}, "actor": {"display": name}}


def _unsigned(number: int | None) -> int | None:
    return number if number is not None and 0 <= number <= _MOST else None


def _without_empty(found: Json) -> Json:
    """FHIR has no empty values (R4, 2.6.2); a zero is none."""
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def text(model: Json, tag: str) -> str:
    """The first value of an attribute as text."""
    values = model.get(tag, {}).get("Value") or [""]
    value = values[0]
    return " ".join(printable(str(value)).split()) if isinstance(value, str | int | float) else ""


def items(model: Json, tag: str) -> list[Json]:
    """The items of a sequence; none of an attribute that an object says is something else."""
    element = model.get(tag, {})
    return list(element.get("Value") or ()) if element.get("vr") == "SQ" else []


def persons(model: Json, tag: str) -> list[str]:
    """Person names, as people write them."""
    element = model.get(tag, {})
    values: Iterable[Any] = element.get("Value") or () if element.get("vr") == "PN" else ()
    groups = [next(iter(value.values()), "") for value in values if value]
    names = [human_name(group).get("text", "") for group in groups]
    return [name for name in names if name]


def person(model: Json, tag: str) -> str:
    """The first of them, empty when there is none."""
    return next(iter(persons(model, tag)), "")
