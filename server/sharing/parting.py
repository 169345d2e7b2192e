"""A merger is undone: exactly what it brought over goes back, and what came since stays (decision 7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

import orjson

from server.access.actor import Actor
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound
from server.core.texts import N_
from server.imaging import carry as studies
from server.imaging import rebuild
from server.imaging.carry import Carried
from server.records import carry as resources
from server.storage.db import Record

from . import merged_profiles, merged_shares, notify, profile_code
from .merged import QUERIES, Items, Merger, lock, references
from .profile_code import Purpose


async def part(services: Services, merger_id: UUID, *, reason: str, actor: Actor) -> Merger:
    """Undo a merger. The caller has made sure that the actor is an operator. Raises NotFound, Conflict."""
    found = await services.db.fetch_one(QUERIES["merger"], {"id": merger_id})
    if found is None:
        raise NotFound()
    source, target = found["source_id"], found["patient_id"]
    async with services.db.transaction():
        await lock(services, source, target, parting=True)
        values = {"id": merger_id, "account": actor.account_id, "now": clock.now()}
        if await services.db.fetch_val(QUERIES["end_merger"], values) is None:
            raise Conflict(N_("These records were parted already."))
        carried = await _take_apart(services, found, actor)
        for patient_id in (source, target):
            detail = {"source": source, "target": target, "reason": reason}
            await services.audit.record(
                Event.RECORDS_PARTED, who=actor.who(), patient_id=patient_id, detail=detail
            )
        await notify.records_parted(services, target)
    rebuild.soon(services, {(patient, each.study_uid) for each in carried for patient in (source, target)})
    return Merger(merger_id, target, source, clock.now(), clock.now(), len(carried))


async def _take_apart(services: Services, merger: Record, actor: Actor) -> list[Carried]:
    source, target = merger["source_id"], merger["patient_id"]
    key = {"source": source, "target": target, "now": clock.now()}
    await services.db.execute(QUERIES["spare"], key)
    await services.db.execute(QUERIES["set_apart"], key | {"claimed_at": merger["claimed_at"]})
    rows = await services.db.fetch_all(QUERIES["items"], {"merger": merger["id"]})
    items = [(row["kind"], orjson.loads(row["what"])) for row in rows]
    was_nobodys = merger["claimed_at"] is None  # whoever hid anything in the meantime was not its person
    hidden_since = merger["merged_at"] if was_nobodys else None
    carried = await _bring_back(services, items, source, target, hidden_since)
    for name in ("end_research", "drop_copies"):
        await services.db.execute(QUERIES[name], key)
    if was_nobodys:  # a code that nobody knows: who made the record can have another one
        await profile_code.make(services, source, Purpose.CLAIM, actor=actor)
    return carried


async def _bring_back(
    services: Services, items: Items, source: str, target: str, hidden_since: datetime | None
) -> list[Carried]:
    carried = _of_studies(items)
    renamed = await references(services, target, source)  # before studies made for the merger go
    await studies.part(services, carried, giver=target, taker=source, hidden_since=hidden_since)
    only = sorted({(what["type"], what["id"]) for kind, what in items if kind == "resource"})
    await resources.carry(
        services.db, services.keyring, giver=target, taker=source, references=renamed, only=only
    )
    await resources.let_go(services.db, target, [each.study_uid for each in carried])
    for kind, what in items:
        if kind == "share":
            await merged_shares.move_back(services, what, source, target)
        elif kind == "row":
            values = {"source": source, "target": target, "key": orjson.dumps(what["key"]).decode()}
            await services.db.execute(QUERIES[f"{what['table']}_back"], values)
        elif kind == "profile":
            await merged_profiles.unlink(services, what, source, target)
    return carried


def _of_studies(items: Items) -> list[Carried]:
    """One for each study, whatever came in a second round."""
    found: dict[str, Carried] = {}
    for kind, what in items:
        if kind != "study":
            continue
        one = Carried(**what | {"made_series": tuple(what["made_series"])})
        if (first := found.get(one.study_uid)) is not None:
            objects = sorted({*first.sop_uids, *one.sop_uids})
            one = replace(first, sop_uids=objects, made_series=(*first.made_series, *one.made_series))
        found[one.study_uid] = one
    return list(found.values())
