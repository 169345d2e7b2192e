"""That somebody who was erased cannot be read: in this server, and in a backup made before (decision 23)."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from server.access.services import Services
from server.audit import heads
from server.core.errors import NotFound
from server.storage.backup_file import Reader
from server.storage.db import Record
from server.storage.key_store import QUERIES as STORED
from server.storage.objects import Missing
from server.storage.sql import load

from .erasure import digest_of
from .traces import traces

QUERIES = load(__package__)

Json = dict[str, Any]


async def of_erasure(
    services: Services, asked: str, *, backup: Path | None = None, keys: Path | None = None
) -> Json:
    """What is left of the patient or tombstone with this id. Raises NotFound when nothing of that id was erased.

    By the patient's id every table is searched; the tombstone alone knows files, the chain of the log and the proof.
    """
    tombstone = await _tombstone(services, asked)
    if tombstone is None:
        raise NotFound("Nobody with this id was erased here.")
    by_patient = str(tombstone["id"]) != asked
    rows = await traces(services, asked) if by_patient else {}
    subjects = {"subjects": [f"patient:{asked}"]}
    if by_patient and await services.db.fetch_val(QUERIES["subjects_there"], subjects):
        rows["public.pseudonym"] = 1
    store = services.keyring.store
    held = {"patient": asked}
    if by_patient and store and (count := await store.fetch_val(STORED["count_of_patient"], held)):
        rows["key_store.patient_key"] = count
    public = await heads.public_keys(services.db)
    kid = orjson.loads(tombstone["proof"])["kid"]
    result: Json = {
        "erasure": str(tombstone["id"]),
        "done_at": tombstone["done_at"].isoformat(),
        "proof_signed": heads.is_signed(
            public, kid, bytes(tombstone["proof"]), bytes(tombstone["signature"])
        ),
        "rows": rows,
        "files": await _files(services, tombstone["packs"]),
    }
    if backup is not None:
        result["backup"] = _in_backup(services, tombstone, asked if by_patient else None, backup, keys)
    result["readable"] = bool(rows or result.get("backup", {}).get("readable"))
    return result


async def _tombstone(services: Services, asked: str) -> Record | None:
    """By its own id, or by the patient's, of which it keeps a digest."""
    for row in await services.db.fetch_all(QUERIES["tombstones"]):
        if str(row["id"]) == asked or row["digest"] == digest_of(row["id"], asked):
            return row
    return None


async def _files(services: Services, packs: list[UUID]) -> Json:
    """Of the files that held objects: how many are gone, and how many live on with other people's."""
    gone = 0
    for pack in packs:
        try:
            await services.objects.pack_size(pack)
        except Missing:
            gone += 1
    return {"gone": gone, "with_others": len(packs) - gone}


def _in_backup(
    services: Services, tombstone: Record, patient: str | None, backup: Path, keys: Path | None
) -> Json:
    """Whether the backup holds rows of the patient, and whether the file of keys would open them."""
    sealed, found = 0, patient
    with Reader(backup, services.keyring) as read:
        for frame in read.frames():
            name = frame.head.get("patient")
            if name and (name == patient or digest_of(tombstone["id"], name) == tombstone["digest"]):
                sealed, found = sealed + int(frame.head["rows"]), name
    has_key = keys is not None and found is not None and _holds_key(services, keys, found)
    return {"rows": sealed, "key_in_keys_file": has_key, "readable": bool(sealed and has_key)}


def _holds_key(services: Services, keys: Path, patient: str) -> bool:
    with Reader(keys, services.keyring) as held:
        for frame in held.frames():
            if frame.kind != "rows":
                continue
            lines = zlib.decompress(services.keyring.open(None, frame.body, frame.context))
            if any(line.split(b"\t", 1)[0] == patient.encode() for line in lines.splitlines()):
                return True
    return False
