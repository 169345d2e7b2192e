"""A study's counts and prepared answers made anew from its rows: after something of it was deleted or came back."""

from __future__ import annotations

from typing import Any

import orjson

from server.core import clock
from server.storage.db import Database
from server.storage.sql import load

from . import prepared
from .dicom_json import to_column

QUERIES = load(__package__)


async def recount(db: Database, patient_id: str, study_uid: str) -> int:
    """Bring the study up to date, within the caller's transaction; how many instances are left."""
    key = {"patient_id": patient_id, "study_uid": study_uid}
    study = await db.fetch_one(QUERIES["lock_held_study"], key)
    if study is None:
        return 0
    rows = await db.fetch_all(QUERIES["count_series"], key)
    for row in rows:
        await _set_series(db, key, row)
    left = [row for row in rows if row["instances"]]
    modalities = sorted({row["modality"] for row in left})
    sop_classes = sorted({uid for row in left for uid in row["sop_classes"]})
    instances = sum(row["instances"] for row in left)
    qido = prepared.study_qido(
        orjson.loads(study["attributes"]),
        study_uid=study_uid,
        modalities=modalities,
        sop_classes=sop_classes,
        series=len(left),
        instances=instances,
    )
    values = {
        "modalities": modalities,
        "sop_classes": sop_classes,
        "series_count": len(left),
        "instance_count": instances,
        "size": sum(row["size"] for row in left),
        "qido": to_column(qido),
        "now": clock.now(),
    }
    await db.execute(QUERIES["set_study_count"], key | values)
    return int(instances)


async def _set_series(db: Database, key: dict[str, str], row: Any) -> None:
    qido = prepared.series_qido(
        orjson.loads(row["attributes"]),
        study_uid=key["study_uid"],
        series_uid=row["series_uid"],
        instances=row["instances"],
    )
    values = {"series_uid": row["series_uid"], "instance_count": row["instances"], "qido": to_column(qido)}
    await db.execute(QUERIES["set_series_count"], key | values)
