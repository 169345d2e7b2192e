"""The job that plans a delivery: every image of everybody who takes part, left out with a reason or measured.

It works in turns within its lease, each image in a transaction, and goes on where it was killed.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import zlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson

from server.access.action import STUDY_READ
from server.access.actor import NO_CREDENTIAL
from server.access.services import Services
from server.core import clock
from server.imaging.deidentify import Excluded, Options, Subject, deidentify, subject_key
from server.jobs import queue
from server.jobs.queue import Job, Kit, Periodic
from server.storage.db import Record
from server.storage.objects import Address, Damaged, Missing
from server.storage.sql import load

from . import research
from .research_delivery import JOB, KEPT
from .research_images import PATIENT_READ, address_of, digest_of_head, known_of, reach_of

QUERIES = load(__package__, "research.sql")
_NOTHING = {"reason": "", "path": "", "size": 0, "crc": 0, "sha256": b"", "head_sha256": b""}
_PAGE = 100
_TURN = 150.0  # seconds of one turn of the job, within its lease


async def prepare(services: Services, delivery_id: UUID) -> bool:
    """One turn of the work; True when there is nothing left to do."""
    values = {"now": clock.now(), "id": delivery_id, "project": None}
    row = await services.db.fetch_one(QUERIES["deliveries"], values)
    if row is None or row["state"] != "preparing":
        return True
    project = await services.db.fetch_one(QUERIES["projects"], {"id": row["project_id"]})
    if project is None:
        return True
    return await _Preparation(services, delivery_id, project).turn()


class _Preparation:
    """The work on one delivery."""

    def __init__(self, services: Services, delivery_id: UUID, project: Record) -> None:
        self._services = services
        self._db = services.db
        self._id = delivery_id
        self._project = project
        self._options = research.options_of(project)
        self._until = time.monotonic() + _TURN
        self._known: tuple[str, frozenset[str]] = ("", frozenset())

    async def turn(self) -> bool:
        self._key = await research.key_of(self._services, self._project["id"])
        self._number = await self._db.fetch_val(QUERIES["next_number"], {"id": self._id})
        async for row in self._instances():
            await self._look_at(row)
            if time.monotonic() > self._until:
                return False
        now = clock.now()
        values = {"id": self._id, "now": now, "expires_at": now + KEPT}
        await self._db.execute(QUERIES["delivery_ready"], values)
        return True

    async def _instances(self) -> AsyncIterator[Record]:
        after = {"patient": "", "study": "", "series": "", "sop": ""}
        while True:
            values = {
                "project": self._project["id"],
                "delivery": self._id,
                "modalities": self._project["modalities"],
                "limit": _PAGE,
            }
            reach = await reach_of(self._services, self._project["id"], STUDY_READ, NO_CREDENTIAL)
            page = await self._db.fetch_all(
                QUERIES["instances_to_give"], values | after, reach=reach.studies()
            )
            for row in page:
                yield row
            if len(page) < _PAGE:
                return
            last = page[-1]
            after = {"patient": last["patient_id"]} | {
                name: last[f"{name}_uid"] for name in ("study", "series", "sop")
            }

    async def _look_at(self, row: Record) -> None:
        if self._known[0] != row["patient_id"]:
            reach = await reach_of(self._services, self._project["id"], PATIENT_READ, NO_CREDENTIAL)
            self._known = (row["patient_id"], await known_of(self._services, row["patient_id"], reach=reach))
        subject = Subject(subject_key(self._key, row["member_id"].bytes), self._known[1])
        address = address_of(self._services, row)
        facts = await asyncio.to_thread(_planned, self._services, address, subject, self._options)
        await self._write_down(row, facts.pop("counts"), facts)

    async def _write_down(self, row: Record, counts: bytes, facts: dict[str, Any]) -> None:
        """What becomes of one image; what was removed from many alike is kept once."""
        digest = hashlib.sha256(counts).digest() if counts else b""
        values = _NOTHING | {"delivery": self._id, "patient": row["patient_id"], "member": row["member_id"]}
        values |= {"sop": row["sop_uid"], "number": self._number, "removal": digest, **facts}
        async with self._db.transaction():
            if counts:
                removal = {"delivery": self._id, "digest": digest, "counts": counts.decode()}
                await self._db.execute(QUERIES["add_removal"], removal)
            await self._db.execute(QUERIES["add_file"], values)
        self._number += 1


def _planned(services: Services, address: Address, subject: Subject, options: Options) -> dict[str, Any]:
    """What becomes of one image, read through once; in a worker thread."""
    with services.objects.reader(address) as source:
        try:
            made = deidentify(source, subject, options)
        except Excluded as exc:
            return {"reason": exc.reason, "counts": b""}
        except (Damaged, Missing):  # said by `verify`; the others are given all the same
            return {"reason": "damaged", "counts": b""}
        digest, crc = hashlib.sha256(), 0
        for part in made.parts(source):
            digest.update(part)
            crc = zlib.crc32(part, crc)
    return {
        "path": f"{subject.pseudonym}/{made.study_uid}/{made.series_uid}/{made.sop_uid}.dcm",
        "size": made.size,
        "crc": crc,
        "sha256": digest.digest(),
        "head_sha256": digest_of_head(made),
        "counts": orjson.dumps(made.removed, option=orjson.OPT_SORT_KEYS),
    }


async def _work(services: Services, job: Job) -> None:
    delivery_id = UUID(job.payload["delivery"])
    try:
        if not await prepare(services, delivery_id):
            await queue.enqueue(services.db, JOB, job.payload)
    except Exception:
        if job.tries >= queue.MOST_TRIES:
            await services.db.execute(QUERIES["delivery_failed"], {"id": delivery_id})
        raise


async def _forget(services: Services) -> None:
    await services.db.execute(QUERIES["forget_deliveries"], {"now": clock.now()})


async def _tell(services: Services) -> None:
    await research.tell(services)


KIT = Kit(
    handlers={JOB: _work},
    periodic=(
        Periodic("research: deliveries that expired", timedelta(hours=1), _forget),
        Periodic("research: what is to be deleted", timedelta(minutes=1), _tell),
    ),
)
