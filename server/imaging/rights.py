"""Whether the scope behind a store extends to a study (decision 3: a filter selects whole studies)."""

from __future__ import annotations

from dataclasses import replace

from server.access.filters import StudyFacts, passes
from server.access.reach import Reach
from server.storage.db import Database
from server.storage.sql import load

from .entry import Entry

QUERIES = load(__package__)


async def may_store(db: Database, reach: Reach, patient_id: str, entry: Entry) -> bool:
    """Whether a lane that leads to this patient lets the instance in.

    A filtered one does when the instance itself passes the filters, and the study as it is held.
    """
    if not any(lane.filters for lane in reach.lanes):
        return True
    values = {"patient_id": patient_id, "study_uid": entry.study_uid}
    row = await db.fetch_one(QUERIES["study_held"], values)
    facts = [StudyFacts((entry.modality,), entry.study["study_date"], row["fhir_id"] if row else None)]
    if row is not None and row["modalities"]:
        facts.append(StudyFacts(row["modalities"], row["study_date"], row["fhir_id"]))
    open_lanes = tuple(
        lane for lane in reach.lanes if all(passes(each, one) for each in lane.filters for one in facts)
    )
    through = replace(reach, lanes=open_lanes).patients()
    return bool(await db.fetch_all(QUERIES["owners"], {"patient": patient_id, "limit": 1}, reach=through))
