"""The manifest of a study in DICOM's own form: a Key Object Selection that names every instance and where it lies.

DICOM PS3.3, A.35.4 (Key Object Selection Document IOD), C.17.6 (its modules); PS3.16, TID 2010, title (113030, DCM,
"Manifest"); IHE RAD MADO, 4.3 (what of it stands where in the FHIR form). Pure functions of the same `Manifest`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from io import BytesIO
from typing import Any, TypeAlias

from server.imaging.rewritten import IMPLEMENTATION_NAME, IMPLEMENTATION_UID
from server.records.names import givens

from .manifest import Json, Manifest, oid
from .value_types import value_type

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
_EXPLICIT = "1.2.840.10008.1.2.1"
_SEXES = {"male": "M", "female": "F", "other": "O"}
_LONGEST = 64  # characters of LO and of a part of a name

Dataset: TypeAlias = Any  # pydicom's, which has no types


def key_objects(manifest: Manifest) -> bytes:
    """The object as a file. Nothing in it changes while the study and what is seen of the patient do not."""
    from pydicom.dataset import (
        FileDataset,
        FileMetaDataset,
    )  # here: a server that makes none does not need it
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(KEY_OBJECTS), UID(sop_uid(manifest))
    meta.TransferSyntaxUID = UID(_EXPLICIT)
    meta.ImplementationClassUID, meta.ImplementationVersionName = UID(IMPLEMENTATION_UID), IMPLEMENTATION_NAME
    file, zone = BytesIO(), _zone(manifest.study)
    written = datetime.fromisoformat(manifest.study["meta"]["lastUpdated"]).astimezone(zone)
    made = FileDataset(file, {}, file_meta=meta, preamble=b"\0" * 128)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = KEY_OBJECTS, sop_uid(manifest)
    made.TimezoneOffsetFromUTC = written.strftime("%z")
    made.ContentDate, made.ContentTime = written.strftime("%Y%m%d"), written.strftime("%H%M%S")
    made.InstanceNumber, made.Manufacturer, made.InstitutionName = "1", "Lightbox", manifest.operator
    _say_patient(made, manifest.patient)
    _say_study(made, manifest.study)
    _say_series(made, manifest)
    _say_content(made, manifest)
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def sop_uid(manifest: Manifest) -> str:
    """The same as the FHIR form has for its identifier (MADO: masterIdentifier)."""
    return oid(manifest.study["id"])


def _say_patient(made: Dataset, patient: Json | None) -> None:
    """PS3.3, C.7.1.1; empty where the reader may not see whose it is."""
    seen = patient or {}
    name: Json = next(iter(seen.get("name", [])), {})
    parts = (name.get("family") or name.get("text", ""), " ".join(givens(name)))
    made.PatientName = "^".join(_plain(str(part)) for part in parts).rstrip("^")
    known: Json = next((each for each in seen.get("identifier", []) if each.get("value")), {})
    made.PatientID = _plain(str(known.get("value", "")))
    if known.get("system"):
        made.IssuerOfPatientID = _plain(known["system"])
    birth = str(seen.get("birthDate", "")).replace("-", "")
    made.PatientBirthDate = birth if len(birth) == 8 else ""
    made.PatientSex = _SEXES.get(seen.get("gender", ""), "")


def _say_study(made: Dataset, study: Json) -> None:
    """PS3.3, C.7.2.1."""
    started = str(study.get("started", ""))
    day, _, time = started.partition("T")
    made.StudyInstanceUID = _study_uid(study)
    made.StudyDate = day.replace("-", "") if len(day) == 10 else ""
    made.StudyTime = re.sub(r"[^\d].*$", "", time.replace(":", ""))
    made.StudyDescription = _plain(study.get("description", ""))
    made.AccessionNumber, made.ReferringPhysicianName, made.StudyID = _accession(study), "", ""


def _zone(study: Json) -> tzinfo:
    """Where the study's own date and time hold: they are told as the images tell them, and so is every other."""
    try:
        return datetime.fromisoformat(str(study.get("started", ""))).tzinfo or UTC
    except ValueError:  # of no day, or partial
        return UTC


def _say_series(made: Dataset, manifest: Manifest) -> None:
    """PS3.3, C.17.6.1."""
    made.Modality, made.SeriesNumber = "KO", "1"
    made.SeriesInstanceUID = oid(f"series of {manifest.study['id']}")
    made.SeriesDescription = "Manifest"
    made.ReferencedPerformedProcedureStepSequence = []


def _say_content(made: Dataset, manifest: Manifest) -> None:
    """PS3.3, C.17.6.2 and C.17.3; PS3.16, TID 2010."""
    series = manifest.study.get("series", [])
    made.ReferencedRequestSequence = []
    made.CurrentRequestedProcedureEvidenceSequence = [
        _item(
            StudyInstanceUID=_study_uid(manifest.study),
            ReferencedSeriesSequence=[_evidence(each, manifest) for each in series],
        )
    ]
    made.ValueType, made.ContinuityOfContent = "CONTAINER", "SEPARATE"
    made.ConceptNameCodeSequence = [
        _item(CodeValue="113030", CodingSchemeDesignator="DCM", CodeMeaning="Manifest")
    ]
    made.ContentTemplateSequence = [_item(MappingResource="DCMR", TemplateIdentifier="2010")]
    made.ContentSequence = [
        _item(
            RelationshipType="CONTAINS",
            ValueType=value_type(_sop_class(one)),
            ReferencedSOPSequence=[_reference(one)],
        )
        for one in _instances(series)
    ]


def _evidence(series: Json, manifest: Manifest) -> Dataset:
    """A series and where it is to be had."""
    root = manifest.endpoint["address"].rstrip("/")
    return _item(
        SeriesInstanceUID=series["uid"],
        RetrieveURL=f"{root}/studies/{_study_uid(manifest.study)}/series/{series['uid']}",
        RetrieveLocationUID=oid(manifest.endpoint["address"]),
        ReferencedSOPSequence=[_reference(one) for one in series.get("instance", [])],
    )


def _reference(instance: Json) -> Dataset:
    return _item(ReferencedSOPClassUID=_sop_class(instance), ReferencedSOPInstanceUID=instance["uid"])


def _instances(series: list[Json]) -> Iterator[Json]:
    for each in series:
        yield from each.get("instance", [])


def _sop_class(instance: Json) -> str:
    return str(instance["sopClass"]["code"]).removeprefix("urn:oid:")


def _study_uid(study: Json) -> str:
    found = (each["value"] for each in study["identifier"] if each.get("system") == "urn:dicom:uid")
    return str(next(found)).removeprefix("urn:oid:")


def _accession(study: Json) -> str:
    for each in study["identifier"]:
        codings = each.get("type", {}).get("coding", [])
        if any(one.get("code") == "ACSN" for one in codings):
            return str(each.get("value", ""))[:16]
    return ""


def _plain(text: str) -> str:
    """A text as one value: without what parts values and names."""
    return re.sub(r"[\\^=\x00-\x1f]", " ", str(text)).strip()[:_LONGEST]


def _item(**values: Any) -> Dataset:
    from pydicom.dataset import Dataset as Item

    item = Item()
    for name, value in values.items():
        setattr(item, name, value)
    return item
