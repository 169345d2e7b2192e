"""Carrying studies between this record and another DICOMweb server, instance by instance, byte for byte.

Both directions ask first what is there already and carry over what is missing, so that one that was interrupted is
gone on with by running it again. What was carried over is read again where it went, and its SHA-256 compared.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.progress import Progress, TaskID

from server.access.action import STUDY_READ, Action
from server.access.actor import Actor, ActorKind
from server.access.reach import Reach
from server.access.services import Services
from server.accounts import people
from server.audit.events import Event
from server.core.errors import NotFound, ServerError
from server.core.media import parse_media_type
from server.dicomweb.multipart import Part, read_parts
from server.imaging import catalogue
from server.imaging.catalogue import InstanceRow, address_of
from server.imaging.store import receive
from server.records.people import patient_of_account
from server.storage.where import TRUE

from .remote import PIECE, Remote, RemoteTrouble

BATCH = 50  # instances of one store
BATCH_BYTES = 32 << 20


@dataclass
class Tally:
    """What became of the instances."""

    studies: int = 0
    transferred: int = 0
    held: int = 0  # there already
    verified: int = 0
    bytes: int = 0
    altered: list[str] = field(default_factory=list)  # SOP Instance UIDs: held there, with other bytes
    failed: list[dict[str, str]] = field(default_factory=list)

    def fail(self, uid: str, why: object) -> None:
        self.failed.append({"sop_instance_uid": uid, "comment": str(why)})

    def told(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def as_text(self) -> str:
        lines = [
            f"studies      {self.studies}",
            f"transferred  {self.transferred} ({self.bytes / 1e6:.1f} MB), {self.verified} of them verified",
            f"there before {self.held}",
            f"altered      {len(self.altered)}",
            f"failed       {len(self.failed)}",
        ]
        lines += [f"  {uid}: the other server changed it" for uid in self.altered]
        lines += [f"  {each['sop_instance_uid'] or '(a series)'}: {each['comment']}" for each in self.failed]
        return "\n".join(lines)


class Exchange(ABC):
    """What both directions share."""

    def __init__(self, services: Services, remote: Remote, *, verify: bool, progress: Progress) -> None:
        self.services = services
        self.remote = remote
        self.tally = Tally()
        self._verify = verify
        self._progress = progress
        self._task: TaskID = progress.add_task("studies", total=0)
        self.patient_id = ""
        self.actor: Actor
        self.reach: Reach

    async def as_patient(self, email: str, action: Action) -> None:
        """Act as the patient: an operator's command has no rights of its own over health data. Raises NotFound."""
        account = await people.find_by_email(self.services.db, email)
        patient_id = await patient_of_account(self.services, account.id) if account is not None else None
        if account is None or patient_id is None:
            raise NotFound(f"There is no patient with the address {email}.")
        self.patient_id = patient_id
        self.actor = Actor(ActorKind.PATIENT, account_id=account.id, name=f"{account.name} (command line)")
        self.reach = await self.reach_for(action)

    async def reach_for(self, action: Action) -> Reach:
        """What the patient reaches of this record."""
        return await self.services.gate.reach_for_actor(self.actor, action, patient_id=self.patient_id)

    async def run(self, studies: Sequence[str]) -> None:
        """One study after the other; trouble with one does not keep the others."""
        for study in studies:
            self.tally.studies += 1
            try:
                await self.study(study)
            except ServerError as error:
                self.tally.fail("", f"study {study}: {error}")

    @abstractmethod
    async def study(self, study: str) -> None:
        """Carry one study over. Raises ServerError."""

    def expect(self, more: int) -> None:
        """So many instances come."""
        total = self._progress.tasks[0].total or 0
        self._progress.update(self._task, total=total + more)

    def advance(self) -> None:
        self._progress.advance(self._task)


