"""A study of the catalogue as an ImagingStudy: small pure steps, one target element each.

FHIR R4, ImagingStudy (mappings to DICOM); Argonaut SMART Imaging Access 0.1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import codes
from .codes import person, text, values
from .endpoint import endpoint_id
from .names import fhir_moment, human_name

Json = dict[str, Any]

_IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
_PERFORMER = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


@dataclass(frozen=True)
class Instance:
    """One instance, as the resource needs it."""

    uid: str
    sop_class: str
    number: int | None


@dataclass(frozen=True)
class Series:
    """One series: its attributes in DICOM JSON, and its instances in order."""

    uid: str
    number: int | None
    modality: str
    attributes: Json
    instances: Sequence[Instance]


@dataclass(frozen=True)
class Study:
    """One study: what the catalogue knows of it."""

    fhir_id: str
    patient_id: str
    uid: str
    modalities: Sequence[str]
    attributes: Json
    series: Sequence[Series]


Step = Callable[[Study], Json]


def imaging_study(study: Study) -> Json:
    """The resource, whole; the same study gives the same resource."""
    resource: Json = {"resourceType": "ImagingStudy", "id": study.fhir_id}
    for step in STEPS:
        resource |= step(study)
    return resource


def _identifier(study: Study) -> Json:
    found: list[Json] = [{"system": "urn:dicom:uid", "value": codes.oid(study.uid)}]
    if number := text(study.attributes, "00080050"):
        found.append(_accession(number))
    return {"identifier": found}


def _accession(number: str) -> Json:
    return {"type": {"coding": [{"system": _IDENTIFIER_TYPE, "code": "ACSN"}]}, "value": number}


def _status(study: Study) -> Json:
    return {"status": "available"}


def _modality(study: Study) -> Json:
    return {"modality": [codes.modality(code) for code in study.modalities]} if study.modalities else {}


def _subject(study: Study) -> Json:
    return {"subject": {"reference": f"Patient/{study.patient_id}"}}


def _started(study: Study) -> Json:
    started = _moment(study.attributes, "00080020", "00080030")
    return {"started": started} if started else {}


def _moment(attributes: Json, day: str, time: str) -> str | None:
    digits = "".join(part for part in text(attributes, time).replace(":", ""))
    whole, _, fraction = digits.partition(".")
    padded = whole.ljust(6, "0") + fraction if whole.isdigit() and len(whole) in (2, 4, 6) else ""
    return fhir_moment(text(attributes, day), padded, text(attributes, "00080201"))


def _based_on(study: Study) -> Json:
    """The order behind the study, by its accession number: a logical reference (R4, 2.3.0.2)."""
    number = text(study.attributes, "00080050")
    return {"basedOn": [{"type": "ServiceRequest", "identifier": _accession(number)}]} if number else {}


def _referrer(study: Study) -> Json:
    display = _display(study.attributes, "00080090")
    return {"referrer": {"display": display}} if display else {}


def _display(attributes: Json, tag: str) -> str:
    groups = (human_name(group).get("text", "") for group in person(attributes, tag))
    return next((name for name in groups if name), "")


def _endpoint(study: Study) -> Json:
    return {"endpoint": [{"reference": f"Endpoint/{endpoint_id(study.patient_id)}"}]}


def _counts(study: Study) -> Json:
    instances = sum(len(series.instances) for series in study.series)
    return {"numberOfSeries": len(study.series), "numberOfInstances": instances}


def _procedure(study: Study) -> Json:
    found = [concept for item in values(study.attributes, "00081032") if (concept := codes.coded(item))]
    return {"procedureCode": found} if found else {}


def _description(study: Study) -> Json:
    description = text(study.attributes, "00081030")
    return {"description": description} if description else {}


def _series(study: Study) -> Json:
    found = [series_element(series) for series in study.series]
    return {"series": found} if found else {}


STEPS: tuple[Step, ...] = (
    _identifier,
    _status,
    _modality,
    _subject,
    _started,
    _based_on,
    _referrer,
    _endpoint,
    _counts,
    _procedure,
    _description,
    _series,
)


def series_element(series: Series) -> Json:
    """ImagingStudy.series of one series."""
    element: Json = {"uid": series.uid}
    if series.number is not None and 0 <= series.number <= 2_147_483_647:
        element["number"] = series.number
    element["modality"] = codes.modality(series.modality or "OT")  # 1..1 in R4
    optional = {
        "description": text(series.attributes, "0008103E"),
        "numberOfInstances": len(series.instances),
        "bodySite": codes.body_site(text(series.attributes, "00180015")),
        "laterality": codes.laterality(text(series.attributes, "00200060")),
        "started": _moment(series.attributes, "00080021", "00080031"),
        "performer": _performers(series.attributes),
        "instance": [_instance(instance) for instance in series.instances],
    }
    return element | {name: value for name, value in optional.items() if value}


def _performers(attributes: Json) -> list[Json]:
    """Performing Physician and Operator, each by name: they have no account here."""
    function = {"coding": [{"system": _PERFORMER, "code": "PRF"}]}
    shown = (_display(attributes, tag) for tag in ("00081050", "00081070"))
    return [{"function": function, "actor": {"display": name}} for name in dict.fromkeys(shown) if name]


def _instance(instance: Instance) -> Json:
    element: Json = {
        "uid": instance.uid,
        "sopClass": {"system": codes.URI, "code": codes.oid(instance.sop_class)},
    }
    if instance.number is not None and 0 <= instance.number <= 2_147_483_647:
        element["number"] = instance.number
    return element
