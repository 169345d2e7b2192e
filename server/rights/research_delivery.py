"""What a project is given: planned by a job, then made again from the originals while it goes out.

    P7Q…/<study>/<series>/<instance>.dcm   images without names, under UIDs of the project
    README.txt, report.csv, removed.csv, left-out.csv, delete.csv, manifest.sha256

One operator asks for a delivery, another one approves it. The job looks at every image of everybody who takes part:
it is left out with a reason, or its size and checksums are written down. Nothing else is kept, so there is no second
copy to seal, to lose, or to delete: the same key makes the same bytes again. Whether somebody still takes part is
asked of living rows when a ZIP is opened, for each file, and again inside of large ones. A job goes on where it was
killed.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import time
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from server.access.action import STUDY_READ, Action, Verb
from server.access.actor import NO_CREDENTIAL, Actor, ActorKind, Credential
from server.access.reach import Reach
from server.access.services import Services
from server.accounts import sessions
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound
from server.imaging.deidentify import (
    VERSION,
    Excluded,
    Made,
    Options,
    Subject,
    deidentify,
    subject_key,
    words_of,
)
from server.jobs import queue
from server.jobs.queue import Job, Kit, Periodic
from server.storage.db import Record
from server.storage.objects import Address, Damaged, Missing
from server.storage.sql import load

from . import research
from .operators import require_operator
from .zip_layout import Entry, Layout

QUERIES = load(__package__, "research.sql")
JOB = "research: delivery"
PATIENT_READ = Action("Patient", Verb.READ)
WAITS, KEPT = timedelta(days=7), timedelta(days=14)
_PAGE = 100
_TURN = 150.0  # seconds of one turn of the job, within its lease
_ASK_AGAIN = 64  # parts of a file of which whether it may still go out is asked anew
_STAY_ALIVE = 120.0


@dataclass(frozen=True)
class Delivery:
    """One delivery, as operators see it."""

    id: UUID
    project_id: UUID
    project: str
    state: str
    version: int
    asked_at: datetime
    asked_by: UUID | None
    approved_at: datetime | None
    ready_at: datetime | None
    expires_at: datetime


@dataclass(frozen=True)
class Line:
    """How many images of how many people were given, or left out for one reason."""

    reason: str
    files: int
    people: int
    size: int


async def ask(services: Services, project_id: UUID, *, actor: Actor) -> UUID:
    """Ask for a delivery, which another operator approves. Raises Forbidden, Conflict."""
    project = await research.one(services, project_id, actor=actor)
    now, delivery_id = clock.now(), uuid4()
    values = {
        "id": delivery_id,
        "project": project_id,
        "version": VERSION,
        "now": now,
        "by": actor.account_id,
    }
    async with services.db.transaction():
        if not await services.db.fetch_val(QUERIES["ask_delivery"], values | {"expires_at": now + WAITS}):
            raise Conflict("This project gets nothing: it is not approved, or has ended.")
        await research.note(services, actor, project_id, "delivery asked", project.name)
    return delivery_id


async def approve(services: Services, delivery_id: UUID, *, actor: Actor) -> None:
    """Have it made. Raises Forbidden, NotFound, Conflict when one asked for it oneself."""
    found = await one(services, delivery_id, actor=actor)
    now = clock.now()
    values = {"id": delivery_id, "now": now, "by": actor.account_id, "expires_at": now + KEPT}
    async with services.db.transaction():
        if not await services.db.fetch_val(QUERIES["approve_delivery"], values):
            raise Conflict("Another operator has to approve this, while it waits.")
        await queue.enqueue(services.db, JOB, {"delivery": str(delivery_id)})
        await research.note(services, actor, found.project_id, "delivery approved", found.project)


async def drop(services: Services, delivery_id: UUID, *, actor: Actor) -> None:
    """Take it back, or remove what is ready before its time. Raises Forbidden, NotFound."""
    found = await one(services, delivery_id, actor=actor)
    async with services.db.transaction():
        await services.db.execute(QUERIES["drop_delivery"], {"id": delivery_id})
        await research.note(services, actor, found.project_id, "delivery dropped", found.project)


async def listed(services: Services, project_id: UUID | None = None, *, actor: Actor) -> list[Delivery]:
    """The deliveries that wait, are made or can be fetched. Raises Forbidden."""
    await require_operator(services, actor)
    values = {"now": clock.now(), "id": None, "project": project_id}
    return [Delivery(**dict(row)) for row in await services.db.fetch_all(QUERIES["deliveries"], values)]


async def one(services: Services, delivery_id: UUID, *, actor: Actor) -> Delivery:
    """Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    values = {"now": clock.now(), "id": delivery_id, "project": None}
    row = await services.db.fetch_one(QUERIES["deliveries"], values)
    if row is None:
        raise NotFound()
    return Delivery(**dict(row))