class Pull(Exchange):
    """From the other server into the record."""

    def __init__(self, *args: Any, mine: bool, **named: Any) -> None:
        super().__init__(*args, **named)
        self._mine = mine
        self._arrived: set[str] = set()  # SHA-256 of what came

    async def study(self, study: str) -> None:
        """Fetch what is missing: a series at once where all of it is, one by one else."""
        there = await asyncio.to_thread(self.remote.instances, study)
        if not there:
            raise RemoteTrouble("the other server does not hold it")
        missing = await self._missing(there)
        self.tally.held += len(there) - len(missing)
        self.expect(len(missing))
        for series in dict.fromkeys(there[uid] for uid in missing):
            whole = [uid for uid, of in there.items() if of == series]
            wanted = [uid for uid in missing if there[uid] == series]
            if len(wanted) > 1 and len(wanted) == len(whole):
                await self._fetch(study, series, None)
                wanted = await self._missing(dict.fromkeys(wanted, series))
            for uid in wanted:
                await self._fetch(study, series, uid)
        await self._settle(study, missing)

    async def _missing(self, there: dict[str, str]) -> list[str]:
        held: set[str] = set()
        uids = list(there)
        for at in range(0, len(uids), 1000):
            reach = await self.reach_for(STUDY_READ)
            some = uids[at : at + 1000]
            held |= await catalogue.held_uids(self.services.db, self.patient_id, some, reach=reach)
        return [uid for uid in uids if uid not in held]

    async def _fetch(self, study: str, series: str, sop: str | None) -> None:
        """Store a series or an instance while it arrives."""
        try:
            report = await receive(
                self.services,
                self._parts(study, series, sop),
                reach=self.reach,
                actor=self.actor,
                patient_id=self.patient_id,
                study_uid=None,
                mine=self._mine,
            )
        except ServerError as error:
            if sop is not None:  # of a series, the rest is asked for one by one
                self.tally.fail(sop, error)
            return
        for failure in report.failed:
            if failure.sop_instance_uid or sop:
                self.tally.fail(failure.sop_instance_uid or sop or "", failure.comment)

    async def _parts(self, study: str, series: str, sop: str | None) -> AsyncIterator[Part]:
        content_type, pieces = await asyncio.to_thread(self.remote.retrieve, study, series, sop)
        kind, body = parse_media_type(content_type), _beside(pieces)
        if kind is not None and kind.is_multipart:
            async for part in read_parts(body, content_type):
                yield Part(part.headers, self._hashed(part))
                self.advance()
        else:
            yield Part({}, self._hashed(body))
            self.advance()

    async def _hashed(self, chunks: AsyncIterator[bytes] | Part) -> AsyncIterator[bytes]:
        digest = hashlib.sha256()
        async for chunk in chunks:
            digest.update(chunk)
            self.tally.bytes += len(chunk)
            yield chunk
        self._arrived.add(digest.hexdigest())

    async def _settle(self, study: str, missing: Sequence[str]) -> None:
        """Read again what is held now: its hash must be one of those that arrived."""
        wanted, reach = set(missing), await self.reach_for(STUDY_READ)
        rows = await catalogue.instances_of(self.services.db, study, reach=reach)
        held = [row for row in rows if row.sop_uid in wanted]
        self.tally.transferred += len(held)
        failed = {each["sop_instance_uid"] for each in self.tally.failed}
        for uid in wanted - {row.sop_uid for row in held} - failed:
            self.tally.fail(uid, "it did not arrive")
        for row in held if self._verify else ():
            digest = await asyncio.to_thread(_digest, self.services, row)
            if digest in self._arrived:
                self.tally.verified += 1
            else:
                self.tally.fail(row.sop_uid, "what is held is not what arrived")


class Push(Exchange):
    """From the record to the other server."""

    async def every_study(self) -> list[str]:
        """All that the patient has."""
        page = await catalogue.find_studies(self.services.db, TRUE, reach=self.reach, limit=100_000)
        return [row.study_uid for row in page.rows]

    async def study(self, study: str) -> None:
        """Send what is missing there, some at a time."""
        rows = await catalogue.instances_of(self.services.db, study, reach=self.reach)
        if not rows:
            raise NotFound("It is not in this record.")
        there = await asyncio.to_thread(self.remote.instances, study)
        missing = [row for row in rows if row.sop_uid not in there]
        self.tally.held += len(rows) - len(missing)
        self.expect(len(missing))
        if missing:
            await self.services.audit.record(
                Event.STUDY_DOWNLOADED,
                who=self.actor.who(),
                patient_id=self.patient_id,
                detail={"study": study, "instances": len(missing), "sent_to": self.remote.url},
            )
        for batch in _batches(missing):
            await self._send(batch)

    async def _send(self, batch: Sequence[InstanceRow]) -> None:
        objects = [(row.sop_uid, _pieces(self.services, row)) for row in batch]
        try:
            posted = await asyncio.to_thread(self.remote.store, objects)
        except RemoteTrouble as error:
            for row in batch:
                self.tally.fail(row.sop_uid, error)
            return
        for uid, why in posted.failed.items():
            self.tally.fail(uid, why)
        for row in batch:
            self.advance()
            if row.sop_uid in posted.stored:
                self.tally.transferred += 1
                self.tally.bytes += row.size
                if self._verify:
                    await self._compare(row)

    async def _compare(self, row: InstanceRow) -> None:
        try:
            digest = await self._remote_digest(row)
        except ServerError as error:
            self.tally.fail(row.sop_uid, f"sent, but it cannot be read again: {error}")
            return
        if digest == row.sha256.hex():
            self.tally.verified += 1
        else:
            self.tally.altered.append(row.sop_uid)

    async def _remote_digest(self, row: InstanceRow) -> str:
        retrieve = self.remote.retrieve
        content_type, pieces = await asyncio.to_thread(retrieve, row.study_uid, row.series_uid, row.sop_uid)
        kind, body = parse_media_type(content_type), _beside(pieces)
        digest = hashlib.sha256()
        if kind is not None and kind.is_multipart:
            async for part in read_parts(body, content_type):
                async for chunk in part:
                    digest.update(chunk)
        else:
            async for chunk in body:
                digest.update(chunk)
        return digest.hexdigest()


def _batches(rows: Sequence[InstanceRow]) -> Iterator[list[InstanceRow]]:
    batch: list[InstanceRow] = []
    size = 0
    for row in rows:
        if batch and (len(batch) >= BATCH or size + row.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row.size
    if batch:
        yield batch


def _pieces(services: Services, row: InstanceRow) -> Iterator[bytes]:
    """The object as it is held, for a worker thread."""
    with services.objects.reader(address_of(services, row)) as file:
        while piece := file.read(PIECE):
            yield piece


def _digest(services: Services, row: InstanceRow) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(services, row):
        digest.update(piece)
    return digest.hexdigest()


async def _beside(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """What blocks, in a thread; its trouble as ours."""

    def following() -> bytes:
        try:
            return next(pieces, b"")
        except OSError as error:  # requests' errors are of this kind
            raise RemoteTrouble("The other server broke off.") from error

    while piece := await asyncio.to_thread(following):
        yield piece
