"""Two records that are one: which ones, how each is called, where they went, and what of them stays apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from server.access.reach import Reach
from server.access.services import Services
from server.core.errors import Conflict
from server.core.texts import N_
from server.storage.db import Record
from server.storage.objects import Address
from server.storage.sql import load

QUERIES = load(__package__, "merging.sql")
Json = dict[str, Any]
Items = list[tuple[str, Json]]  # what went over, by kind, as it is written down (table merger_item)


@dataclass(frozen=True)
class Merger:
    """Two records that are one, or were."""

    id: UUID
    patient_id: str
    source_id: str
    merged_at: datetime
    undone_at: datetime | None
    studies: int


@dataclass(frozen=True)
class Sent:
    """Something that an organization sent into the record that goes on: images of a study, or a resource."""

    organization: str
    kind: str  # the FHIR type
    id: str
    at: datetime
    pieces: int


async def mergers_of(services: Services, patient_id: str) -> list[Merger]:
    """What was merged with this record; the caller has asked who may know."""
    rows = await services.db.fetch_all(QUERIES["mergers_of"], {"patient": patient_id})
    return [Merger(**{name: row[name] for name in Merger.__dataclass_fields__}) for row in rows]


async def sent_meanwhile(services: Services, merger_id: UUID) -> list[Sent]:
    """What organizations sent while two records were one, and what so stayed; the caller has asked who may know."""
    rows = await services.db.fetch_all(QUERIES["sent_meanwhile"], {"merger": merger_id})
    return [Sent(**dict(row)) for row in rows]


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


async def lock(services: Services, source: str, target: str, *, parting: bool = False) -> dict[str, Record]:
    """Both records, locked, when they can be joined (or parted) now. Raises Conflict."""
    rows = await services.db.fetch_all(QUERIES["lock_both"], {"patients": [source, target]})
    found = {row["id"]: row for row in rows}
    wanted = "merged" if parting else "active"
    if len(found) < 2 or found[source]["state"] != wanted:
        raise Conflict(N_("This record cannot be joined or parted now."))
    if found[target]["state"] not in ("active", "restricted"):
        raise Conflict(N_("This record cannot be joined or parted now."))
    return found


async def references(services: Services, before: str, after: str) -> dict[str, str]:
    """What is called otherwise from now on; relative and absolute. A study that both have is one to refer to."""
    base = f"{services.settings.base_url}/fhir/"
    found = {f"{type}/{before}": f"{type}/{after}" for type in ("Patient", "Endpoint")}
    for row in await services.db.fetch_all(QUERIES["same_studies"], {"before": before, "after": after}):
        found[f"ImagingStudy/{row['before']}"] = f"ImagingStudy/{row['after']}"
    return found | {base + old: base + new for old, new in found.items()}


async def author_of(services: Services, type: str, id: str) -> str:
    """Who wrote a resource last: what a merger writes is upkeep, and what it says of its author stays."""
    found = await services.db.fetch_val(QUERIES["author_of"], {"type": type, "id": id})
    return str(found or "server")
