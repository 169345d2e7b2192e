"""FHIR resources as stored: every version kept, the search index written with it.

FHIR R4, 3.1.0 (RESTful API). What is stored is what was sent, with the id and meta that the server gives; it is
served from these bytes. Every function that a caller's request leads to takes the caller's `reach`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from server.access.reach import Reach
from server.core import clock
from server.core.errors import Gone, NotAllowed, NotFound, PreconditionFailed, Unprocessable
from server.core.ids import new_id
from server.storage.db import Database, Record
from server.storage.sql import load
from server.storage.where import TRUE, Where

from . import content, document, provenance
from .content import Contents, Place
from .document import Json
from .findable import found_by
from .index import with_index

QUERIES = with_index(load(__package__))
_DERIVED = frozenset({"DiagnosticReport", "Device", "Binary", "DocumentReference", "Provenance"})
CHANGED = "fhir-changed"  # the job that tells subscribers
WATCHED = frozenset({"ImagingStudy", "DiagnosticReport", "Consent"})  # what can be subscribed to
LARGE = 64 * 1024  # bytes: the index rows of a larger resource are made beside the event loop


OF_NOBODY = Where("resource.patient_id = ''")


@dataclass(frozen=True)
class Stored:
    """One version of a resource."""

    type: str
    id: str
    version: int
    last_updated: datetime
    patient_id: str
    json: bytes  # empty when deleted
    study_uid: str | None = None
    deleted: bool = False
    author: str = ""
    method: str = ""  # what made this version; known in histories

    @property
    def etag(self) -> str:
        """FHIR R4, 3.1.0.1.3: the version as a weak entity tag."""
        return f'W/"{self.version}"'


async def create(
    db: Database,
    resource: Json,
    *,
    reach: Reach,
    patient_id: str,
    study_uid: str | None = None,
    author: str,
    id: str | None = None,
    method: str = "POST",
    contents: Contents | None = None,
) -> Stored:
    """Store a new resource. Raises Unprocessable when it lies outside of the caller's reach, AlreadyStored when
    the id is taken. `contents`: what of it was kept beside the row already."""
    async with db.transaction():
        stored, key = await _insert(
            db,
            resource,
            id or new_id(),
            patient_id=patient_id,
            study_uid=study_uid,
            author=author,
            method=method,
            patient=_within(reach, patient_id),
            contents=contents,
        )
        await _require_within(db, key, reach)
        if stored.type in provenance.BROUGHT:
            await _note_who(db, stored)
    return stored


async def _note_who(db: Database, stored: Stored) -> None:
    """Say in a Provenance who brought a resource."""
    if not (agents := await provenance.agents_of(db, stored.patient_id, [stored.author])):
        return
    id = provenance.derived_id("provenance", stored.type, stored.id)
    made = provenance.provenance(id, f"{stored.type}/{stored.id}", stored.last_updated, agents)
    await put(db, made, patient_id=stored.patient_id, study_uid=stored.study_uid, author="server")


async def _require_within(db: Database, key: int, reach: Reach) -> None:
    """Old and new content must lie within reach: the new one is there now, with what a scope's filter asks for."""
    if await db.fetch_val(QUERIES["within_reach"], {"key": key}, reach=reach.resources()) is None:
        raise Unprocessable("The resource would be one that you may not write.")


async def put(
    db: Database,
    resource: Json,
    *,
    patient_id: str,
    study_uid: str | None = None,
    author: str,
    contents: Contents | None = None,
) -> int:
    """Store what the server itself made, under the id it carries; its version.

    A new version only when the content changed. For Lightbox's own resources: no reach, no validation.
    """
    type, id = resource["resourceType"], resource["id"]
    async with db.transaction():
        row = await db.fetch_one(QUERIES["lock_resource"], {"type": type, "id": id}, reach=TRUE)
        if row is None:
            made, _ = await _insert(
                db,
                resource,
                id,
                patient_id=patient_id,
                study_uid=study_uid,
                author=author,
                method="PUT",
                patient=TRUE,
                contents=contents,
            )
            return made.version
        if not row["deleted"] and row["content_hash"] == document.content_hash(resource):
            return int(row["version"])
        return (await _next_version(db, row, resource, study_uid, author, "PUT", contents)).version


async def rewrite(db: Database, row: Mapping[str, Any], resource: Json) -> None:
    """The next version of a row that is locked, by the same author: the server's own upkeep (records/carry.py)."""
    await _next_version(db, row, resource, row["study_uid"], row["author"], "PUT")


