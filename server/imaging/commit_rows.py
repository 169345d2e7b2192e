"""What a store writes, as the columns that its statements unnest: all studies of a group in one statement each.

Pure: nothing here asks the database. Lists within a row are joined by characters that their texts do not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

import orjson

from server.access.actor import Actor
from server.core.ids import new_id
from server.storage.db import Record

from . import prepared
from .arrival import Arrival
from .dicom_json import to_column, without_root
from .identity import Owner, compare_with_profile

Values = dict[str, Any]

_LIST_SEPARATOR = "\x1f"
_STUDY_COLUMNS = (
    "study_date", "study_day", "study_time", "accession_number", "study_id", "dicom_patient_id", "issuer",
    "birth_day", "sex", "name_folded", "referrer_folded", "title_folded",
)  # fmt: skip
_STUDY_LISTS = ("name_words", "name_trigrams", "referrer_words")
_SERIES_COLUMNS = {
    "modality": "modality", "series_number": "series_number", "series_day": "series_day", "series_time": "series_time",
    "series_title": "title_folded", "body_part": "body_part", "laterality": "laterality", "step_day": "step_day",
    "step_time": "step_time",
}  # fmt: skip
_SERIES_LISTS = ("requests", "procedures")
_INSTANCE_COLUMNS = (
    "instance_number", "sop_class", "transfer_syntax", "pixel_rows", "pixel_columns", "bits_allocated", "samples",
    "frame_count", "frame_bits", "pixel_offset", "pixel_length", "frame_table", "pieced", "content_day",
    "content_time",
)  # fmt: skip


@dataclass
class StudyStore:
    """One study of a group: what came for it, and how it stands."""

    owner: Owner
    arrivals: list[Arrival]
    is_holder: bool  # who stores holds this very profile
    mine: bool  # and says that the images show its holder
    rows: list[Record] = field(default_factory=list)  # the locked study, with one of its series each
    fresh: list[Arrival] = field(default_factory=list)  # whose rows are new

    @property
    def key(self) -> tuple[str, str]:
        return self.owner.patient_id, self.arrivals[0].ready.study_uid

    @property
    def grows(self) -> bool:
        return bool(self.rows) and bool(self.fresh or self.mine or self.rows[0]["deleted_at"])

    @property
    def is_open(self) -> bool:
        """Others than the holder can see it."""
        hidden = self.rows[0]["deleted_at"] is not None and not self.is_holder
        return not hidden and (self.mine or self.rows[0]["standing"] == "mine")


def of_studies(studies: Sequence[StudyStore], actor: Actor, now: datetime) -> Values:
    """Each study by its first instance, and each of its series by its own first one."""
    first = [each.arrivals[0].ready for each in studies]
    series = [(each, one[0].ready) for each in studies for _, one in by_series(each.arrivals)]
    columns: Values = {name: [entry.study[name] for entry in first] for name in _STUDY_COLUMNS}
    for name in _STUDY_LISTS:
        columns[name] = [_LIST_SEPARATOR.join(entry.study[name]) for entry in first]
    for name, column in _SERIES_COLUMNS.items():
        columns[name] = [entry.series[column] for _, entry in series]
    for name in _SERIES_LISTS:
        columns[name] = [_LIST_SEPARATOR.join(entry.series[name]) for _, entry in series]
    return columns | {
        "patients": [each.key[0] for each in studies],
        "studies": [each.key[1] for each in studies],
        "fhir_ids": [new_id() for _ in studies],
        "standings": [_standing(each) for each in studies],
        "attributes": [without_root(entry.study_model) for entry in first],
        # Of a new one, what it will have if all that came is new: then no index changes when it is counted.
        "study_modalities": [_LIST_SEPARATOR.join(_modalities((), each.arrivals)) for each in studies],
        "series_patients": [each.key[0] for each, _ in series],
        "series_studies": [each.key[1] for each, _ in series],
        "series_uids": [entry.series_uid for _, entry in series],
        "series_attributes": [without_root(entry.series_model) for _, entry in series],
        "organization_id": actor.organization_id,
        "author": actor.author,
        "now": now,
    }


def _standing(each: StudyStore) -> str:
    identity = each.arrivals[0].ready.identity
    differs = compare_with_profile(identity, each.owner.profile) and not (each.mine or each.owner.asserted)
    return "differs" if differs else "mine"


def of_instances(
    studies: Sequence[StudyStore], wrap: Callable[[bytes, bytes], bytes], now: datetime
) -> Values:
    """The rows of everything that came."""
    arrivals = [(each, arrival) for each in studies for arrival in each.arrivals]
    columns: Values = {
        name: [arrival.ready.instance[name] for _, arrival in arrivals] for name in _INSTANCE_COLUMNS
    }
    for name in ("qido", "metadata"):
        columns[name] = [to_column(arrival.ready.instance[name]) for _, arrival in arrivals]
    stored = [arrival.stored for _, arrival in arrivals if arrival.stored is not None]
    keys = [each.owner.wrapped_key for each, _ in arrivals]
    return columns | {
        "now": now,
        "patient_id": [each.key[0] for each, _ in arrivals],
        "study_uid": [each.key[1] for each, _ in arrivals],
        "series_uid": [arrival.ready.series_uid for _, arrival in arrivals],
        "sop_uid": [arrival.ready.sop_uid for _, arrival in arrivals],
        "pack_id": [each.address.pack_id for each in stored],
        "object_id": [each.address.object_id for each in stored],
        "pack_offset": [each.address.offset for each in stored],
        "size": [each.address.size for each in stored],
        "sha256": [each.sha256 for each in stored],
        "wrapped_key": [wrap(key, each.address.key) for key, each in zip(keys, stored, strict=True)],
    }


def of_growth(studies: Sequence[StudyStore], now: datetime) -> Values:
    """The counts and the prepared answers, carried on from the locked rows."""
    grown = [_grown(each) for each in studies]
    series = [one for each in studies for one in _grown_series(each)]
    return {name: [each[name] for each in grown] for name in grown[0]} | {
        **{name: [each[name] for each in series] for name in _OF_SERIES},
        "now": now,
    }


def _grown(each: StudyStore) -> Values:
    (patient_id, study_uid), study = each.key, each.rows[0]
    entries = [arrival.ready for arrival in each.fresh]
    modalities = _modalities(study["modalities"] if study["instance_count"] else (), each.fresh)
    sop_classes = _union(study["sop_classes"], (entry.sop_class for entry in entries))
    series = study["series_count"] + sum(held == 0 for held in _held_in_series(each).values())
    instances = study["instance_count"] + len(each.fresh)
    qido = prepared.study_qido(
        orjson.loads(study["attributes"]),
        study_uid=study_uid,
        modalities=modalities,
        sop_classes=sop_classes,
        series=series,
        instances=instances,
    )
    return {
        "patients": patient_id,
        "studies": study_uid,
        "modalities": _LIST_SEPARATOR.join(modalities),
        "sop_classes": _LIST_SEPARATOR.join(sop_classes),
        "series_count": series,
        "instance_count": instances,
        "size": study["size"] + bytes_of(each.fresh),
        "qido": to_column(qido),
        "mine": each.mine,
        "revive": each.is_holder,
    }


_OF_SERIES = (
    "series_patients", "series_studies", "series_uids", "series_counts", "series_qido", "series_sops",
    "series_revive", "series_open",
)  # fmt: skip


def _grown_series(each: StudyStore) -> Iterable[Values]:
    held, (patient_id, study_uid) = _held_in_series(each), each.key
    attributes = {row["series_uid"]: row["series_attributes"] for row in each.rows}
    for uid, arrivals in by_series(each.fresh):
        count = held[uid] + len(arrivals)
        qido = prepared.series_qido(
            orjson.loads(attributes[uid]), study_uid=study_uid, series_uid=uid, instances=count
        )
        sops = _LIST_SEPARATOR.join(arrival.ready.sop_uid for arrival in arrivals)
        values = (patient_id, study_uid, uid, count, to_column(qido), sops, each.is_holder, each.is_open)
        yield dict(zip(_OF_SERIES, values, strict=True))


def _held_in_series(each: StudyStore) -> dict[str, int]:
    """Instances that were there before, of each series that got something."""
    before = {row["series_uid"]: row["in_series"] for row in each.rows}
    return {uid: before[uid] for uid, _ in by_series(each.fresh)}


def bytes_of(arrivals: Iterable[Arrival]) -> int:
    return sum(arrival.stored.address.size for arrival in arrivals if arrival.stored is not None)


def in_order(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """In the one order in which rows are locked."""
    return sorted(
        arrivals,
        key=lambda each: (each.patient_id, each.ready.study_uid, each.ready.series_uid, each.ready.sop_uid),
    )


def by_study(arrivals: Iterable[Arrival]) -> list[tuple[tuple[str, str], list[Arrival]]]:
    groups = groupby(in_order(arrivals), key=lambda each: (each.patient_id, each.ready.study_uid))
    return [(key, list(group)) for key, group in groups]


def by_series(arrivals: Iterable[Arrival]) -> list[tuple[str, list[Arrival]]]:
    groups = groupby(in_order(arrivals), key=lambda each: each.ready.series_uid)
    return [(key, list(group)) for key, group in groups]


def _modalities(held: Iterable[str], arrivals: Iterable[Arrival]) -> list[str]:
    return _union(held, (arrival.ready.modality for arrival in arrivals))


def _union(held: Iterable[str], new: Iterable[str]) -> list[str]:
    return sorted({*held, *(each for each in new if each)})