async def summary(services: Services, delivery_id: UUID, *, actor: Actor) -> list[Line]:
    """What is given and what is left out, in numbers. Raises Forbidden."""
    await require_operator(services, actor)
    return [Line(**dict(row)) for row in await services.db.fetch_all(QUERIES["summary"], {"id": delivery_id})]


async def counts(services: Services, delivery_id: UUID, *, actor: Actor) -> list[tuple[str, int]]:
    """What was done to which attribute, how often; no values. Raises Forbidden."""
    await require_operator(services, actor)
    rows = await services.db.fetch_all(QUERIES["counts"], {"id": delivery_id})
    return [(row["what"], row["count"]) for row in rows]


async def reach_of(services: Services, project_id: UUID, action: Action, credential: Credential) -> Reach:
    """What the project may read at this moment, while the operator who acts for it is signed in."""
    project = Actor(ActorKind.PROJECT, project_id=str(project_id), credential=credential)
    return await services.gate.reach_for_actor(project, action)


# -- planning


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
        address = _address(self._services, row)
        facts = await asyncio.to_thread(_planned, self._services, address, subject, self._options)
        counted = facts.pop("counts")
        values: dict[str, Any] = {
            "reason": "",
            "path": "",
            "size": 0,
            "crc": 0,
            "sha256": b"",
            "head_sha256": b"",
        }
        digest = hashlib.sha256(counted).digest() if counted else b""
        values |= {"delivery": self._id, "patient": row["patient_id"], "member": row["member_id"]}
        values |= {"sop": row["sop_uid"], "number": self._number, "removal": digest, **facts}
        async with self._db.transaction():
            if counted:
                removal = {"delivery": self._id, "digest": digest, "counts": counted.decode()}
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
        "head_sha256": _head(made),
        "counts": orjson.dumps(made.removed, option=orjson.OPT_SORT_KEYS),
    }


def _head(made: Made) -> bytes:
    return hashlib.sha256(made.head).digest()


async def known_of(services: Services, patient_id: str, *, reach: Reach) -> frozenset[str]:
    """Words that identify a person here: names, numbers, birth date, addresses."""
    row = await services.db.fetch_one(QUERIES["who_it_is"], {"patient": patient_id}, reach=reach.patients())
    if row is None:
        return frozenset()
    texts = [*row["numbers"], *row["holders"], patient_id]
    patient = orjson.loads(row["json"]) if row["json"] else {}
    for name in ("name", "identifier", "telecom", "address", "contact"):
        texts += _strings(patient.get(name) or [])
    birth = str(patient.get("birthDate") or "")
    return words_of([*texts, birth.replace("-", "")])


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in ("system", "use", "url", "period"):
                yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


