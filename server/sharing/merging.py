"""Two records of one person become one, and an operator parts them again (decision 7).

What is of the source goes to the target: studies, resources, identifiers, shares, holds. The source stays as a row in
state `merged`, which nothing reaches: its key opens what both held under one UID with other content, its chain of the
log is read with the target's, its FHIR id answers with a link (FHIR R4, Patient.link), and it is erased together with
the target. All of it is one transaction, and every row that went is written down (table merger_item): parting brings
exactly those back, and what came since stays with the person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound
from server.core.texts import N_
from server.imaging import carry as studies
from server.imaging import rebuild
from server.imaging.carry import Carried
from server.imaging.identity import same_person
from server.jobs import queue
from server.jobs.queue import Job, Kit
from server.records import carry as resources
from server.records import document, store
from server.storage.db import Record
from server.storage.objects import Address
from server.storage.sql import load

from . import link_consent, notify, profile_code
from .acts import living, write_consent
from .guest_link import link_of
from .model import Share, share_of
from .profile_code import Purpose

QUERIES = load(__package__, "merging.sql")
JOB = "sharing: what came while records were merged"
LATER = timedelta(minutes=2)
_OF_SHARE = ("id", "before", "after", "before_state", "after_state")
ROWS = ("holders", "identifiers", "holds", "disclosures", "proposals", "uploads")
Json = dict[str, Any]
Items = list[tuple[str, Json]]
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


@dataclass(frozen=True)
class Merger:
    """Two records that are one, or were."""

    id: UUID
    patient_id: str
    source_id: str
    merged_at: datetime
    undone_at: datetime | None
    studies: int


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
    states = await _lock(services, source, target)
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
    items += await _shares_over(services, source, target, studies_before, narrow=not whole)
    for name in ROWS:
        items += [
            ("row", {"table": name, "key": orjson.loads(row["key"])})
            for row in await services.db.fetch_all(
                QUERIES[f"move_{name}"], {"source": source, "target": target, "now": values["now"]}
            )
        ]
    items.append(("profile", await _link_profiles(services, source, target)))
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


async def part(services: Services, merger_id: UUID, *, reason: str, actor: Actor) -> Merger:
    """Undo a merger. The caller has made sure that the actor is an operator. Raises NotFound, Conflict."""
    found = await services.db.fetch_one(QUERIES["merger"], {"id": merger_id})
    if found is None:
        raise NotFound()
    source, target = found["source_id"], found["patient_id"]
    async with services.db.transaction():
        await _lock(services, source, target, parting=True)
        values = {"id": merger_id, "account": actor.account_id, "now": clock.now()}
        if await services.db.fetch_val(QUERIES["end_merger"], values) is None:
            raise Conflict(N_("These records were parted already."))
        key = {"source": source, "target": target, "now": values["now"]}
        await services.db.execute(QUERIES["spare"], key)
        await services.db.execute(QUERIES["set_apart"], key | {"claimed_at": found["claimed_at"]})
        rows = await services.db.fetch_all(QUERIES["items"], {"merger": merger_id})
        items = [(row["kind"], orjson.loads(row["what"])) for row in rows]
        was_nobodys = found["claimed_at"] is None  # whoever hid anything in the meantime was not its person
        hidden_since = found["merged_at"] if was_nobodys else None
        carried = await _bring_back(services, items, source, target, hidden_since)
        for name in ("end_research", "drop_copies"):
            await services.db.execute(QUERIES[name], key)
        if was_nobodys:  # a code that nobody knows: who made the record can have another one
            await profile_code.make(services, source, Purpose.CLAIM, actor=actor)
        for patient_id in (source, target):
            detail = {"source": source, "target": target, "reason": reason}
            await services.audit.record(
                Event.RECORDS_PARTED, who=actor.who(), patient_id=patient_id, detail=detail
            )
        await notify.records_parted(services, target)
    rebuild.soon(services, {(patient, each.study_uid) for each in carried for patient in (source, target)})
    return Merger(merger_id, target, source, clock.now(), clock.now(), len(carried))


async def mergers_of(services: Services, patient_id: str) -> list[Merger]:
    """What was merged with this record; the caller has asked who may know."""
    rows = await services.db.fetch_all(QUERIES["mergers_of"], {"patient": patient_id})
    return [Merger(**{name: row[name] for name in Merger.__dataclass_fields__}) for row in rows]


async def target_of(services: Services, source: str, *, reach: Reach) -> str | None:
    """Where a merged record went, for a caller who reaches that one."""
    found: str | None = await services.db.fetch_val(
        QUERIES["target_of"], {"source": source}, reach=reach.patients()
    )
    return found


async def other_versions(
    services: Services, patient_id: str, study_uid: str | None = None, *, reach: Reach
) -> list[Record]:
    """Images that both records held under one UID with other content: the second ones. For the holder."""
    values = {"patient": patient_id, "study_uid": study_uid}
    return await services.db.fetch_all(QUERIES["other_versions"], values, reach=reach.of_holder().patients())


def address_of(services: Services, row: Record) -> Address:
    """Where such an image lies; it is sealed with the key of the record it came from."""
    key = services.keyring.unwrap(row["patient_key"], row["wrapped_key"])
    return Address(row["pack_id"], row["object_id"], row["pack_offset"], row["size"], key)


async def _lock(services: Services, source: str, target: str, *, parting: bool = False) -> dict[str, Record]:
    rows = await services.db.fetch_all(QUERIES["lock_both"], {"patients": [source, target]})
    found = {row["id"]: row for row in rows}
    wanted = "merged" if parting else "active"
    if len(found) < 2 or found[source]["state"] != wanted:
        raise Conflict(N_("This record cannot be joined or parted now."))
    if found[target]["state"] not in ("active", "restricted"):
        raise Conflict(N_("This record cannot be joined or parted now."))
    return found


async def _bring_over(services: Services, source: str, target: str) -> Items:
    """Studies and resources; ImagingStudies of studies that both have stay behind, and are called the other's."""
    carried = await studies.join(services, giver=source, taker=target)
    references = await _references(services, source, target)
    moved = await resources.carry(
        services.db, services.keyring, giver=source, taker=target, references=references
    )
    rebuild.soon(services, {(target, each.study_uid) for each in carried})
    return [
        *(("study", asdict(each)) for each in carried),
        *(("resource", {"type": type, "id": id}) for type, id in moved),
    ]


