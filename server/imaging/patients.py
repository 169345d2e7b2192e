"""Patients as DICOM knows them, for searches at their level: a Patient ID with its issuer, as studies carry it.

A profile here may hold studies with several such numbers, of several hospitals: each is a patient of its own in this
list, as a search by that number finds it. DICOM PS3.4, C.6.1.1.2 (patient level).
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from server.access.reach import Reach
from server.storage.db import Database, Record
from server.storage.sql import load
from server.storage.where import Where

from .dicom_json import Json

QUERIES = load(__package__, "patients.sql")

_ALWAYS = {"00100010": "PN", "00100020": "LO", "00100030": "DA", "00100040": "CS"}


@dataclass(frozen=True)
class Patient:
    """One match: whose profile it lies in, and its attributes."""

    patient_id: str
    qido: bytes
    document: bytes


async def find(db: Database, match: Where, *, reach: Reach, limit: int, offset: int) -> list[Patient]:
    """Patients with a study that matches, by name."""
    values = {"limit": limit, "offset": offset}
    rows = await db.fetch_all(QUERIES["find"], values, reach=reach.studies(), match=match)
    return [_patient(row) for row in rows]


async def count(db: Database, match: Where, *, reach: Reach) -> int:
    """How many there are."""
    return int(await db.fetch_val(QUERIES["count"], {}, reach=reach.studies(), match=match))


def _patient(row: Record) -> Patient:
    attributes: Json = orjson.loads(row["attributes"])
    of_patient = {tag: value for tag, value in attributes.items() if tag.startswith("0010")}
    always = {tag: of_patient.get(tag, {"vr": vr}) for tag, vr in _ALWAYS.items()}
    counts = {
        "00201200": {"vr": "IS", "Value": [row["studies"]]},
        "00201202": {"vr": "IS", "Value": [row["series"]]},
        "00201204": {"vr": "IS", "Value": [row["instances"]]},
    }
    issuer = {tag: of_patient[tag] for tag in ("00100021",) if tag in of_patient}
    qido = orjson.dumps(dict(sorted((always | issuer | counts).items())))
    return Patient(row["patient_id"], qido, orjson.dumps(of_patient))
