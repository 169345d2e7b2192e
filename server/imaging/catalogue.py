"""The catalogue: what is held, searched and found at three levels. One statement a question.

Every function takes the caller's reach and puts it into the statement. Prepared answers come with `dicom_json.ROOT`
in the place of the patient's DICOMweb root.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from server.access.reach import Reach
from server.access.services import Services
from server.core.errors import NotFound
from server.storage.db import Database, Record, planned_by_value
from server.storage.objects import Address
from server.storage.sql import load
from server.storage.where import TRUE, Where, all_of

from .dicom_json import from_column
from .pixels import ROW

QUERIES = load(__package__)

ALL = 2**31 - 1
_RUNGS = (
    102,
    128,
    200,
    400,
    *range(1000, 10_000, 1000),
    *(10**power * rung for power in (4, 5) for rung in (1, 2, 5)),
)
COUNTED = 100  # results beyond a page are counted so far: an archive of a million is not counted for a page


class Row(NamedTuple):
    """One match of a search, as prepared DICOM JSON."""

    patient_id: str
    study_uid: str
    qido: bytes  # what is returned without being asked
    series_uid: str = ""
    sop_uid: str = ""
    document: bytes = b""  # the further attributes of this level; of an instance, all of them
    study_qido: bytes = b""  # where what is returned of the study may be wanted
    series_qido: bytes = b""  # of a search that was not within one series
    study_document: bytes = b""


@dataclass(frozen=True)
class Page:
    """Matches of a search, and how many there are beyond them (counted up to COUNTED)."""

    rows: list[Row]
    beyond: int = 0


@dataclass(frozen=True)
class InstanceRow:
    """Where one instance lies, and its pixels inside of it."""

    patient_id: str
    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    modality: str
    instance_number: int | None
    transfer_syntax: str
    pack_id: UUID
    object_id: UUID
    pack_offset: int
    size: int
    sha256: bytes
    wrapped_key: bytes
    patient_key: bytes
    pixel_rows: int | None
    pixel_columns: int | None
    bits_allocated: int | None
    samples: int | None
    frame_count: int
    frame_bits: int | None
    pixel_offset: int | None
    pixel_length: int | None
    pieced: bool
    created_at: datetime
    metadata: bytes = b""
    frame_table: bytes = b""  # from frame `table_first` on
    table_first: int = 1


async def find_studies(
    db: Database, match: Where, *, reach: Reach, limit: int, offset: int = 0, whole: bool = False
) -> Page:
    """Studies, newest first. `whole`: with the attributes beyond those that are always returned."""
    return await _page(db, "find_studies", match, reach=reach, page=limit, offset=offset, whole=whole)


async def find_series(
    db: Database,
    match: Where,
    *,
    reach: Reach,
    limit: int,
    offset: int = 0,
    whole: bool = False,
    parents: bool = False,
) -> Page:
    """Series by number within their studies. `parents`: with what is returned of the study, as `whole` is too."""
    asked = {"page": limit, "offset": offset, "whole": whole, "parents": parents}
    return await _page(db, "find_series", match, reach=reach, **asked)


async def find_instances(
    db: Database,
    match: Where,
    *,
    reach: Reach,
    limit: int,
    offset: int = 0,
    whole: bool = False,
    parents: bool = False,
    of_series: bool = False,
) -> Page:
    """Instances by number within their series. `whole`: with all of their metadata.

    `parents`, `of_series`: with what is returned of the study, and of the series.
    """
    asked = {"page": limit, "offset": offset, "whole": whole, "parents": parents, "of_series": of_series}
    return await _page(db, "find_instances", match, reach=reach, **asked)


async def _page(db: Database, name: str, match: Where, *, reach: Reach, **asked: Any) -> Page:
    """One statement: the page, and how much there is beyond it."""
    page, most = asked["page"], asked["page"] + COUNTED
    until = _limit(asked["offset"] + most)
    with planned_by_value():
        found = await db.fetch_all(
            QUERIES[name], {**asked, "most": most}, reach=reach.studies(), match=match, until=until
        )
    beyond = found[page]["counted"] - page if len(found) > page else 0
    return Page([_row(each) for each in found[:page]], beyond)


def _limit(rows: int) -> Where:
    """A limit of at least so many rows, as a number in the text: PostgreSQL keeps the plan of a limit it knows.

    With one that comes as a value it plans anew each time, which costs more than most of these searches do.
    """
    return Where(str(next((rung for rung in _RUNGS if rung >= rows), ALL)))


def _row(row: Record) -> Row:
    """A column that its level does not have is empty."""
    column = row.get
    return Row(
        row["patient_id"],
        row["study_uid"],
        from_column(row["qido"]),
        column("series_uid", ""),
        column("sop_uid", ""),
        _json(column("document")),
        _json(column("study_qido")),
        _json(column("series_qido")),
        _json(column("study_document")),
    )


async def count_studies(db: Database, match: Where, *, reach: Reach) -> int:
    """How many studies match."""
    return int(await db.fetch_val(QUERIES["count_studies"], {}, reach=reach.studies(), match=match))


async def count_series(db: Database, match: Where, *, reach: Reach) -> int:
    """How many series match."""
    return int(await db.fetch_val(QUERIES["count_found_series"], {}, reach=reach.studies(), match=match))


async def count_instances(db: Database, match: Where, *, reach: Reach) -> int:
    """How many instances match."""
    return int(await db.fetch_val(QUERIES["count_instances"], {}, reach=reach.studies(), match=match))


def these(study_uid: str, series_uid: str | None = None, sop_uid: str | None = None) -> Where:
    """The condition that names a study, a series of it, or an instance."""
    parts = [Where("study.study_uid = :study_uid", {"study_uid": study_uid})]
    if series_uid is not None:
        parts.append(Where("series.series_uid = :series_uid", {"series_uid": series_uid}))
    if sop_uid is not None:
        parts.append(Where("instance.sop_uid = :sop_uid", {"sop_uid": sop_uid}))
    return all_of(*parts)


async def instances_of(
    db: Database,
    study_uid: str,
    series_uid: str | None = None,
    sop_uid: str | None = None,
    *,
    reach: Reach,
    metadata: bool = False,
    frames: tuple[int, int] | None = None,
    match: Where = TRUE,
    limit: int = ALL,
) -> list[InstanceRow]:
    """Where instances lie, series by series; empty when nothing of it is in reach.

    `frames`: the first and last frame whose place in encapsulated pixel data is wanted too; `metadata`: the DICOM
    JSON too. At the pooled root the rows may be of several patients (decision 8).
    """
    first, last = frames or (1, 0)
    values = {
        "metadata": metadata,
        # A number that no table has, because none is so long, is found to be none when its row is looked at.
        "table_from": min((first - 1) * ROW.size + 1, ALL),
        "table_size": min(max(0, last - first + 1) * ROW.size, ALL),
    }
    rows = await db.fetch_all(
        QUERIES["instances_of"],
        values,
        reach=reach.studies(),
        of=these(study_uid, series_uid, sop_uid) & match,
        limit=Where(str(int(limit))),
    )
    return [_instance(row, first) for row in rows]


async def held_instance(db: Database, patient_id: str, sop_uid: str) -> InstanceRow:
    """One instance, for what the server itself makes of it: no reach. Raises NotFound."""
    of = Where(
        "study.patient_id = :patient_id AND instance.sop_uid = :sop_uid",
        {"patient_id": patient_id, "sop_uid": sop_uid},
    )
    values = {"metadata": False, "table_from": 1, "table_size": 0}
    row = await db.fetch_one(QUERIES["instances_of"], values, reach=TRUE, of=of, limit=Where("1"))
    if row is None:
        raise NotFound()
    return _instance(row, 1)


async def metadata_of(
    db: Database, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None, *, reach: Reach
) -> list[tuple[str, bytes]]:
    """The patient and the prepared metadata of each instance, in the order of `instances_of`."""
    of = these(study_uid, series_uid, sop_uid)
    rows = await db.fetch_all(QUERIES["metadata_of"], {}, reach=reach.studies(), of=of)
    return [(row["patient_id"], from_column(row["metadata"])) for row in rows]


async def stream_metadata(
    db: Database, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None, *, reach: Reach
) -> AsyncIterator[tuple[str, bytes]]:
    """The same, row by row, for studies whose metadata are too large to hold at once."""
    of = these(study_uid, series_uid, sop_uid)
    async for row in db.iterate(QUERIES["metadata_of"], {}, prefetch=100, reach=reach.studies(), of=of):
        yield row["patient_id"], from_column(row["metadata"])


@dataclass(frozen=True)
class Version:
    """How much of something there is, and since when: what a validator is made of (RFC 9110, 8.8)."""

    patient_id: str
    instances: int
    changed: datetime


async def versions_of(
    db: Database, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None, *, reach: Reach
) -> list[Version]:
    """The version of a study, series or instance, for each patient under whom the caller sees it."""
    of = these(study_uid, series_uid, sop_uid)
    rows = await db.fetch_all(QUERIES["version_of"], {}, reach=reach.studies(), of=of)
    return [Version(row["patient_id"], row["instances"], max(row["newest"], row["updated"])) for row in rows]


async def held_uids(db: Database, patient_id: str, uids: Iterable[str], *, reach: Reach) -> set[str]:
    """Which of these SOP Instance UIDs the patient holds: an upload sends the others only."""
    values = {"patient_id": patient_id, "uids": list(uids)}
    rows = await db.fetch_all(QUERIES["held_uids"], values, reach=reach.studies())
    return {row["sop_uid"] for row in rows}


def address_of(services: Services, row: InstanceRow) -> Address:
    """Where the object lies, with the key that opens it. Raises KeyUnusable."""
    key = services.keyring.unwrap(row.patient_key, row.wrapped_key)
    return Address(row.pack_id, row.object_id, row.pack_offset, row.size, key)


def _json(column: Any) -> bytes:
    return from_column(column) if column else b""


def _instance(row: Record, table_first: int) -> InstanceRow:
    values = dict(row)
    values["metadata"] = _json(values["metadata"])
    values["frame_table"] = values["frame_table"] or b""
    return InstanceRow(**values, table_first=table_first)