async def _shares_over(
    services: Services, source: str, target: str, uids: Sequence[str], *, narrow: bool
) -> Items:
    values = {"source": source, "target": target, "studies": list(uids), "now": clock.now()}
    items: Items = []
    for row in await services.db.fetch_all(QUERIES["move_shares"], values | {"narrow": narrow}):
        moved = await services.db.fetch_one(QUERIES["share"], {"id": row["id"]})
        assert moved is not None  # moved a moment ago
        share = share_of(moved)
        await _write_consent(services, share)
        if row["after_state"] != row["before_state"]:
            await notify.over(services, share)
        items.append(("share", {**dict(row), "table": "share"}))
    links = await services.db.fetch_all(QUERIES["move_links"], values)
    await services.db.execute(QUERIES["move_visits"], values | {"links": [row["id"] for row in links]})
    for row in links:
        await _write_link(services, await services.db.fetch_one(QUERIES["link"], {"id": row["id"]}))
    return items + [("share", {**dict(row), "table": "link"}) for row in links]


async def _link_profiles(services: Services, source: str, target: str) -> Json:
    """FHIR R4, Patient.link: the one is replaced by the other, which takes over its identifiers."""
    old, new = await _profile(services, source), await _profile(services, target)
    added = [each for each in old.get("identifier", []) if each not in new.get("identifier", [])]
    if added:
        new["identifier"] = [*new.get("identifier", []), *added]
    new["link"] = [*new.get("link", []), _link(source, "replaces")]
    before = {name: old.get(name) for name in ("active", "link")}
    old |= {"active": False, "link": [*old.get("link", []), _link(target, "replaced-by")]}
    for resource in (old, new):
        await _put(services, resource, target)
    return {"identifiers": added, "before": before}


def _link(patient_id: str, kind: str) -> Json:
    return {"other": {"reference": f"Patient/{patient_id}"}, "type": kind}


async def _profile(services: Services, patient_id: str) -> Json:
    found = await services.db.fetch_val(QUERIES["profile"], {"id": patient_id})
    return document.load_exact(found) if found else {"resourceType": "Patient", "id": patient_id}


