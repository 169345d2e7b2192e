"""A delivery on its way out: a ZIP whose images are made again from the originals while it is sent.

    P7Q…/<study>/<series>/<instance>.dcm   images without names, under UIDs of the project
    README.txt, report.csv, removed.csv, left-out.csv, delete.csv, manifest.sha256

Whether somebody still takes part is asked when the ZIP is opened, for each file, and again inside of large ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import zlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from server.access.action import STUDY_READ, Action
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.accounts import sessions
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound
from server.imaging.deidentify import VERSION, Excluded, Subject, deidentify, subject_key
from server.storage.db import Record
from server.storage.sql import load

from . import research, research_delivery
from .research_delivery import Delivery
from .research_images import PATIENT_READ, address_of, digest_of_head, known_of, reach_of
from .research_papers import Paper, papers
from .zip_layout import Entry, Layout

QUERIES = load(__package__, "research.sql")
_ASK_AGAIN = 64  # parts of a file of which whether it may still go out is asked anew
_STAY_ALIVE = 120.0  # seconds after which sending counts as using the session


class Handover:
    """A delivery opened to be sent: the files of everybody who takes part now."""

    def __init__(
        self, services: Services, delivery: Delivery, project: research.Project, actor: Actor
    ) -> None:
        self._services = services
        self._delivery = delivery
        self._project = project
        self._actor = actor
        self._alive_at = time.monotonic()
        self.rows: list[Record] = []
        self.papers: list[Paper] = []  # beside the images: reports, and what is to be deleted

    async def open(self) -> Handover:
        """Note that it is handed over, for each person; read what goes."""
        self._key = await research.key_of(self._services, self._project.id)
        async with self._services.db.transaction():
            self.rows = await self._given()
            left_out = await self._left_out()
        for patient_id in sorted({row["patient_id"] for row in self.rows}):
            await self._note(patient_id)  # each by itself: to hold two chains at once invites deadlock
        self.papers = await self._papers(left_out)
        entries = [Entry(row["path"], row["size"], row["crc"]) for row in self.rows]
        entries += [Entry(path, len(data), zlib.crc32(data)) for path, data in self.papers]
        self._layout = Layout(entries, self._delivery.ready_at or self._delivery.asked_at)
        return self

    async def _given(self) -> list[Record]:
        """The files of everybody who takes part now, with that written down for each of them."""
        db, reach = self._services.db, await self._reach(STUDY_READ)
        rows = await db.fetch_all(QUERIES["files_to_give"], {"id": self._delivery.id}, reach=reach.studies())
        members = sorted({row["member_id"] for row in rows})
        living = await db.fetch_all(QUERIES["given"], {"members": members, "now": clock.now()})
        kept = {row["id"] for row in living}
        return [row for row in rows if row["member_id"] in kept]

    async def _left_out(self) -> list[Record]:
        reach = await self._reach(PATIENT_READ)
        values = {"id": self._delivery.id}
        return await self._services.db.fetch_all(QUERIES["left_out"], values, reach=reach.patients())

    async def _papers(self, left_out: list[Record]) -> list[Paper]:
        removals = await self._services.db.fetch_all(QUERIES["removals"], {"id": self._delivery.id})
        leavers = await research.to_delete(self._services, self._project.id, actor=self._actor)
        return papers(self._project, self.rows, removals=removals, left_out=left_out, leavers=leavers)

    async def _note(self, patient_id: str) -> None:
        await self._services.audit.record(
            Event.RESEARCH_GIVEN,
            who=self._actor.who(),
            patient_id=patient_id,
            detail={"project": self._project.name, "organization": self._project.organization},
            fold=f"research {self._delivery.id} {patient_id}",
        )

    async def _reach(self, action: Action) -> Reach:
        return await reach_of(self._services, self._project.id, action, self._actor.credential)

    @property
    def size(self) -> int:
        return self._layout.size

    @property
    def etag(self) -> str:
        """Of these files: another one where somebody has left."""
        digest = hashlib.sha256(self._delivery.id.bytes)
        for row in self.rows:
            digest.update(row["sha256"])
        for _, data in self.papers:
            digest.update(data)
        return f'"{digest.hexdigest()[:32]}"'

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Bytes start..stop of the ZIP. Raises NotFound in the middle when somebody leaves whose file is next."""
        for piece in self._layout.pieces(start, stop):
            if piece.own:
                yield piece.own
            elif piece.entry < len(self.rows):
                async for part in self.content(self.rows[piece.entry], piece.start, piece.stop):
                    yield part
            else:
                yield self.papers[piece.entry - len(self.rows)][1][piece.start : piece.stop]
            await self._stay_alive()

    async def content(self, row: Record, start: int, stop: int) -> AsyncIterator[bytes]:
        """Bytes of one image without its person, made now. Raises NotFound when it may not go out any more."""
        values = {"patient": row["patient_id"], "sop": row["sop_uid"]}
        reach = await self._reach(STUDY_READ)
        held = await self._services.db.fetch_one(QUERIES["object_to_give"], values, reach=reach.studies())
        if held is None:
            raise NotFound()
        known = await known_of(self._services, row["patient_id"], reach=await self._reach(PATIENT_READ))
        subject = Subject(subject_key(self._key, row["member_id"].bytes), known)
        with self._services.objects.reader(address_of(self._services, held)) as source:
            try:
                made = await asyncio.to_thread(deidentify, source, subject, self._project.options)
            except Excluded as exc:
                raise NotFound() from exc
            if made.size != row["size"] or digest_of_head(made) != row["head_sha256"]:
                raise NotFound()  # made by another version, or the person's profile says something new
            parts, count = made.parts(source, start, stop), 0
            while (part := await asyncio.to_thread(next, parts, None)) is not None:
                count += 1
                if count % _ASK_AGAIN == 0 and not await self._may_still(values):
                    raise NotFound()
                yield part

    async def _may_still(self, values: dict[str, Any]) -> bool:
        reach = await self._reach(STUDY_READ)
        return bool(await self._services.db.fetch_val(QUERIES["may_still"], values, reach=reach.studies()))

    async def _stay_alive(self) -> None:
        session = self._actor.credential.session_id
        if session is not None and time.monotonic() - self._alive_at > _STAY_ALIVE:
            self._alive_at = time.monotonic()
            await sessions.keep_alive(self._services.db, session)


async def hand_over(services: Services, delivery_id: UUID, *, actor: Actor) -> Handover:
    """Open a delivery to be sent. Raises Forbidden, NotFound, Conflict while it is not ready."""
    found = await research_delivery.one(services, delivery_id, actor=actor)
    project = await research.one(services, found.project_id, actor=actor)
    if found.state != "ready" or project.state != "open":
        raise Conflict("This delivery is not ready, or its project has ended.")
    if found.version != VERSION:
        raise Conflict("This server makes files in another way now: ask for a new delivery.")
    await research.note(services, actor, project.id, "delivery fetched", project.name)
    return await Handover(services, found, project, actor).open()
