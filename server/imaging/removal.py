"""Taking studies away and back: deleting is invisible at once and can be undone for 30 days; "not mine" too.

DICOM PS3.18, 10.5 does not know DELETE; decision 9 says what it means here. Erasure is another thing, elsewhere.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any

from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, Forbidden, NotFound
from server.jobs.queue import Kit, Periodic
from server.storage.db import Record
from server.storage.sql import load

from . import changes, derived, rebuild
from .changes import Change
from .recount import recount

QUERIES = load(__package__)

KEPT = timedelta(days=30)


class Standing(StrEnum):
    """What a study is to the patient in whose record it lies."""

    MINE = "mine"
    DIFFERS = "differs"
    NOT_MINE = "not-mine"


_SAID = {Standing.MINE: Event.STUDY_CLAIMED, Standing.NOT_MINE: Event.STUDY_DISOWNED}


async def delete(
    services: Services,
    study_uid: str,
    series_uid: str | None = None,
    sop_uid: str | None = None,
    *,
    reach: Reach,
    actor: Actor,
) -> None:
    """Make a study, a series or an instance invisible. Raises NotFound; Conflict when it lies under two patients."""
    name = "delete_instance" if sop_uid else "delete_series" if series_uid else "delete_study"
    values: dict[str, Any] = {
        "study_uid": study_uid,
        "series_uid": series_uid,
        "sop_uid": sop_uid,
        "now": clock.now(),
    }
    async with services.db.transaction():
        rows = await services.db.fetch_all(QUERIES[name], values, reach=reach.studies())
        row = _one(rows)
        await changes.note(
            services.db,
            Change.DELETE,
            row["patient_id"],
            study_uid,
            now=values["now"],
            is_open=row["standing"] == Standing.MINE,
            series_uid=series_uid,
            sop_uids=[sop_uid] if sop_uid else None,
        )
        if name != "delete_study" and not await recount(services.db, row["patient_id"], study_uid):
            await services.db.fetch_all(QUERIES["delete_study"], values, reach=reach.studies())
        key = {"patient_id": row["patient_id"], "study_uid": study_uid}
        if name != "delete_study" and await services.db.fetch_val(QUERIES["reports_on_study"], key):
            await rebuild.rebuild(services, **key)  # a report goes with its image, at once
        await services.audit.record(
            Event.STUDY_DELETED,
            who=actor.who(),
            patient_id=row["patient_id"],
            detail={"study": study_uid, "series": series_uid, "instance": sop_uid},
        )
    rebuild.soon(services, {(row["patient_id"], study_uid)})


async def restore(services: Services, patient_id: str, study_uid: str, *, reach: Reach, actor: Actor) -> None:
    """Take a deleted study back. Raises NotFound when it is not there, or was deleted too long ago."""
    values: dict[str, Any] = {
        "patient_id": patient_id,
        "study_uid": study_uid,
        "since": clock.now() - KEPT,
        "now": clock.now(),
    }
    async with services.db.transaction():
        rows = await services.db.fetch_all(
            QUERIES["restore_study"], values, reach=reach.of_holder().patients()
        )
        row = _one(rows)
        await changes.note(
            services.db,
            Change.CREATE,
            patient_id,
            study_uid,
            now=values["now"],
            is_open=row["standing"] == Standing.MINE,
        )
        await services.audit.record(
            Event.STUDY_RESTORED, who=actor.who(), patient_id=patient_id, detail={"study": study_uid}
        )
    rebuild.soon(services, {(patient_id, study_uid)})


async def say(
    services: Services, patient_id: str, study_uid: str, standing: Standing, *, reach: Reach, actor: Actor
) -> None:
    """The holder says that a study is theirs, or is not. Raises NotFound; nothing happens when it was said before."""
    if standing not in _SAID:
        raise Forbidden("A study is said to be mine or not mine.")
    values: dict[str, Any] = {
        "patient_id": patient_id,
        "study_uid": study_uid,
        "standing": standing,
        "now": clock.now(),
    }
    async with services.db.transaction():
        rows = await services.db.fetch_all(
            QUERIES["set_standing"], values, reach=reach.of_holder().patients()
        )
        row = _one(rows)
        change = Change.CREATE if standing is Standing.MINE else Change.DELETE
        is_open = Standing.MINE in (standing, row["before"])
        await changes.note(services.db, change, patient_id, study_uid, now=values["now"], is_open=is_open)
        await services.audit.record(
            _SAID[standing], who=actor.who(), patient_id=patient_id, detail={"study": study_uid}
        )
    rebuild.soon(services, {(patient_id, study_uid)})


async def purge(services: Services) -> int:
    """Forget for good what was deleted longer ago than it is kept; how many studies, series and instances.

    With the row goes the only copy of an object's key; its place on the disk is given back later (`upkeep`).
    """
    before = clock.now() - KEPT
    count = 0
    while rows := await services.db.fetch_all(QUERIES["studies_to_purge"], {"before": before, "limit": 100}):
        for row in rows:
            async with services.db.transaction():
                await derived.remove(services, row["patient_id"], row["study_uid"], row["fhir_id"])
                await services.db.execute(QUERIES["purge_study"], dict(row) | {"before": before})
        count += len(rows)
    count += await services.db.execute(QUERIES["purge_series"], {"before": before})
    return count + await services.db.execute(QUERIES["purge_instances"], {"before": before})


async def _purge(services: Services) -> None:
    await purge(services)


async def _number(services: Services) -> None:
    """Readers do it too; this keeps what waits for the first of them short."""
    await changes.give_numbers(services.db)


KIT = Kit(
    periodic=(
        Periodic("imaging: deleted 30 days ago", timedelta(hours=6), _purge),
        Periodic("imaging: changes numbered", timedelta(minutes=5), _number),
    )
)


def _one(rows: list[Record]) -> Record:
    if not rows:
        raise NotFound()
    if len({row["patient_id"] for row in rows}) > 1:
        raise Conflict(
            "This study lies under two patients that you reach: use the root of the one that is meant."
        )
    return rows[0]
