"""Two records of one person become one, until an operator parts them again (decision 7; parting.py).

What is of the source goes to the target: studies, resources, identifiers, shares, holds. The source stays as a row in
state `merged`, which nothing reaches: its key opens what both held under one UID with other content, its chain of the
log is read with the target's, its FHIR id answers with a link (FHIR R4, Patient.link), and it is erased together with
the target. All of it is one transaction, and every row that went is written down (table merger_item): parting brings
exactly those back, and what came since stays with the person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from server.access.actor import Actor
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound
from server.core.texts import N_
from server.imaging import carry as studies
from server.imaging import rebuild
from server.imaging.identity import same_person
from server.jobs import queue
from server.jobs.queue import Job, Kit
from server.records import carry as resources

from . import merged_profiles, merged_shares, notify
from .acts import living
from .merged import QUERIES, Items, lock, references

JOB = "sharing: what came while records were merged"
LATER = timedelta(minutes=2)
ROWS = ("holders", "identifiers", "holds", "disclosures", "proposals", "uploads")
Json = dict[str, Any]
_WHY_NOT = {
    "erasing": N_("One of these records is about to be deleted: take that back first."),
    "held": N_("Somebody else holds the other record too: it stays a record of its own."),
    "merged": N_(
        "Another record was joined with this one before: keep this one, and join the other with it."
    ),
}


@dataclass(frozen=True)
class Own:
    """The record that a person has already."""

    patient_id: str
    is_blank: bool  # nothing was ever put into it
    profile: Json


async def own_record(services: Services, source: str, *, actor: Actor) -> Own | None:
    """The person's own record besides `source`, where there is one."""
    values = {"account": actor.account_id, "source": source, "now": clock.now()}
    row = await services.db.fetch_one(QUERIES["own_profile"], values)
    if row is None:
        return None
    return Own(row["patient_id"], row["blank"], orjson.loads(row["profile"]) if row["profile"] else {})


def fits(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two profiles can be one person's without being asked: neither name nor birth date disagrees."""
    return same_person(one, other)


async def merge(
    services: Services, source: str, target: str, *, whole: bool, claiming: bool, actor: Actor
) -> UUID:
    """Bring `source` into `target`, in the caller's transaction; who has decided that the actor may.

    With `whole`, whoever saw all of the source sees all of the target; else what the source held. `claiming` is for a
    source that nobody owns. Raises Conflict.
    """
    states = await lock(services, source, target)
    if claiming and states[source]["claimed_at"] is not None:
        raise Conflict(_WHY_NOT["held"])
    values = {"source": source, "target": target, "account": actor.account_id, "now": clock.now()}
    why_not = await services.db.fetch_val(QUERIES["cannot_merge"], values)
    if why_not is not None:
        raise Conflict(_WHY_NOT[why_not])
    merger_id = uuid4()
    begun = {"id": merger_id, "claimed_at": states[source]["claimed_at"]}
    await services.db.execute(QUERIES["add_merger"], values | begun)
    studies_before = await services.db.fetch_val(QUERIES["studies_of"], {"source": source})
    items = await _bring_over(services, source, target)
    shares = await merged_shares.move(services, source, target, studies_before, narrow=not whole)
    items += [("share", each) for each in shares]
    items += await _rows_over(services, source, target)
    items.append(("profile", await merged_profiles.link(services, source, target)))
    await _note(services, merger_id, target, items)
    await _close(services, values)
    for patient_id in (source, target):
        detail = {"source": source, "target": target, "studies": sum(kind == "study" for kind, _ in items)}
        await services.audit.record(
            Event.RECORDS_MERGED, who=actor.who(), patient_id=patient_id, detail=detail
        )
    await queue.enqueue(services.db, JOB, {"merger": str(merger_id)}, due_at=clock.now() + LATER)
    return merger_id


async def join(services: Services, source: str, target: str, *, actor: Actor) -> UUID:
    """Make one of two records that the actor holds as their own. Raises NotFound, Conflict."""
    values = {"account": actor.account_id, "patients": [source, target], "now": clock.now()}
    async with services.db.transaction():
        held = await services.db.fetch_all(QUERIES["both_held"], values, alive=living(actor))
        if len({row["patient_id"] for row in held}) < 2:
            raise NotFound()
        merger_id = await merge(services, source, target, whole=False, claiming=False, actor=actor)
        await notify.records_merged(services, target)
    return merger_id


async def _bring_over(services: Services, source: str, target: str) -> Items:
    """Studies and resources; ImagingStudies of studies that both have stay behind, and are called the other's."""
    carried = await studies.join(services, giver=source, taker=target)
    renamed = await references(services, source, target)
    moved = await resources.carry(
        services.db, services.keyring, giver=source, taker=target, references=renamed
    )
    rebuild.soon(services, {(target, each.study_uid) for each in carried})
    return [
        *(("study", asdict(each)) for each in carried),
        *(("resource", {"type": type, "id": id}) for type, id in moved),
    ]


async def _rows_over(services: Services, source: str, target: str) -> Items:
    values = {"source": source, "target": target, "now": clock.now()}
    return [
        ("row", {"table": name, "key": orjson.loads(row["key"])})
        for name in ROWS
        for row in await services.db.fetch_all(QUERIES[f"move_{name}"], values)
    ]


async def _note(services: Services, merger_id: UUID, target: str, items: Items) -> None:
    kinds, whats = [kind for kind, _ in items], [orjson.dumps(what).decode() for _, what in items]
    values = {"merger": merger_id, "target": target, "kinds": kinds, "whats": whats}
    await services.db.execute(QUERIES["note_items"], values)


async def _close(services: Services, values: Json) -> None:
    """Nothing reaches the source any more."""
    for name in ("set_merged", "show_target", "end_grants", "drop_codes"):
        await services.db.execute(QUERIES[name], values)


async def _gather(services: Services, job: Job) -> None:
    """What was being written into the source at the very moment in which it was merged."""
    merger_id = UUID(str(job.payload["merger"]))
    found = await services.db.fetch_one(QUERIES["merger"], {"id": merger_id})
    if found is None or found["undone_at"] is not None:
        return
    source, target = found["source_id"], found["patient_id"]
    async with services.db.transaction():
        rows = await services.db.fetch_all(QUERIES["lock_both"], {"patients": [source, target]})
        states = {row["id"]: row["state"] for row in rows}
        found = await services.db.fetch_one(QUERIES["merger"], {"id": merger_id})
        is_one = found is not None and found["undone_at"] is None and states.get(source) == "merged"
        if not is_one or states.get(target) not in ("active", "restricted"):
            return  # parted, or being erased, while this waited
        if items := await _bring_over(services, source, target):
            await _note(services, merger_id, target, items)


KIT = Kit(handlers={JOB: _gather})
