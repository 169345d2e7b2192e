"""Nothing lost: re-reads every stored object and compares it with what its row says.

    report = await verify(services.db, services.objects, services.keyring, progress)

Runs beside a serving server: pages instead of one long transaction, and what disappears between the look at the
row and the look at the file is asked for again before it counts as lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from server.storage import packs
from server.storage.db import Database, Record
from server.storage.keyring import KeyRing, KeyUnusable
from server.storage.objects import Address, Damaged, Missing, ObjectStore
from server.storage.sql import load

QUERIES = load(__package__, "verify.sql")
_NONE = UUID(int=0)
_PAGE = 200
_AT_ONCE = 4


class Trouble(StrEnum):
    """What can be wrong with something stored."""

    MISSING = "missing"
    ALTERED = "altered"
    NO_KEY = "no key"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was stored; ids only, no names."""

    trouble: Trouble
    what: str  # instance | content | pack
    id: str
    patient_id: str = ""


@dataclass
class Report:
    """What was looked at, and what was found wrong; clean when nothing was."""

    objects: int = 0
    size: int = 0  # plain bytes
    packs: int = 0
    waiting: int = 0  # packs being written, or left by a dead writer for the sweep
    strays: list[UUID] = field(default_factory=list)  # published files that no row names: harmless, but odd
    findings: list[Finding] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.findings


Progress = Callable[[Report], None]


async def verify(
    db: Database, objects: ObjectStore, keyring: KeyRing, progress: Progress = lambda report: None
) -> Report:
    """Look at everything; `progress` is called with the report so far after each page."""
    report = Report()
    for kind in ("instance", "content"):
        async for page in _pages(db, kind):
            await _check_page(db, objects, keyring, kind, page, report)
            progress(report)
    await _check_packs(db, objects, report)
    report.strays = await _strays(db, objects)
    report.waiting = await db.fetch_val(QUERIES["waiting_packs"])
    progress(report)
    return report


async def _pages(db: Database, kind: str) -> AsyncIterator[list[Record]]:
    """Every object-holding row (of images, or of content of Binaries), in the order in which the objects lie."""
    after = {"pack_id": _NONE, "object_id": _NONE}
    while page := await db.fetch_all(QUERIES[f"held_{kind}s"], {**after, "limit": _PAGE}):
        yield page
        after = {"pack_id": page[-1]["pack_id"], "object_id": page[-1]["object_id"]}


async def _check_page(
    db: Database, objects: ObjectStore, keyring: KeyRing, kind: str, page: list[Record], report: Report
) -> None:
    free = asyncio.Semaphore(_AT_ONCE)

    async def check(row: Record) -> Trouble | None:
        async with free:
            return await _trouble_with(objects, keyring, row)

    troubles = await asyncio.gather(*(check(row) for row in page))
    for row, trouble in zip(page, troubles, strict=True):
        report.objects += 1
        report.size += row["size"]
        if trouble and await _still_held(db, kind, row):
            name = row["sop_uid"] if kind == "instance" else row["id"]
            report.findings.append(Finding(trouble, kind, name, row["patient_id"]))


async def _trouble_with(objects: ObjectStore, keyring: KeyRing, row: Record) -> Trouble | None:
    if row["wrapped_patient_key"] is None:
        # Of a patient being erased the key goes first; what is left of the rows follows.
        return None if row["erasing"] else Trouble.NO_KEY
    try:
        found = await objects.digest(_address(keyring, row))
    except KeyUnusable:
        return Trouble.NO_KEY
    except Missing:
        return Trouble.MISSING
    except Damaged:
        return Trouble.ALTERED
    return None if found == row["sha256"] else Trouble.ALTERED


def _address(keyring: KeyRing, row: Record) -> Address:
    key = keyring.unwrap(row["wrapped_patient_key"], row["wrapped_key"])
    return Address(row["pack_id"], row["object_id"], row["pack_offset"], row["size"], key)


async def _still_held(db: Database, kind: str, row: Record) -> bool:
    """Whether the row is still there: else it was deleted while we looked, as it may be."""
    values = {"patient_id": row["patient_id"], "object_id": row["object_id"]}
    if kind == "instance":
        values["sop_uid"] = row["sop_uid"]
    return bool(await db.fetch_val(QUERIES[f"still_held_{kind}"], values))


async def _check_packs(db: Database, objects: ObjectStore, report: Report) -> None:
    """Every pack that counts is there, as long as it was."""
    after = _NONE
    while page := await db.fetch_all(QUERIES["held_packs"], {"id": after, "limit": _PAGE}):
        for row in page:
            report.packs += 1
            trouble = await _trouble_with_pack(objects, row)
            if trouble and await db.fetch_val(QUERIES["still_held_pack"], {"id": row["id"]}):
                report.findings.append(Finding(trouble, "pack", str(row["id"])))
        after = page[-1]["id"]


async def _trouble_with_pack(objects: ObjectStore, row: Record) -> Trouble | None:
    try:
        size = await objects.pack_size(row["id"])
    except Missing:
        return Trouble.MISSING
    return None if size == row["size"] else Trouble.ALTERED


async def _strays(db: Database, objects: ObjectStore) -> list[UUID]:
    """Published files that no row names; one that was being removed while we listed is none."""
    suspects = [pack_id async for pack_id in packs.unknown(db, objects.list_packs())]
    return [pack_id for pack_id in suspects if await _lies_there(objects, pack_id)]


async def _lies_there(objects: ObjectStore, pack_id: UUID) -> bool:
    try:
        await objects.pack_size(pack_id)
    except Missing:
        return False
    return True