async def update(
    db: Database,
    resource: Json,
    *,
    reach: Reach,
    patient_id: str,
    study_uid: str | None = None,
    author: str,
    if_match: int | None = None,
    method: str = "PUT",
    contents: Contents | None = None,
    anew: bool = False,
) -> Stored:
    """Store the next version of an existing resource; the stored one unchanged when nothing changed, save `anew`.

    Raises NotFound, PreconditionFailed when `if_match` is another version, Unprocessable when it would move to
    another patient. A deleted resource comes back to life (FHIR R4, 3.1.0.4.1).
    """
    type, id = resource["resourceType"], resource["id"]
    async with db.transaction():
        row = await _locked(db, type, id, reach=reach)
        _require_not_derived(row)
        if if_match is not None and if_match != row["version"]:
            raise PreconditionFailed("If-Match names another version than the current one.")
        if row["patient_id"] != patient_id:
            raise Unprocessable("A resource cannot move to another patient.")
        resource = await content.settled(db, resource, contents, _place(row))
        if not anew and not row["deleted"] and row["content_hash"] == document.content_hash(resource):
            return _stored(row)
        stored = await _next_version(db, row, resource, study_uid, author, method, contents)
        await _require_within(db, row["key"], reach)
        return stored


async def delete(
    db: Database, type: str, id: str, *, reach: Reach, author: str, if_match: int | None = None
) -> Stored:
    """End a resource; its versions stay in the history. Raises NotFound; a deleted one comes back as it is."""
    async with db.transaction():
        row = await _locked(db, type, id, reach=reach)
        if if_match is not None and if_match != row["version"]:
            raise PreconditionFailed("If-Match names another version than the current one.")
        if row["deleted"]:
            return _stored(row)
        _require_not_derived(row)
        return await _ended(db, row, author)


async def remove(db: Database, type: str, id: str, *, author: str) -> None:
    """End a resource that the server itself made; nothing happens where there is none."""
    async with db.transaction():
        row = await db.fetch_one(QUERIES["lock_resource"], {"type": type, "id": id}, reach=TRUE)
        if row is not None and not row["deleted"]:
            await _ended(db, row, author)


async def read(db: Database, type: str, id: str, *, reach: Reach, also: Where = TRUE) -> Stored:
    """The current version. Raises NotFound, Gone when it was deleted; `also` narrows what is found."""
    within = reach.resources() & also
    row = await db.fetch_one(QUERIES["read_resource"], {"type": type, "id": id}, reach=within)
    if row is None:
        raise NotFound()
    if row["deleted"]:
        raise Gone()
    return _stored(row)


async def read_own(db: Database, type: str, id: str) -> Stored:
    """As `read`, for what the server itself does with a resource of no patient."""
    row = await db.fetch_one(QUERIES["read_resource"], {"type": type, "id": id}, reach=OF_NOBODY)
    if row is None:
        raise NotFound()
    if row["deleted"]:
        raise Gone()
    return _stored(row)


async def locked(db: Database, type: str, id: str, *, reach: Reach) -> Stored:
    """The current row, deleted or not, kept from changing until the transaction ends. Raises NotFound."""
    return _stored(await _locked(db, type, id, reach=reach))


async def read_version(db: Database, type: str, id: str, version: int, *, reach: Reach) -> Stored:
    """One version. Raises NotFound, Gone when this version is the deletion (FHIR R4, 3.1.0.3)."""
    values = {"type": type, "id": id, "version": version}
    row = await db.fetch_one(QUERIES["read_version"], values, reach=reach.versions())
    if row is None:
        raise NotFound()
    if row["deleted"]:
        raise Gone()
    return _stored(row)


async def history(db: Database, match: Where, *, reach: Where, limit: int) -> list[Stored]:
    """Versions that `match` (over `old`, a row of resource_version) selects, newest first, deletions included.

    `reach` is the union, over the types asked for, of what the caller may see of each (over `resource` and `old`).
    """
    rows = await db.fetch_all(QUERIES["history"], {"limit": limit}, match=match, reach=reach)
    return [_stored(row) for row in rows]


async def count_history(db: Database, match: Where, *, reach: Where, limit: int) -> int:
    """How many versions `history` would give, counted up to `limit`."""
    return int(await db.fetch_val(QUERIES["count_history"], {"limit": limit}, match=match, reach=reach))