# -- handing over


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
        self._made: list[tuple[str, bytes]] = []

    async def open(self) -> Handover:
        """Note that it is handed over, for each person; read what goes."""
        self._key = await research.key_of(self._services, self._project.id)
        values = {"id": self._delivery.id}
        async with self._services.db.transaction():
            reach = await self._reach(STUDY_READ)
            rows = await self._services.db.fetch_all(QUERIES["files_to_give"], values, reach=reach.studies())
            members = sorted({row["member_id"] for row in rows})
            living = await self._services.db.fetch_all(
                QUERIES["given"], {"members": members, "now": clock.now()}
            )
            kept = {row["id"] for row in living}
            self.rows = [row for row in rows if row["member_id"] in kept]
            reach = await self._reach(PATIENT_READ)
            left_out = await self._services.db.fetch_all(QUERIES["left_out"], values, reach=reach.patients())
        for patient_id in sorted({row["patient_id"] for row in self.rows}):
            await self._note(patient_id)  # each by itself: to hold two chains at once invites deadlock
        self._made = await self._beside(left_out)
        entries = [Entry(row["path"], row["size"], row["crc"]) for row in self.rows]
        entries += [Entry(path, len(data), zlib.crc32(data)) for path, data in self._made]
        self._layout = Layout(entries, self._delivery.ready_at or self._delivery.asked_at)
        return self

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
        for _, data in self._made:
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
                yield self._made[piece.entry - len(self.rows)][1][piece.start : piece.stop]
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
        with self._services.objects.reader(_address(self._services, held)) as source:
            try:
                made = await asyncio.to_thread(deidentify, source, subject, self._project.options)
            except Excluded as exc:
                raise NotFound() from exc
            if made.size != row["size"] or _head(made) != row["head_sha256"]:
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

    def beside(self) -> list[tuple[str, bytes]]:
        """What lies beside the images: the reports, and what is to be deleted."""
        return self._made

    async def _beside(self, left_out: list[Record]) -> list[tuple[str, bytes]]:
        db, values = self._services.db, {"id": self._delivery.id}
        removals = await db.fetch_all(QUERIES["removals"], values)
        numbers = {row["digest"]: number for number, row in enumerate(removals, 1)}
        gone, aside = await research.to_delete(self._services, self._project.id, actor=self._actor)
        removed = (
            (numbers[row["digest"]], *what.split(" ", 1), count)
            for row in removals
            for what, count in orjson.loads(row["counts"]).items()
        )
        made = [
            ("README.txt", _readme(self._project).encode()),
            (
                "report.csv",
                _csv(
                    ("file", "removed"), ((row["path"], numbers.get(row["removal"], "")) for row in self.rows)
                ),
            ),
            ("removed.csv", _csv(("removed", "what", "attribute", "count"), removed)),
            (
                "left-out.csv",
                _csv(("pseudonym", "reason", "count"), (tuple(row.values()) for row in left_out)),
            ),
            (
                "delete.csv",
                _csv(
                    ("pseudonym", "do"),
                    [(each, "delete") for each in gone] + [(each, "set aside") for each in aside],
                ),
            ),
        ]
        sums = [f"{row['sha256'].hex()}  {row['path']}\n" for row in self.rows]
        sums += [f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in made]
        return [*made, ("manifest.sha256", "".join(sums).encode())]


async def hand_over(services: Services, delivery_id: UUID, *, actor: Actor) -> Handover:
    """Open a delivery to be sent. Raises Forbidden, NotFound, Conflict while it is not ready."""
    found = await one(services, delivery_id, actor=actor)
    project = await research.one(services, found.project_id, actor=actor)
    if found.state != "ready" or project.state != "open":
        raise Conflict("This delivery is not ready, or its project has ended.")
    if found.version != VERSION:
        raise Conflict("This server makes files in another way now: ask for a new delivery.")
    await research.note(services, actor, project.id, "delivery fetched", project.name)
    return await Handover(services, found, project, actor).open()


def _readme(project: research.Project) -> str:
    return f"""Images without names for: {project.name} ({project.organization})

They are pseudonymised, not anonymous: only the server they come from can go back to a person, and nobody may try.
Method: DICOM PS3.15, Annex E; the profile and its options stand in each file in (0012,0063) and (0012,0064).

<pseudonym>/<study>/<series>/<instance>.dcm   the images
report.csv, removed.csv   what was removed from each file, by attribute, in counts without values
left-out.csv              what was not given, and why
delete.csv                who has stopped taking part: delete everything under these names, copies too
manifest.sha256           "sha256sum --check manifest.sha256" says whether all is whole
"""


def _csv(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue().encode()


def _address(services: Services, row: Record) -> Address:
    key = services.keyring.unwrap(row["wrapped"], row["wrapped_key"])
    return Address(row["pack_id"], row["object_id"], row["pack_offset"], row["size"], key)


async def _work(services: Services, job: Job) -> None:
    delivery_id = UUID(job.payload["delivery"])
    try:
        if not await prepare(services, delivery_id):
            await queue.enqueue(services.db, JOB, job.payload)
    except Exception:
        if job.tries >= queue.MOST_TRIES:
            await services.db.execute(QUERIES["delivery_failed"], {"id": delivery_id})
        raise


async def _forget(services: Any) -> None:
    await services.db.execute(QUERIES["forget_deliveries"], {"now": clock.now()})


async def _tell(services: Any) -> None:
    await research.tell(services)


KIT = Kit(
    handlers={JOB: _work},
    periodic=(
        Periodic("research: deliveries that expired", timedelta(hours=1), _forget),
        Periodic("research: what is to be deleted", timedelta(minutes=1), _tell),
    ),
)

__all__ = [
    "KIT",
    "Delivery",
    "Handover",
    "Line",
    "approve",
    "ask",
    "drop",
    "hand_over",
    "listed",
    "one",
    "summary",
]
