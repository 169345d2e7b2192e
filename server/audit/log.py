"""The chained log: every access, refusal and act, append-only.

An event is one row in the chain of the patient it concerns (or of the system): its payload is canonical JSON, its
hash is SHA-256(previous hash || payload). People stand in it as random pseudonyms; what names them or shows health
data is sealed with the patient's key inside the payload, so that erasing the patient breaks no chain. In the system's
chain it is sealed with a key of the account that acted, which goes with the account.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from base64 import b64encode
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import structlog

from server.core import clock
from server.core.errors import AlreadyStored, Conflict, ServerError
from server.storage.db import Database, Record
from server.storage.keyring import KeyRing
from server.storage.sql import load

from .events import Event, Outcome
from .who import SYSTEM, Who

QUERIES = load(__package__)
SYSTEM_CHAIN = uuid.UUID(int=0)
GROUP_SECONDS = 0.5  # searches and repeats are committed in groups, within a second (decision 25)
KNOWN_FOLDS = 50_000
_MOST_AT_ONCE = 500  # events in a statement
PARTIES_TRIES = 5  # another writer may make the same pseudonym at the same moment

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Entry:
    event: Event
    who: Who
    patient_id: str | None
    outcome: Outcome
    detail: Mapping[str, Any]


class AuditLog:
    """Writes the log. One per process."""

    def __init__(self, db: Database, keyring: KeyRing) -> None:
        self._db = db
        self._keyring = keyring
        self._waiting: list[_Entry] = []
        self._flusher: asyncio.Task[None] | None = None
        self._known: OrderedDict[str, None] = OrderedDict()  # folds recorded; a hint, the database decides

    async def record(
        self,
        event: Event,
        *,
        who: Who | None,
        patient_id: str | None,
        outcome: Outcome = Outcome.SUCCESS,
        detail: Mapping[str, Any] | None = None,
        fold: str | None = None,
    ) -> None:
        """Append one event, inside the caller's transaction when one is open.

        With `fold`, an event of that key is recorded once: the first look at a study within an hour, not each frame.
        """
        entry = _Entry(event, who or SYSTEM, patient_id, outcome, detail or {})
        if fold is None:
            await self._append(entry, None)
        elif not self.knows(fold):
            async with self._db.raw() as connection:
                may_roll_back = connection.is_in_transaction()
            await self._append_once(entry, fold)
            if not may_roll_back:  # else it may yet not have happened
                self._remember(fold)

    def knows(self, fold: str) -> bool:
        """Whether this process has recorded the event of that key: not so says nothing."""
        return fold in self._known

    async def record_all(
        self,
        event: Event,
        *,
        who: Who | None,
        about: Sequence[tuple[str, Mapping[str, Any]]],
    ) -> None:
        """Append one event for each of these patients and details, in a few statements for all of them."""
        entries = [
            _Entry(event, who or SYSTEM, patient, Outcome.SUCCESS, detail) for patient, detail in about
        ]
        for some in _rounds(entries):
            await self._append_all(some)

    def record_later(
        self,
        event: Event,
        *,
        who: Who | None,
        patient_id: str | None,
        outcome: Outcome = Outcome.SUCCESS,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Append one event soon, together with others: searches and repeats only."""
        self._waiting.append(_Entry(event, who or SYSTEM, patient_id, outcome, detail or {}))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush_soon())

    async def close(self) -> None:
        """Write what still waits."""
        if self._flusher and not self._flusher.done():
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        await self.flush()

    async def flush(self) -> None:
        """Write everything that waits, a statement and a transaction for each round of different chains.

        A statement takes the chains in one order; to hold some while asking for others invites deadlock.
        """
        waiting, self._waiting = self._waiting, []
        rounds = _rounds(waiting)
        try:
            while rounds:
                entries = rounds[0]
                if not await self._written(entries):
                    # Perhaps for one of them: the others shall not wait for it.
                    self._waiting += [entry for entry in entries if not await self._written([entry])]
                del rounds[0]
        except BaseException:  # given up half way: what was under way may be written twice, nothing is lost
            self._waiting = [entry for entries in rounds for entry in entries] + self._waiting
            raise

    async def _written(self, entries: Sequence[_Entry]) -> bool:
        try:
            async with self._db.transaction():
                if len(entries) > 1:
                    await self._append_all(entries)
                else:
                    await self._append(entries[0], None)
            return True
        except ServerError:
            log.warning("audit group not written yet", events=len(entries))
            return False

    async def _flush_soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(GROUP_SECONDS)
            await self.flush()

    async def _append_once(self, entry: _Entry, fold: str) -> None:
        key = hashlib.sha256(fold.encode()).hexdigest()
        if await self._db.fetch_val(QUERIES["folded"], {"fold": key}):
            return
        try:
            async with self._db.transaction():
                await self._append(entry, key)
        except AlreadyStored:
            return  # another process recorded it between the look and the insert

    async def _append(self, entry: _Entry, fold: str | None) -> None:
        parties = await self._parties(entry)
        event_id, at = uuid.uuid4(), clock.now()
        chain = parties["chain"] or SYSTEM_CHAIN
        await self._db.execute(
            QUERIES["append"],
            {
                "chain": chain,
                "genesis": chain.bytes,
                "payload": await self._payload(entry, parties, event_id, at),
                "id": event_id,
                "at": at,
                "event": entry.event,
                "outcome": entry.outcome,
                "actor": parties["actor"],
                "client": parties["client"],
                "fold": fold,
            },
        )

    async def _append_all(self, entries: Sequence[_Entry]) -> None:
        """Entries by the same person about different patients."""
        parties, at = await self._parties_of_all(entries), clock.now()
        columns: dict[str, list[Any]] = {name: [] for name in ("chains", "payloads", "ids")}
        first = parties[0]
        for entry, row in zip(entries, parties, strict=True):
            event_id = uuid.uuid4()
            columns["chains"].append(row["chain"])
            columns["payloads"].append(await self._payload(entry, row, event_id, at))
            columns["ids"].append(event_id)
        values = {
            **columns,
            "at": at,
            "event": entries[0].event,
            "outcome": entries[0].outcome,
            "actor": first["actor"],
            "client": first["client"],
        }
        await self._db.execute(QUERIES["append_all"], values)

    async def _parties_of_all(self, entries: Sequence[_Entry]) -> list[Record]:
        """As `_parties`, a row for each entry, in their order."""
        acted = _who_acted(entries[0].who)
        values = {"patients": [entry.patient_id for entry in entries], **acted}
        for _ in range(PARTIES_TRIES):
            rows = await self._db.fetch_all(QUERIES["parties_of_all"], values)
            needed = ["chain", *(name for name, subject in acted.items() if subject)]
            if all(row[name] for row in rows for name in needed):
                return rows
        raise Conflict()

    async def _parties(self, entry: _Entry) -> Record:
        """Pseudonyms and the patient's key; raises Conflict when others make the same ones again and again."""
        patient = f"patient:{entry.patient_id}" if entry.patient_id else None
        subjects = {"patient": patient, **_who_acted(entry.who)}
        for _ in range(PARTIES_TRIES):
            row = await self._db.fetch_one(QUERIES["parties"], {**subjects, "patient_id": entry.patient_id})
            assert row is not None  # a SELECT of scalars has a row
            found = {"patient": row["chain"], "actor": row["actor"], "client": row["client"]}
            if all(found[name] for name, subject in subjects.items() if subject):
                return row
        raise Conflict()

    async def _payload(self, entry: _Entry, parties: Record, event_id: uuid.UUID, at: datetime) -> bytes:
        """What is hashed of an event: nothing in it names anybody without a key."""
        sealed = await self._sealed(entry, parties["wrapped"], event_id)
        payload = {
            "id": str(event_id),
            "at": at.isoformat(),
            "event": entry.event,
            "outcome": entry.outcome,
            "actor": parties["actor"] and str(parties["actor"]),
            "client": parties["client"] and str(parties["client"]),
            "sealed": b64encode(sealed).decode(),
        }
        return canonical(payload)

    async def _sealed(self, entry: _Entry, wrapped: bytes | None, event_id: uuid.UUID) -> bytes:
        wrapped, whole = self._keyring.still_held(wrapped), True
        if entry.patient_id is None and entry.who.account_id is not None:
            wrapped = await self._account_key(uuid.UUID(str(entry.who.account_id)))
            whole = wrapped is not None  # an account that is gone is not named again
        names = {name: value for name, value in entry.who._asdict().items() if value and whole}
        plain = orjson.dumps({"who": names, "detail": dict(entry.detail)}, default=str)
        return self._keyring.seal(wrapped, plain, context=event_id.bytes)

    async def _account_key(self, account_id: uuid.UUID) -> bytes | None:
        """The key of an account, made at its first event; None when there is no such account any more."""
        values = {"account": account_id, "wrapped": self._keyring.new_patient_key(), "now": clock.now()}
        held: bytes | None = await self._db.fetch_val(QUERIES["account_key"], values)
        if held is None:
            held = await self._db.fetch_val(QUERIES["add_account_key"], values)
        return held or await self._db.fetch_val(QUERIES["account_key"], values)

    def _remember(self, fold: str) -> None:
        self._known[fold] = None
        if len(self._known) > KNOWN_FOLDS:
            self._known.popitem(last=False)


def _who_acted(who: Who) -> dict[str, str | None]:
    """Whose pseudonyms stand in an event beside the patient's."""
    return {"actor": who.subject, "client": f"client:{who.client_id}" if who.client_id else None}


def _rounds(entries: Iterable[_Entry]) -> list[list[_Entry]]:
    """What one statement can take: alike, of different patients, for the next hash of a chain needs the one before."""
    rounds: dict[Any, list[_Entry]] = {}
    seen: Counter[Any] = Counter()
    for entry in entries:
        alike = (entry.event, entry.outcome, entry.who)
        place = seen[(alike, entry.patient_id)]
        seen[(alike, entry.patient_id)] += 1
        # The system's chain is one: each of its events is a round.
        rounds.setdefault((alike, place, entry.patient_id is None), []).append(entry)
    return [
        each[start : start + _MOST_AT_ONCE]
        for each in rounds.values()
        for start in range(0, len(each), _MOST_AT_ONCE)
    ]


def canonical(payload: Mapping[str, Any]) -> bytes:
    """The bytes that are hashed: JSON with sorted keys and no spaces."""
    return orjson.dumps(dict(payload), option=orjson.OPT_SORT_KEYS)
