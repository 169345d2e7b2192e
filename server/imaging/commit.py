"""The second step of a store: rows and pack become visible in one transaction, or neither does.

Studies are locked in one order, so that concurrent stores never wait for each other in a circle. Counts and prepared
answers are carried on from the locked rows: the cost does not depend on what is held.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any

import orjson

from server.access.actor import Actor
from server.access.reach import Ground, Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, ServerError
from server.core.ids import new_id
from server.storage import packs
from server.storage.db import Database, Record
from server.storage.objects import Pack
from server.storage.sql import load

from . import changes, prepared
from .arrival import Arrival
from .changes import Change
from .dicom_json import to_column, without_root
from .identity import Owner, compare_with_profile
from .recount import recount
from .report import FailureReason, Refused

QUERIES = load(__package__)

_IN_DATABASE = (
    b"\0",
    b"\1",
)  # PostgreSQL's text has no zero byte: prepared answers keep another in its place
_TRIES = 3
_LIST_SEPARATOR = "\x1f"
_SERIES_COLUMNS = {
    "modality": "modality", "series_number": "series_number", "series_day": "series_day", "series_time": "series_time",
    "series_title": "title_folded", "body_part": "body_part", "laterality": "laterality", "step_day": "step_day",
    "step_time": "step_time",
}  # fmt: skip
_INSTANCE_COLUMNS = (
    "instance_number", "sop_class", "transfer_syntax", "pixel_rows", "pixel_columns", "bits_allocated", "samples",
    "frame_count", "frame_bits", "pixel_offset", "pixel_length", "frame_table", "pieced", "content_day",
    "content_time", "qido", "metadata",
)  # fmt: skip


@dataclass(frozen=True)
class Held:
    """An instance that is in the catalogue."""

    sha256: bytes
    deleted: bool
    standing: str
    organization_id: str | None = None  # that brought its study


@dataclass
class Group:
    """What one transaction makes visible."""

    pack: Pack
    admitted: list[Arrival] = field(default_factory=list)  # all that follows, and those being written
    arrivals: list[Arrival] = field(default_factory=list)  # written into the pack
    repeated: list[Arrival] = field(default_factory=list)  # held before, the same bytes
    known: dict[tuple[str, str], Held] = field(default_factory=dict)
    size: int = 0  # bytes of objects
    weight: int = 0  # bytes of their metadata, which wait in memory

    @property
    def is_empty(self) -> bool:
        return not (self.arrivals or self.repeated)

    def add(self, arrival: Arrival) -> None:
        """It is written."""
        assert arrival.stored is not None
        self.arrivals.append(arrival)
        self.size += arrival.stored.address.size
        self.weight += len(arrival.ready.instance["metadata"])

    async def held(self, db: Database, keys: list[tuple[str, str]]) -> set[tuple[str, str]]:
        """Which of these (patient, SOP Instance UID) the catalogue holds; remembered in `known`."""
        if not keys:
            return set()
        values = {"patients": [key[0] for key in keys], "uids": [key[1] for key in keys]}
        found = set()
        for row in await db.fetch_all(QUERIES["held"], values):
            key = (row["patient_id"], row["sop_uid"])
            self.known[key] = Held(row["sha256"], row["deleted"], row["standing"], row["organization_id"])
            found.add(key)
        return found


@dataclass
class Outcome:
    """What became of a group."""

    held: list[tuple[Arrival, bool]] = field(default_factory=list)  # and whether it was held before
    refused: list[tuple[Arrival, ServerError]] = field(default_factory=list)
    changed: set[tuple[str, str]] = field(default_factory=set)  # (patient, study) with new content


async def commit(services: Services, group: Group, *, reach: Reach, actor: Actor, mine: bool) -> Outcome:
    """Make the group visible. Tried again when the database asks for it (serialization, deadlock)."""
    for tries_left in reversed(range(_TRIES)):
        try:
            return await _Commit(services, group, reach=reach, actor=actor, mine=mine).run()
        except Conflict:
            if not tries_left:
                raise
    raise AssertionError("not reached")


class _Commit:
    """One try."""

    def __init__(self, services: Services, group: Group, *, reach: Reach, actor: Actor, mine: bool) -> None:
        self._services = services
        self._db = services.db
        self._group = group
        self._reach = reach
        self._actor = actor
        self._says_mine = mine
        self._is_holder = False  # of the patient whose studies are at hand
        self._mine = False
        self._now = clock.now()
        self._outcome = Outcome()

    async def run(self) -> Outcome:
        async with self._db.transaction():
            added = 0
            for (patient_id, _), arrivals in _by_study(self._group.arrivals):
                await self._turn_to(patient_id)
                added += await self._study(patient_id, arrivals)
            if added:
                await packs.ready(self._db, self._group.pack)
            for patient_id, repeated in groupby(_sorted(self._group.repeated), key=attrgetter("patient_id")):
                await self._turn_to(patient_id)
                await self._repeats(patient_id, list(repeated))
            await self._note()
        return self._outcome

    async def _turn_to(self, patient_id: str) -> None:
        """Only who holds this very profile says what is theirs, or brings back what was deleted from it.

        A doctor who may add reaches a profile of their own besides, so it is asked whose this one is.
        """
        held, grounds = self._reach.of_holder(), {lane.ground for lane in self._reach.lanes}
        self._is_holder = bool(held) and (
            grounds == {Ground.OWN} or await self._services.gate.reaches_patient(held, patient_id)
        )
        self._mine = self._says_mine and (self._is_holder or Ground.SERVER in grounds)

    async def _study(self, patient_id: str, arrivals: list[Arrival]) -> int:
        """Add instances to one study; how many rows are new."""
        owner, entry = arrivals[0].owner, arrivals[0].ready
        assert owner is not None
        rows = await self._db.fetch_all(
            QUERIES["lock_study"], self._values(owner, arrivals), reach=self._reach.stores()
        )
        if not rows:
            gone = Refused(FailureReason.NOT_AUTHORIZED, "The right to store here has ended.")
            self._outcome.refused += [(arrival, gone) for arrival in arrivals]
            return 0
        fresh = await self._add(owner, arrivals)
        if rows[0]["organization_id"] != self._actor.organization_id:
            await self._resent(patient_id, entry.study_uid, fresh)
        if fresh or self._mine or rows[0]["deleted_at"]:
            await self._grow(patient_id, entry.study_uid, rows, fresh)
        return len(fresh)

    def _values(self, owner: Owner, arrivals: list[Arrival]) -> dict[str, Any]:
        """The columns of the study by its first instance, and those of each series by its own first one."""
        entry = arrivals[0].ready
        differs = compare_with_profile(entry.identity, owner.profile) and not (self._mine or owner.asserted)
        series = [one[0].ready for _, one in _by_series(arrivals)]
        columns = {name: [each.series[column] for each in series] for name, column in _SERIES_COLUMNS.items()}
        lists = {
            name: [_LIST_SEPARATOR.join(each.series[name]) for each in series]
            for name in ("requests", "procedures")
        }
        return {
            **entry.study,
            "patient_id": owner.patient_id,
            "study_uid": entry.study_uid,
            "fhir_id": new_id(),
            "standing": "differs" if differs else "mine",
            "organization_id": self._actor.organization_id,
            "author": self._actor.author,
            "now": self._now,
            "attributes": without_root(entry.study_model),
            "series_uids": [each.series_uid for each in series],
            **columns,
            **lists,
            "series_attributes": [without_root(each.series_model) for each in series],
        }

    async def _add(self, owner: Owner, arrivals: list[Arrival]) -> list[Arrival]:
        """Insert the rows; those that another store was quicker with are compared with what it brought."""
        columns: dict[str, list[Any]] = {
            name: [arrival.ready.instance[name] for arrival in arrivals] for name in _INSTANCE_COLUMNS
        }
        for name in ("qido", "metadata"):
            columns[name] = [to_column(each) for each in columns[name]]
        stored = [arrival.stored for arrival in arrivals if arrival.stored is not None]
        wrap = self._services.keyring.wrap
        values = columns | {
            "patient_id": owner.patient_id,
            "study_uid": arrivals[0].ready.study_uid,
            "now": self._now,
            "series_uid": [arrival.ready.series_uid for arrival in arrivals],
            "sop_uid": [arrival.ready.sop_uid for arrival in arrivals],
            "pack_id": [each.address.pack_id for each in stored],
            "object_id": [each.address.object_id for each in stored],
            "pack_offset": [each.address.offset for each in stored],
            "size": [each.address.size for each in stored],
            "sha256": [each.sha256 for each in stored],
            "wrapped_key": [wrap(owner.wrapped_key, each.address.key) for each in stored],
        }
        rows = await self._db.fetch_all(QUERIES["add_instances"], values)
        new = {row["sop_uid"] for row in rows}
        fresh = [arrival for arrival in arrivals if arrival.ready.sop_uid in new]
        self._outcome.held += [(arrival, False) for arrival in fresh]
        late = [arrival for arrival in arrivals if arrival.ready.sop_uid not in new]
        if late:
            await self._overtaken(owner.patient_id, late)
        return fresh

    async def _overtaken(self, patient_id: str, late: list[Arrival]) -> None:
        uids = [arrival.ready.sop_uid for arrival in late]
        rows = await self._db.fetch_all(QUERIES["hashes"], {"patient_id": patient_id, "uids": uids})
        hashes = {row["sop_uid"]: row["sha256"] for row in rows}
        for arrival in late:
            if arrival.stored is not None and hashes.get(arrival.ready.sop_uid) == arrival.stored.sha256:
                self._outcome.held.append((arrival, True))
            else:
                other = Refused(
                    FailureReason.DUPLICATE,
                    "Other content is held under this SOP Instance UID; the first is kept.",
                )
                self._outcome.refused.append((arrival, other))

    async def _grow(self, patient_id: str, study_uid: str, rows: list[Record], fresh: list[Arrival]) -> None:
        """Carry the counts and the prepared answers on; a row of `rows` is the study with one of the series."""
        study, by_series = rows[0], {row["series_uid"]: row for row in rows}
        counts = {uid: by_series[uid]["in_series"] + len(group) for uid, group in _by_series(fresh)}
        entries = [arrival.ready for arrival in fresh]
        modalities = _union(study["modalities"], (entry.modality for entry in entries))
        sop_classes = _union(study["sop_classes"], (entry.sop_class for entry in entries))
        series = study["series_count"] + sum(by_series[uid]["in_series"] == 0 for uid in counts)
        instances = study["instance_count"] + len(fresh)
        sizes = (arrival.stored.address.size for arrival in fresh if arrival.stored is not None)
        hidden = study["deleted_at"] is not None and not self._is_holder
        values = {
            "patient_id": patient_id,
            "study_uid": study_uid,
            "series_uids": list(counts),
            "series_counts": list(counts.values()),
            "series_sops": [
                _LIST_SEPARATOR.join(arrival.ready.sop_uid for arrival in group)
                for _, group in _by_series(fresh)
            ],
            "series_qido": [
                to_column(
                    prepared.series_qido(
                        orjson.loads(by_series[uid]["series_attributes"]),
                        study_uid=study_uid,
                        series_uid=uid,
                        instances=count,
                    )
                )
                for uid, count in counts.items()
            ],
            "modalities": modalities,
            "sop_classes": sop_classes,
            "series_count": series,
            "instance_count": instances,
            "size": study["size"] + sum(sizes),
            "qido": to_column(
                prepared.study_qido(
                    orjson.loads(study["attributes"]),
                    study_uid=study_uid,
                    modalities=modalities,
                    sop_classes=sop_classes,
                    series=series,
                    instances=instances,
                )
            ),
            "now": self._now,
            "mine": self._mine,
            "revive": self._is_holder,
            "open": not hidden and (self._mine or study["standing"] == "mine"),
        }
        await self._db.execute(QUERIES["grow_study"], values)
        if self._is_seen_anew(study):
            await changes.note(
                self._db, Change.CREATE, patient_id, study_uid, now=self._now, is_open=values["open"]
            )
        self._outcome.changed.add((patient_id, study_uid))

    def _is_seen_anew(self, study: Record) -> bool:
        """Whether more than what came now is to be seen from now on: it was deleted, or said not to be theirs."""
        back = study["deleted_at"] is not None and self._is_holder
        return back or (self._mine and study["instance_count"] > 0 and study["standing"] != "mine")

    async def _resent(self, patient_id: str, study_uid: str, arrivals: list[Arrival]) -> None:
        """An organization sent this to a study that others brought: it may read back what is its own alone."""
        if self._actor.organization_id is None or not arrivals:
            return
        values = {
            "patient_id": patient_id,
            "study_uid": study_uid,
            "organization": self._actor.organization_id,
            "uids": [arrival.ready.sop_uid for arrival in arrivals],
        }
        await self._db.execute(QUERIES["note_resent"], values)

    async def _repeats(self, patient_id: str, arrivals: list[Arrival]) -> None:
        """Held before. What the holder had deleted comes back; from others it stays as the holder wants it."""
        self._outcome.held += [(arrival, True) for arrival in arrivals]
        known = self._group.known
        foreign = [
            each
            for each in arrivals
            if each.key in known and known[each.key].organization_id != self._actor.organization_id
        ]
        for (_, study_uid), group in _by_study(foreign):
            await self._resent(patient_id, study_uid, group)
        hidden = [arrival.ready.sop_uid for arrival in arrivals if self._is_hidden(arrival)]
        if not hidden or not (self._is_holder or self._mine):
            return
        values = {"patient_id": patient_id, "uids": hidden, "mine": self._mine, "now": self._now}
        for row in await self._db.fetch_all(QUERIES["revive"], values):
            await recount(self._db, patient_id, row["study_uid"])
            await changes.note(
                self._db,
                Change.CREATE,
                patient_id,
                row["study_uid"],
                now=self._now,
                is_open=row["standing"] == "mine",
            )
            self._outcome.changed.add((patient_id, row["study_uid"]))

    def _is_hidden(self, arrival: Arrival) -> bool:
        known = self._group.known.get(arrival.key)
        return known is not None and (known.deleted or (self._mine and known.standing != "mine"))

    async def _note(self) -> None:
        """One event for each study that got something (decision 25: durable before the answer)."""
        fresh = [arrival for arrival, repeated in self._outcome.held if not repeated]
        for (patient_id, study_uid), arrivals in _by_study(fresh):
            sizes = (arrival.stored.address.size for arrival in arrivals if arrival.stored is not None)
            await self._services.audit.record(
                Event.STUDY_STORED,
                who=self._actor.who(),
                patient_id=patient_id,
                detail={"study": study_uid, "instances": len(arrivals), "bytes": sum(sizes)},
            )


def _sorted(arrivals: Iterable[Arrival]) -> list[Arrival]:
    return sorted(
        arrivals,
        key=lambda each: (each.patient_id, each.ready.study_uid, each.ready.series_uid, each.ready.sop_uid),
    )


def _by_study(arrivals: Iterable[Arrival]) -> list[tuple[tuple[str, str], list[Arrival]]]:
    groups = groupby(_sorted(arrivals), key=lambda each: (each.patient_id, each.ready.study_uid))
    return [(key, list(group)) for key, group in groups]


def _by_series(arrivals: Iterable[Arrival]) -> list[tuple[str, list[Arrival]]]:
    groups = groupby(_sorted(arrivals), key=lambda each: each.ready.series_uid)
    return [(key, list(group)) for key, group in groups]


def _union(held: Iterable[str], new: Iterable[str]) -> list[str]:
    return sorted({*held, *(each for each in new if each)})