async def _put(services: Services, resource: Json, patient_id: str) -> None:
    """As who wrote it last: this is upkeep, and what it says of its author stays."""
    author = await _author_of(services, resource["resourceType"], resource["id"])
    await store.put(services.db, resource, patient_id=patient_id, author=author)


async def _write_consent(services: Services, share: Share) -> None:
    await write_consent(services, share, author=await _author_of(services, "Consent", share.id))


async def _write_link(services: Services, row: Record | None) -> None:
    if row is not None:
        author = await _author_of(services, "Consent", row["id"])
        await link_consent.write(services, link_of(row), author=author)


async def _author_of(services: Services, type: str, id: str) -> str:
    found = await services.db.fetch_val(QUERIES["author_of"], {"type": type, "id": id})
    return str(found or "server")


async def _note(services: Services, merger_id: UUID, target: str, items: Items) -> None:
    kinds, whats = [kind for kind, _ in items], [orjson.dumps(what).decode() for _, what in items]
    values = {"merger": merger_id, "target": target, "kinds": kinds, "whats": whats}
    await services.db.execute(QUERIES["note_items"], values)


async def _close(services: Services, values: Json) -> None:
    """Nothing reaches the source any more."""
    for name in ("set_merged", "show_target", "end_grants", "drop_codes"):
        await services.db.execute(QUERIES[name], values)


async def _bring_back(
    services: Services, items: Items, source: str, target: str, hidden_since: datetime | None
) -> list[Carried]:
    carried = _of_studies(items)
    references = await _references(services, target, source)  # before studies made for the merger go
    await studies.part(services, carried, giver=target, taker=source, hidden_since=hidden_since)
    names = {(what["type"], what["id"]) for kind, what in items if kind == "resource"}
    await resources.carry(
        services.db,
        services.keyring,
        giver=target,
        taker=source,
        references=references,
        only=sorted(names),
    )
    await resources.let_go(services.db, target, [each.study_uid for each in carried])
    for kind, what in items:
        key = {"source": source, "target": target}
        if kind == "share" and what["table"] == "share":
            back = key | {name: what[name] for name in _OF_SHARE}
            if (row := await services.db.fetch_one(QUERIES["share_back"], back)) is not None:
                await _write_consent(services, share_of(row))
        elif kind == "share":
            back = key | {"id": what["id"], "before": what["before"]}
            await _write_link(services, await services.db.fetch_one(QUERIES["link_back"], back))
        elif kind == "row":
            values = key | {"key": orjson.dumps(what["key"]).decode()}
            await services.db.execute(QUERIES[f"{what['table']}_back"], values)
        elif kind == "profile":
            await _unlink_profiles(services, what, source, target)
    return carried


def _of_studies(items: Items) -> list[Carried]:
    """One for each study, whatever came in a second round."""
    found: dict[str, Carried] = {}
    for kind, what in items:
        if kind != "study":
            continue
        one = Carried(**what | {"made_series": tuple(what["made_series"])})
        if (first := found.get(one.study_uid)) is not None:
            one = Carried(
                one.study_uid,
                sorted({*first.sop_uids, *one.sop_uids}),
                first.whole,
                first.made_study,
                (*first.made_series, *one.made_series),
            )
        found[one.study_uid] = one
    return list(found.values())


async def _unlink_profiles(services: Services, what: Json, source: str, target: str) -> None:
    old, new = await _profile(services, source), await _profile(services, target)
    for name, value in what["before"].items():
        old[name] = value
    links = [each for each in new.get("link", []) if each != _link(source, "replaces")]
    left = [each for each in new.get("identifier", []) if each not in what["identifiers"]]
    new |= {"link": links, "identifier": left}
    for resource, patient_id in ((old, source), (new, target)):
        whole = {name: value for name, value in resource.items() if value not in (None, [])}
        await _put(services, whole, patient_id)


async def _references(services: Services, before: str, after: str) -> dict[str, str]:
    """What is called otherwise from now on; relative and absolute. A study that both have is one to refer to."""
    base = f"{services.settings.base_url}/fhir/"
    found = {f"{type}/{before}": f"{type}/{after}" for type in ("Patient", "Endpoint")}
    for row in await services.db.fetch_all(QUERIES["same_studies"], {"before": before, "after": after}):
        found[f"ImagingStudy/{row['before']}"] = f"ImagingStudy/{row['after']}"
    return found | {base + old: base + new for old, new in found.items()}


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
