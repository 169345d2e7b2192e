"""The second step of a store: rows and pack become visible in one transaction, or neither does.

Studies are locked in one order, so that concurrent stores never wait for each other in a circle. Counts and prepared
answers are carried on from the locked rows: the cost does not depend on what is held.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from server.access.actor import Actor
from server.access.reach import Ground, Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, ServerError
from server.storage import packs
from server.storage.db import Database
from server.storage.objects import Pack
from server.storage.sql import load

from . import changes, commit_rows
from .arrival import Arrival
from .changes import Change
from .commit_rows import StudyStore, by_study, bytes_of, in_order
from .recount import recount
from .report import FailureReason, Refused

QUERIES = load(__package__)

_TRIES = 3


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
        self._now = clock.now()
        self._outcome = Outcome()

    async def run(self) -> Outcome:
        async with self._db.transaction():
            studies = await self._locked(self._group.arrivals)
            if studies:
                await self._add(studies)
                await self._grow([each for each in studies if each.grows])
            if any(each.fresh for each in studies):
                await packs.ready(self._db, self._group.pack)
            for patient_id, repeated in groupby(in_order(self._group.repeated), key=attrgetter("patient_id")):
                await self._repeats(patient_id, list(repeated), *await self._says(patient_id))
            await self._note()
        return self._outcome

    async def _says(self, patient_id: str) -> tuple[bool, bool]:
        """Whether the caller holds this very profile, and says that the images are its holder's.

        Only such a one says what is theirs, or brings back what was deleted. A doctor who may add reaches a profile of
        their own besides, so it is asked whose this one is.
        """
        held, grounds = self._reach.of_holder(), {lane.ground for lane in self._reach.lanes}
        is_holder = bool(held) and (
            grounds == {Ground.OWN} or await self._services.gate.reaches_patient(held, patient_id)
        )
        return is_holder, self._says_mine and (is_holder or Ground.SERVER in grounds)

    async def _locked(self, arrivals: list[Arrival]) -> list[StudyStore]:
        """The studies that these go to, made where they are new; none that may not be stored to any more."""
        if not arrivals:
            return []
        studies = []
        for (patient_id, _), group in by_study(arrivals):
            owner = group[0].owner
            assert owner is not None
            studies.append(StudyStore(owner, group, *await self._says(patient_id)))
        by_key = {each.key: each for each in studies}
        values = commit_rows.of_studies(studies, self._actor, self._now)
        for row in await self._db.fetch_all(QUERIES["lock_studies"], values, reach=self._reach.stores()):
            by_key[row["patient_id"], row["study_uid"]].rows.append(row)
        gone = Refused(FailureReason.NOT_AUTHORIZED, "The right to store here has ended.")
        for each in studies:
            if not each.rows:
                self._outcome.refused += [(arrival, gone) for arrival in each.arrivals]
        return [each for each in studies if each.rows]

    async def _add(self, studies: list[StudyStore]) -> None:
        """Insert the rows; those that another store was quicker with are compared with what it brought."""
        values = commit_rows.of_instances(studies, self._services.keyring.wrap, self._now)
        rows = await self._db.fetch_all(QUERIES["add_instances"], values)
        new = {(row["patient_id"], row["sop_uid"]) for row in rows}
        for each in studies:
            each.fresh = [arrival for arrival in each.arrivals if arrival.key in new]
            self._outcome.held += [(arrival, False) for arrival in each.fresh]
            if late := [arrival for arrival in each.arrivals if arrival.key not in new]:
                await self._overtaken(each.owner.patient_id, late)
            if each.rows[0]["organization_id"] != self._actor.organization_id:
                await self._resent(*each.key, each.fresh)

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

    async def _grow(self, studies: list[StudyStore]) -> None:
        """Carry the counts and the prepared answers on."""
        if not studies:
            return
        await self._db.execute(QUERIES["grow_studies"], commit_rows.of_growth(studies, self._now))
        for each in studies:
            if _is_seen_anew(each):
                await changes.note(self._db, Change.CREATE, *each.key, now=self._now, is_open=each.is_open)
            self._outcome.changed.add(each.key)

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

    async def _repeats(self, patient_id: str, arrivals: list[Arrival], is_holder: bool, mine: bool) -> None:
        """Held before. What the holder had deleted comes back; from others it stays as the holder wants it."""
        self._outcome.held += [(arrival, True) for arrival in arrivals]
        known = self._group.known
        foreign = [
            each
            for each in arrivals
            if each.key in known and known[each.key].organization_id != self._actor.organization_id
        ]
        for (_, study_uid), group in by_study(foreign):
            await self._resent(patient_id, study_uid, group)
        hidden = [arrival.ready.sop_uid for arrival in arrivals if self._is_hidden(arrival, mine)]
        if not hidden or not (is_holder or mine):
            return
        values = {"patient_id": patient_id, "uids": hidden, "mine": mine, "now": self._now}
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

    def _is_hidden(self, arrival: Arrival, mine: bool) -> bool:
        known = self._group.known.get(arrival.key)
        return known is not None and (known.deleted or (mine and known.standing != "mine"))

    async def _note(self) -> None:
        """One event for each study that got something (decision 25: durable before the answer)."""
        fresh = [arrival for arrival, repeated in self._outcome.held if not repeated]
        about = [
            (patient_id, {"study": study_uid, "instances": len(arrivals), "bytes": bytes_of(arrivals)})
            for (patient_id, study_uid), arrivals in by_study(fresh)
        ]
        await self._services.audit.record_all(Event.STUDY_STORED, who=self._actor.who(), about=about)


def _is_seen_anew(each: StudyStore) -> bool:
    """Whether more than what came now is to be seen from now on: it was deleted, or said not to be theirs."""
    study = each.rows[0]
    back = study["deleted_at"] is not None and each.is_holder
    return back or (each.mine and study["instance_count"] > 0 and study["standing"] != "mine")
