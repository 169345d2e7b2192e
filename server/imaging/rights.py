"""Whether the scope behind a store extends to a study (decision 3: a filter selects whole studies)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from server.access.filters import DCM
from server.access.reach import Lane, Reach
from server.access.scopes import Filter
from server.storage.db import Database
from server.storage.sql import load

from .entry import Entry

QUERIES = load(__package__)


async def may_store(db: Database, reach: Reach, patient_id: str, entry: Entry) -> bool:
    """Whether a lane that leads to this patient lets the instance in.

    A filtered one does when the instance's own modality matches, and those of the study as it is held.
    """
    if not any(lane.filters for lane in reach.lanes):
        return True
    values = {"patient_id": patient_id, "study_uid": entry.study_uid}
    held = await db.fetch_val(QUERIES["modalities_held"], values)
    open_lanes = tuple(
        lane
        for lane in reach.lanes
        if _lets_in(lane, (entry.modality,)) and (not held or _lets_in(lane, held))
    )
    through = replace(reach, lanes=open_lanes).patients()
    return bool(await db.fetch_all(QUERIES["owners"], {"patient": patient_id, "limit": 1}, reach=through))


def _lets_in(lane: Lane, modalities: Iterable[str]) -> bool:
    return all(_matches(each, modalities) for each in lane.filters)


def _matches(filter: Filter, modalities: Iterable[str]) -> bool:
    if filter.param != "modality":
        return False
    codes = {value.code for value in filter.values if value.system in (None, DCM)}
    return not codes.isdisjoint(modalities)
