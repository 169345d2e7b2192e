"""The filters of granular scopes as conditions (SMART App Launch 2.2, "finer-grained resource constraints").

A filter on imaging selects whole studies: a PET/CT study is seen whole or not, the same in FHIR and DICOMweb
(decision 3). A filter that cannot be put into a statement opens nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from server.storage.where import FALSE, Where, any_of

from . import days
from .scopes import Coded, Filter

DCM = "http://dicom.nema.org/resources/ontology/DCM"


@dataclass(frozen=True)
class StudyFacts:
    """What filters ask of a study that is being written."""

    modalities: Collection[str]
    day: date | None = None
    id: str | None = None  # of its ImagingStudy


def study_filter(filter: Filter, alias: str, prefix: str) -> Where:
    """A condition over a row of table `study`."""
    match filter.param:
        case "modality":
            return Where(f"{alias}.modalities && :{prefix}::text[]", {prefix: modalities_of(filter)})
        case "started":
            return any_of(*(_day(value, alias, f"{prefix}_{n}") for n, value in enumerate(filter.values)))
        case "_id":
            ids = [value.code for value in filter.values if value.system is None]
            return Where(f"{alias}.fhir_id = ANY (:{prefix}::text[])", {prefix: ids})
    return FALSE


def passes(filter: Filter, study: StudyFacts) -> bool:
    """The same, asked of facts: old and new content of a write must both lie within (SMART App Launch 2.2)."""
    match filter.param:
        case "modality":
            return not set(modalities_of(filter)).isdisjoint(study.modalities)
        case "started":
            spans = [days.span(value.code) for value in filter.values]
            day = study.day
            return day is not None and any(span and span[0] <= day <= span[1] for span in spans)
        case "_id":
            return study.id is not None and study.id in [v.code for v in filter.values if v.system is None]
    return False


def modalities_of(filter: Filter) -> list[str]:
    """The DICOM modalities that a filter names."""
    return [value.code for value in filter.values if value.system in (None, DCM)]


def _day(value: Coded, alias: str, prefix: str) -> Where:
    """A study without a date is of no day; so it is not found by one."""
    span = days.span(value.code) if value.system is None else None
    if span is None:
        return FALSE
    text = f"{alias}.study_date BETWEEN :{prefix}_first::date AND :{prefix}_last::date"
    return Where(text, {f"{prefix}_first": span[0], f"{prefix}_last": span[1]})


def resource_filter(filter: Filter, alias: str, type: str, prefix: str) -> Where:
    """A condition over a row of table `resource`: it has one of the codes, as the search index knows them."""
    param = Where(f"scoped.param = :{prefix}_param", {f"{prefix}_param": f"{type}.{filter.param}"})
    coded = []
    for number, value in enumerate(filter.values):
        name = f"{prefix}_{number}"
        one = Where(f"scoped.code = :{name}", {name: value.code})
        if value.system is not None:
            one = one & Where(f"scoped.system = :{name}_system", {f"{name}_system": value.system})
        coded.append(one)
    match = param & any_of(*coded)
    text = f"EXISTS (SELECT 1 FROM index_token AS scoped WHERE scoped.key = {alias}.key AND ({match.sql}))"  # noqa: S608
    return Where(text, match.values)


def version_filter(filter: Filter, alias: str, prefix: str) -> Where:
    """The same over a row of `resource_version`: what that version had, which the index knows of the latest only."""
    marks = [mark(filter.param, value.code, value.system) for value in filter.values]
    return Where(f"{alias}.scoped && :{prefix}_marks::text[]", {f"{prefix}_marks": marks})


def mark(param: str, code: str, system: str | None = None) -> str:
    """A code as a version keeps it; without a system it stands for the code in any."""
    return "\x1f".join((param, code) if system is None else (param, code, system))
