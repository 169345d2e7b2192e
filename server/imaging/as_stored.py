"""Studies and series as rows of the catalogue, in the form that resources are made of."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from server.storage.db import Record

from .to_fhir.imaging_study import Instance, Series, Study


def study_of(row: Record, series: Sequence[Series], orders: Sequence[str]) -> Study:
    """A row of `study`, with its series and the orders that it was made for."""
    return Study(
        id=row["fhir_id"],
        uid=row["study_uid"],
        patient_id=row["patient_id"],
        day=row["study_day"],
        time=row["study_time"],
        modalities=row["modalities"],
        attributes=orjson.loads(row["attributes"]),
        series=series,
        orders=orders,
    )


def series_of(row: Record, instances: Sequence[Instance]) -> Series:
    """A row of `series`, with its instances."""
    return Series(
        uid=row["series_uid"],
        modality=row["modality"],
        number=row["series_number"],
        day=row["series_day"],
        time=row["series_time"],
        attributes=orjson.loads(row["attributes"]),
        instances=instances,
        author=row["author"],
    )


def instance_of(row: Record) -> Instance:
    """A row of `instance`."""
    return Instance(row["sop_uid"], row["sop_class"], row["instance_number"])
