"""Studies that go from one patient to another: two records turn out to be one person's, or not to be after all.

Rows go and objects stay where they lie; their data keys are wrapped with the other patient's key. What both hold
under one SOP Instance UID stays where it is, for the first is kept (decision 8). All of it is part of the caller's
transaction, and the caller has locked both patients and decided that it may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from server.access.services import Services
from server.core import clock
from server.core.ids import new_id
from server.storage.db import Database, Record
from server.storage.handover import wrapped_for
from server.storage.sql import Statement, load

from . import changes
from .changes import Change
from .recount import recount

QUERIES = load(__package__, "carry.sql")
AT_ONCE = 5000  # data keys in one statement


@dataclass(frozen=True)
class Carried:
    """What went of one study, and what was made for it over there."""

    study_uid: str
    sop_uids: list[str]
    whole: bool  # the row of the study went, with all that hangs on it
    made_study: bool = False
    made_series: tuple[str, ...] = ()


async def join(services: Services, *, giver: str, taker: str) -> list[Carried]:
    """Bring everything from one patient to another that the other does not hold yet."""
    held = await services.db.fetch_all(QUERIES["studies_of"], {"patient": giver})
    theirs = {
        row["study_uid"]: row["hidden"]
        for row in await services.db.fetch_all(QUERIES["studies_of"], {"patient": taker})
    }
    both = await services.db.fetch_all(QUERIES["held_by_both"], {"giver": giver, "taker": taker})
    twice = {row["sop_uid"] for row in both}
    whole, parts = [], []
    for row in held:
        free = [uid for uid in row["sop_uids"] if uid not in twice]
        if row["study_uid"] not in theirs and len(free) == len(row["sop_uids"]):
            whole.append(Carried(row["study_uid"], free, True))
        elif free and not _is_hidden_anywhere(row, theirs):
            parts.append((row["study_uid"], free))
    await _move_whole(services.db, [each.study_uid for each in whole], giver, taker)
    done = [*whole, *[await _move_part(services, uid, sops, giver, taker) for uid, sops in parts]]
    await _settle(services, done, giver, taker, counted={each.study_uid for each in done if not each.whole})
    return done


def _is_hidden_anywhere(row: Record, theirs: dict[str, bool]) -> bool:
    """Deleted, or not theirs, at either of two who both have the study: it stays hidden there, and as it is here."""
    uid = row["study_uid"]
    return uid in theirs and (theirs[uid] or row["hidden"])


async def part(
    services: Services,
    carried: Sequence[Carried],
    *,
    giver: str,
    taker: str,
    hidden_since: datetime | None = None,
) -> None:
    """Bring back what `join` took, and only that: what came to those studies since stays where it is.

    What was deleted or called not theirs at or after `hidden_since` is there again: whoever did so was not its person.
    """
    uids = [each.study_uid for each in carried]
    there = await services.db.fetch_all(QUERIES["has_study"], {"patient": taker, "studies": uids})
    taken = {row["study_uid"] for row in there}
    whole = [each for each in carried if each.whole and each.study_uid not in taken]
    await _move_whole(services.db, [each.study_uid for each in whole], giver, taker)
    back = {
        row["study_uid"]: row["sop_uids"]
        for row in await services.db.fetch_all(QUERIES["studies_of"], {"patient": taker})
    }
    moved = []
    for each in whole:
        there_now = set(back.get(each.study_uid, ()))
        since = there_now - set(each.sop_uids)
        if since:
            await _move_part(services, each.study_uid, sorted(since), taker, giver)
        moved.append(replace(each, sop_uids=sorted(there_now - since)))
    for each in carried:
        if each not in whole:
            moved.append(await _move_part(services, each.study_uid, each.sop_uids, giver, taker))
            await _drop_frame(services.db, each, giver)
    if hidden_since is not None:
        values = {"patient": taker, "studies": uids, "since": hidden_since, "now": clock.now()}
        await services.db.execute(QUERIES["show_again"], values)
    await _settle(services, moved, giver, taker, counted=set(uids))


async def _move_whole(db: Database, studies: list[str], giver: str, taker: str) -> None:
    if studies:
        values = {"giver": giver, "taker": taker, "studies": studies, "now": clock.now()}
        await db.execute(QUERIES["move_studies"], values)


async def _move_part(
    services: Services, study_uid: str, sop_uids: list[str], giver: str, taker: str
) -> Carried:
    """Some instances of a study; over there the study and the series are made where they are not."""
    db = services.db
    key = {"giver": giver, "study_uid": study_uid}
    made_study = await db.fetch_val(await _copying(db, "study"), key | {"taker": taker, "id": new_id()})
    statement = await _copying(db, "series")
    series = await db.fetch_all(statement, key | {"taker": taker, "sop_uids": sop_uids})
    moved = await db.fetch_all(QUERIES["move_instances"], key | {"taker": taker, "sop_uids": sop_uids})
    return Carried(
        study_uid,
        sorted(row["sop_uid"] for row in moved),
        False,
        made_study is not None,
        tuple(sorted(row["series_uid"] for row in series)),
    )


async def _copying(db: Database, table: str) -> Statement:
    """The statement that copies a row of this table to another patient, whatever columns it has by now."""
    rows = await db.fetch_all(QUERIES["study_columns"], {"table": table})
    other = {"patient_id": ":taker", "fhir_id": ":id", "fhir_stale": "true"}
    names = [row["name"] for row in rows]
    text = QUERIES[f"copy_{table}"].text
    text = text.replace("[columns]", ", ".join(names))
    return Statement(
        f"copy {table}", text.replace("[values]", ", ".join(other.get(n, f"row.{n}") for n in names))
    )


async def _drop_frame(db: Database, carried: Carried, patient_id: str) -> None:
    key = {"patient": patient_id, "study_uid": carried.study_uid}
    await db.execute(QUERIES["drop_empty_series"], key | {"series": list(carried.made_series)})
    if carried.made_study:
        await db.execute(QUERIES["drop_empty_study"], key)


async def _settle(
    services: Services, carried: Sequence[Carried], giver: str, taker: str, *, counted: set[str]
) -> None:
    """Keys, pictures, counts, and the word to who follows the changes."""
    if not carried:
        return
    db, studies, now = services.db, [each.study_uid for each in carried], clock.now()
    await db.execute(QUERIES["drop_thumbnails"], {"patients": [giver, taker], "studies": studies})
    await _wrap_anew(services, [uid for each in carried for uid in each.sop_uids], giver, taker)
    for patient_id in (giver, taker):
        there = await db.fetch_all(QUERIES["has_study"], {"patient": patient_id, "studies": sorted(counted)})
        for row in there:
            await recount(db, patient_id, row["study_uid"])
    await _tell(db, carried, taker, now)


async def _tell(db: Database, carried: Iterable[Carried], taker: str, now: datetime) -> None:
    by_uid = {each.study_uid: each.sop_uids for each in carried}
    rows = await db.fetch_all(QUERIES["standing_of"], {"patient": taker, "studies": list(by_uid)})
    for row in rows:
        uid = row["study_uid"]
        await changes.note(db, Change.CREATE, taker, uid, now=now, is_open=row["open"], sop_uids=by_uid[uid])


async def _wrap_anew(services: Services, sop_uids: list[str], giver: str, taker: str) -> None:
    """The data keys of what the taker holds now, out of the giver's key and into the taker's."""
    db = services.db
    for start in range(0, len(sop_uids), AT_ONCE):
        values = {"patient": taker, "sop_uids": sop_uids[start : start + AT_ONCE]}
        found = await db.fetch_all(QUERIES["wrapped_keys"], values)
        old = [row["wrapped_key"] for row in found]
        new = await wrapped_for(db, services.keyring, old, giver=giver, taker=taker)
        uids = [row["sop_uid"] for row in found]
        await db.execute(QUERIES["wrap_anew"], {"patient": taker, "uids": uids, "wrapped": new})


__all__ = ["Carried", "join", "part"]
