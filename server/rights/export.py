"""A copy of everything, as one ZIP: planned by a job, then sent from the plan, the same bytes each time (rows 52, 56).

    DICOM/…, DICOMDIR   original images under names of eight characters (PS3.10), with their directory
    REPORTS/            reports and documents, byte for byte as they came in
    FHIR/bundle.json    every resource, the consents and the log of accesses too
    ACCOUNT/account.json  the account: permissions, sign-ins, apps, shares, disclosures
    README.txt, manifest.sha256

The job reads every image, so what goes out was compared with its SHA-256, and its CRC-32 is known. It works in turns
of some minutes and goes on where it stopped. What it makes beside the images waits sealed with the patient's key,
for three days. While the ZIP is sent, every file asks again whether the caller may have it.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from server.access.action import Action, Verb
from server.access.actor import Actor, ActorKind
from server.access.reach import Reach
from server.access.services import Services
from server.accounts import sessions
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound, ServerError
from server.core.texts import translations
from server.imaging import rebuild
from server.imaging.fileset import DIRECTORY_NAME, FileSet, attributes_of
from server.imaging.fileset import Entry as Image
from server.jobs import queue
from server.jobs.queue import Job, Kit, Periodic
from server.sharing import merged
from server.storage.db import Record
from server.storage.objects import Address
from server.storage.sql import load

from . import export_content, letters
from .zip_layout import Entry, Layout

QUERIES = load(__package__, "export.sql")
JOB = "rights: copy"
PATIENT_READ = Action("Patient", Verb.READ)
KEPT = timedelta(days=3)
PART = 1 << 20  # bytes of made content in one row
_PAGE = 100
_TURN = 150.0  # seconds of one turn of the job, within its lease
_STAY_ALIVE = 120.0  # seconds between two signs of life of the session that downloads


@dataclass(frozen=True)
class Export:
    """One copy, as its owner sees it."""

    id: UUID
    patient_id: str
    state: str
    created_at: datetime
    ready_at: datetime | None
    expires_at: datetime
    files: int
    size: int

    @property
    def etag(self) -> str:
        return f'"{self.id}"'


async def ask(services: Services, patient_id: str, *, reach: Reach, actor: Actor) -> UUID:
    """Have a copy made; its id. One that is being made already is taken. Raises NotFound."""
    own = await services.db.fetch_one(
        QUERIES["own_patient"], {"patient": patient_id}, reach=reach.of_holder().patients()
    )
    if own is None or actor.account_id is None:
        raise NotFound()
    now, values = clock.now(), {"account": actor.account_id, "patient": patient_id}
    async with services.db.transaction():
        under_way: UUID | None = await services.db.fetch_val(QUERIES["export_under_way"], values)
        if under_way is not None:
            return under_way
        export_id = uuid4()
        await services.db.execute(
            QUERIES["add_export"], {"id": export_id, "now": now, "expires_at": now + KEPT, **values}
        )
        await services.audit.record(Event.DATA_EXPORTED, who=actor.who(), patient_id=patient_id)
        await queue.enqueue(services.db, JOB, {"export": str(export_id)})
    return export_id


async def listed(services: Services, *, actor: Actor) -> list[Export]:
    """The copies of this account that are being made or can be fetched, the newest first."""
    values = {"account": actor.account_id, "now": clock.now()}
    return [Export(**dict(row)) for row in await services.db.fetch_all(QUERIES["exports_of"], values)]


async def get(services: Services, export_id: UUID, *, actor: Actor) -> Export:
    """One of them. Raises NotFound."""
    values = {"id": export_id, "account": actor.account_id, "now": clock.now()}
    row = await services.db.fetch_one(QUERIES["export_of"], values)
    if row is None:
        raise NotFound()
    return Export(**dict(row))


async def drop(services: Services, export_id: UUID, *, actor: Actor) -> None:
    """Delete a copy before its time."""
    await services.db.execute(QUERIES["drop_export"], {"id": export_id, "account": actor.account_id})


class Download:
    """A copy that is ready, opened to be sent."""

    def __init__(self, services: Services, export: Export, rows: list[Record], reach: Reach) -> None:
        self._services = services
        self._export = export
        self._rows = rows
        self._reach = reach.of_holder()
        self._layout = Layout(
            [Entry(row["path"], row["size"], row["crc"]) for row in rows], export.created_at
        )
        self._alive_at = time.monotonic()

    @property
    def size(self) -> int:
        return self._layout.size

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Bytes start..stop. Raises NotFound in the middle when the right has ended."""
        for piece in self._layout.pieces(start, stop):
            if piece.own:
                yield piece.own
                continue
            row = self._rows[piece.entry]
            content = self._image if row["sop_uid"] else self._made
            async for part in content(row, piece.start, piece.stop):
                yield part
            await self._stay_alive()

    async def _image(self, row: Record, start: int, stop: int) -> AsyncIterator[bytes]:
        values = {"patient": self._export.patient_id, "sop": row["sop_uid"]}
        held = await self._services.db.fetch_one(QUERIES["object"], values, reach=self._fresh().studies())
        if held is None or held["sha256"] != row["sha256"]:
            raise NotFound()
        async for part in self._services.objects.stream(
            _address(self._services, held, held["wrapped"]), start, stop
        ):
            yield part

    async def _made(self, row: Record, start: int, stop: int) -> AsyncIterator[bytes]:
        for number in range(start // PART, -(-stop // PART)):
            values = {"id": self._export.id, "file": row["number"], "number": number}
            held = await self._services.db.fetch_one(QUERIES["part"], values, reach=self._fresh().patients())
            if held is None:
                raise NotFound()
            context = _context(self._export.id, row["number"], number)
            plain = self._services.keyring.open(held["wrapped"], held["sealed"], context)
            yield plain[max(0, start - number * PART) : stop - number * PART]

    def _fresh(self) -> Reach:
        """The reach of this moment: a download goes on for hours."""
        reach = self._reach
        return Reach(reach.action, reach.lanes, reach.credential, self._export.patient_id, clock.now())

    async def _stay_alive(self) -> None:
        if self._reach.credential.session_id and time.monotonic() - self._alive_at > _STAY_ALIVE:
            self._alive_at = time.monotonic()
            await sessions.keep_alive(self._services.db, self._reach.credential.session_id)


async def open_download(
    services: Services, export_id: UUID, *, reach: Reach, actor: Actor
) -> tuple[Export, Download]:
    """Open a copy to be sent. Raises NotFound, Conflict while it is not ready."""
    export = await get(services, export_id, actor=actor)
    if export.state != "ready":
        raise Conflict("This copy is not ready yet.")
    own = {"patient": export.patient_id}
    if await services.db.fetch_one(QUERIES["own_patient"], own, reach=reach.of_holder().patients()) is None:
        raise NotFound()
    rows = await services.db.fetch_all(QUERIES["files_of"], {"id": export_id})
    await services.audit.record(
        Event.DATA_FETCHED,
        who=actor.who(),
        patient_id=export.patient_id,
        fold=f"copy {export.id} {clock.now():%Y-%m-%dT%H}",
    )
    return export, Download(services, export, rows, reach)


async def prepare(services: Services, export_id: UUID) -> bool:
    """One turn of the work; True when there is nothing left to do."""
    row = await services.db.fetch_one(QUERIES["export_to_prepare"], {"id": export_id})
    if row is None:
        return True
    actor = Actor(ActorKind.PATIENT, account_id=row["account_id"], name=row["name"])  # who holds it
    reach = await services.gate.reach_for_actor(actor, PATIENT_READ, patient_id=row["patient_id"])
    return await _Preparation(services, row, actor, reach.of_holder()).turn()


class _Preparation:
    """The work on one copy."""

    def __init__(self, services: Services, row: Record, actor: Actor, reach: Reach) -> None:
        self._services = services
        self._db = services.db
        self._row = row
        self._actor = actor
        self._reach = reach
        self._id: UUID = row["id"]
        self._patient: str = row["patient_id"]
        self._number = 0
        self._until = time.monotonic() + _TURN

    async def turn(self) -> bool:
        self._number = await self._db.fetch_val(QUERIES["next_number"], {"id": self._id})
        async for row in self._instances():
            if row["number"] is None:
                await self._look_at(row)
                if time.monotonic() > self._until:
                    return False
        await rebuild.refresh(self._services, reach=self._reach, patients=[self._patient])
        async with self._db.transaction():
            await self._db.execute(QUERIES["drop_made"], {"id": self._id})
            await self._db.execute(QUERIES["drop_parts"], {"id": self._id})
            await self._name_images()
            await self._make_the_rest()
            await self._ready()
        return True

    async def _instances(self) -> AsyncIterator[Record]:
        after = {"study": "", "series": "", "sop": ""}
        while True:
            values = {"id": self._id, "patient": self._patient, "limit": _PAGE, **after}
            page = await self._db.fetch_all(QUERIES["instances_to_copy"], values, reach=self._reach.studies())
            for row in page:
                yield row
            if len(page) < _PAGE:
                return
            after = {name: page[-1][f"{name}_uid"] for name in after}

    async def _look_at(self, row: Record) -> None:
        """Read an image once: it is what was stored, and its checksum is known."""
        digest, crc, size = hashlib.sha256(), 0, 0
        async for part in self._services.objects.stream(_address(self._services, row, self._row["wrapped"])):
            digest.update(part)
            crc = zlib.crc32(part, crc)
            size += len(part)
        if digest.digest() != row["sha256"]:
            raise ServerError()
        await self._add("", row["sop_uid"], size, digest.digest(), crc)

    async def _add(self, path: str, sop: str | None, size: int, sha256: bytes, crc: int) -> int:
        number, self._number = self._number, self._number + 1
        values = {"patient": self._patient, "id": self._id, "number": number, "path": path, "sop": sop}
        await self._db.execute(QUERIES["add_file"], values | {"size": size, "sha256": sha256, "crc": crc})
        return number

    async def _name_images(self) -> None:
        """File IDs in the order of the record, and the directory over them."""
        files = FileSet()
        async for row in self._instances():
            if row["number"] is None:
                continue  # stored since: it is in the next copy
            attributes = {"00080060": {"vr": "CS", "Value": [row["modality"]]}}
            attributes |= attributes_of(bytes(row["metadata"]).replace(b"\1", b"\0"))
            uids = {
                name: row[name]
                for name in ("study_uid", "series_uid", "sop_uid", "sop_class", "transfer_syntax")
            }
            name = files.add(Image(**uids, attributes=attributes))
            await self._db.execute(
                QUERIES["name_file"], {"id": self._id, "number": row["number"], "path": name}
            )
        await self._db.execute(QUERIES["drop_unnamed"], {"id": self._id})
        await self._make(DIRECTORY_NAME, _async(files.written()))

    async def _make_the_rest(self) -> None:
        of = export_content.Subject(
            self._patient, self._row["account_id"], self._actor, self._reach, self._row["created_at"]
        )
        async for path, content in export_content.documents(self._services, of):
            await self._make(path, content)
        for row in await merged.other_versions(self._services, self._patient, reach=self._reach):
            address = merged.address_of(self._services, row)
            await self._make(f"OTHER/{row['sop_uid']}.dcm", self._services.objects.stream(address))
        await self._make("FHIR/bundle.json", export_content.bundle(self._services, of))
        await self._make("ACCOUNT/account.json", export_content.account(self._services, of))
        gettext = translations(self._row["language"]).gettext
        await self._make("README.txt", _async([export_content.readme(self._services, of, gettext)]))
        await self._make("manifest.sha256", self._manifest())

    async def _manifest(self) -> AsyncIterator[bytes]:
        for row in await self._db.fetch_all(QUERIES["files_of"], {"id": self._id}):
            yield f"{row['sha256'].hex()}  {row['path']}\n".encode()

    async def _make(self, path: str, content: AsyncIterator[bytes]) -> None:
        """Content as parts of one size, sealed."""
        digest, crc, size, count, waiting = hashlib.sha256(), 0, 0, 0, bytearray()
        file = self._number
        async for piece in content:
            digest.update(piece)
            crc, size = zlib.crc32(piece, crc), size + len(piece)
            waiting += piece
            while len(waiting) >= PART:
                await self._seal(file, count, bytes(waiting[:PART]))
                del waiting[:PART]
                count += 1
        if waiting:
            await self._seal(file, count, bytes(waiting))
        await self._add(path, None, size, digest.digest(), crc)

    async def _seal(self, file: int, number: int, plain: bytes) -> None:
        sealed = self._services.keyring.seal(self._row["wrapped"], plain, _context(self._id, file, number))
        values = {"patient": self._patient, "id": self._id, "file": file, "number": number, "sealed": sealed}
        await self._db.execute(QUERIES["add_part"], values)

    async def _ready(self) -> None:
        rows = await self._db.fetch_all(QUERIES["files_of"], {"id": self._id})
        layout = Layout(
            [Entry(row["path"], row["size"], row["crc"]) for row in rows], self._row["created_at"]
        )
        now = clock.now()
        values = {
            "id": self._id,
            "now": now,
            "files": len(rows),
            "size": layout.size,
            "expires_at": now + KEPT,
        }
        await self._db.execute(QUERIES["export_ready"], values)
        await letters.post(
            self._services,
            "copy",
            self._row["email"],
            self._row["language"],
            path="/account/data",
            name=self._row["name"],
        )


def _address(services: Services, row: Record, wrapped: bytes) -> Address:
    key = services.keyring.unwrap(wrapped, row["wrapped_key"])
    return Address(row["pack_id"], row["object_id"], row["pack_offset"], row["size"], key)


def _context(export_id: UUID, file: int, number: int) -> bytes:
    return b"copy:%b:%d:%d" % (export_id.bytes, file, number)


async def _async(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def _work(services: Services, job: Job) -> None:
    export_id = UUID(job.payload["export"])
    try:
        if not await prepare(services, export_id):
            await queue.enqueue(services.db, JOB, job.payload)
    except Exception:
        if job.tries >= queue.MOST_TRIES:
            await services.db.execute(QUERIES["export_failed"], {"id": export_id})
        raise


async def _forget(services: Any) -> None:
    await services.db.execute(QUERIES["forget_exports"], {"now": clock.now()})


KIT = Kit(
    handlers={JOB: _work}, periodic=(Periodic("rights: copies that expired", timedelta(hours=1), _forget),)
)