def _require_not_derived(row: Record) -> None:
    """What is made from images or said by the server itself changes with what it was made of, by no other hand."""
    if row["author"] == "server" and row["type"] in _DERIVED:
        raise NotAllowed(
            "This was made by the server, from images or from what was stored; change or delete those.",
            allow="GET, HEAD",
        )


async def _locked(db: Database, type: str, id: str, *, reach: Reach) -> Record:
    row = await db.fetch_one(QUERIES["lock_resource"], {"type": type, "id": id}, reach=reach.resources())
    if row is None:
        raise NotFound()
    return row


def _within(reach: Reach, patient_id: str) -> Where:
    """That the patient is one the caller may write to: what an organization brings is its own wherever it lies."""
    if not patient_id:
        return TRUE
    patients = reach.patients()
    return Where(
        f"EXISTS (SELECT 1 FROM patient WHERE patient.id = :patient_id AND ({patients.sql}))",  # noqa: S608
        {**patients.values, "patient_id": patient_id},
    )


async def _insert(
    db: Database,
    resource: Json,
    id: str,
    *,
    patient_id: str,
    study_uid: str | None,
    author: str,
    method: str,
    patient: Where,
    contents: Contents | None = None,
) -> tuple[Stored, int]:
    resource = await content.settled(db, resource, contents, None)
    if not patient_id and contents is not None:  # of nobody: there is no key to seal it with
        resource = contents.given_back(resource)
    now = _now()
    values = {
        **await _content(resource, id, 1, now),
        "type": resource["resourceType"],
        "id": id,
        "patient_id": patient_id,
        "study_uid": study_uid,
        "author": author,
        "method": method,
    }
    key = await db.fetch_val(QUERIES["insert_resource"], values, patient=patient)
    if key is None:
        raise Unprocessable("The reference that says whose resource this is leads nowhere you may write.")
    type, json = resource["resourceType"], values["json"]
    await content.noted(db, resource, contents, Place(patient_id, type, id, 1))
    await _tell(db, type, id, 1)
    return Stored(type, id, 1, now, patient_id, json, study_uid, author=author, method=method), key


async def _next_version(
    db: Database,
    row: Mapping[str, Any],
    resource: Json,
    study_uid: str | None,
    author: str,
    method: str,
    contents: Contents | None = None,
) -> Stored:
    now, version = _now(), row["version"] + 1
    values = {
        **await _content(resource, row["id"], version, now),
        "key": row["key"],
        "study_uid": study_uid,
        "author": author,
        "method": method,
    }
    await db.fetch_val(QUERIES["update_resource"], values)
    place = Place(row["patient_id"], row["type"], row["id"], version)
    await content.noted(db, resource, contents, place, before=row["version"])
    await _tell(db, row["type"], row["id"], version)
    return Stored(
        row["type"],
        row["id"],
        version,
        now,
        row["patient_id"],
        values["json"],
        study_uid,
        author=author,
        method=method,
    )


async def _tell(db: Database, type: str, id: str, version: int) -> None:
    """A job for the subscribers, where there are any, in the transaction of the change."""
    if type in WATCHED:
        values = {"job": uuid4(), "kind": CHANGED, "type": type, "id": id, "version": version}
        await db.execute(QUERIES["tell_subscribers"], {**values, "now": clock.now()})


async def _ended(db: Database, row: Record, author: str) -> Stored:
    now = _now()
    values = {"key": row["key"], "last_updated": now, "author": author}
    version = await db.fetch_val(QUERIES["delete_resource"], values)
    return Stored(
        row["type"], row["id"], version, now, row["patient_id"], b"", row["study_uid"], True, author, "DELETE"
    )


async def _content(resource: Json, id: str, version: int, now: datetime) -> dict[str, Any]:
    """What a version writes: its bytes, and everything that is found by them."""
    whole = document.identified(resource, id=id, version=version, last_updated=now)
    json = document.dump(whole)
    found = await asyncio.to_thread(found_by, whole) if len(json) > LARGE else found_by(whole)
    return {**found, "json": json, "last_updated": now}


def _place(row: Record) -> Place:
    return Place(row["patient_id"], row["type"], row["id"], row["version"])


def _now() -> datetime:
    """To the millisecond, as `meta.lastUpdated` says it: a search by that value finds it."""
    now = clock.now()
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _stored(row: Record) -> Stored:
    return Stored(
        row["type"],
        row["id"],
        row["version"],
        row["last_updated"],
        row["patient_id"],
        row["json"],
        row["study_uid"],
        row["deleted"],
        row["author"],
        row.get("method", ""),
    )
