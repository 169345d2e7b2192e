"""A part of the log as AuditEvents: read in order, each event opened and asked what no column knows.

FHIR R4, AuditEvent. How an event looks: `audit_render.py`; what a search asks of it: `audit_conditions.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from server.audit import reading
from server.audit.reading import Happened
from server.core.errors import InvalidInput
from server.records.conditions import Condition, Criterion, Group, Negated
from server.records.document import Json, dump
from server.records.in_memory import Seen, met
from server.records.search import Found
from server.storage.where import TRUE, Where

from .audit_conditions import followed, left, narrowed
from .audit_render import render
from .call import Call

AT_ONCE = 250
MOST_VALUES = 3000  # in one search, those that its chains lead to among them
MATCHED = 100  # values that are asked of an event for about what it costs to open it


@dataclass(frozen=True)
class Event:
    """An event of the log and how it looks."""

    happened: Happened
    json: Json

    def found(self) -> Found:
        """As a result of a search; it has no row among the resources."""
        one = self.happened
        return Found(0, one.patient_id, "AuditEvent", str(one.id), 1, one.at, None, dump(self.json))


@dataclass(frozen=True)
class Log:
    """Which part of the log is looked at, and in which order."""

    call: Call
    allowed: Where  # over `patient`
    match: Where = TRUE  # over `happened`, `patient`
    asked: Sequence[Condition] = ()  # of each event, once it is open
    oldest_first: bool = False
    values: dict[Hashable, Any] = field(default_factory=dict)  # of the conditions, as read (in_memory.py)

    @classmethod
    async def of(cls, call: Call, allowed: Where, asked: Sequence[Condition], oldest_first: bool) -> Log:
        """The part that the conditions select. Raises InvalidInput for more values than a search may have."""
        conditions = [await followed(call, one) for one in asked]
        if _values(conditions) > MOST_VALUES:
            raise InvalidInput(
                f"A search of AuditEvents has at most {MOST_VALUES} values, those of chains included."
            )
        return cls(call, allowed, narrowed(conditions, call.base), left(conditions, call.base), oldest_first)

    def after(self, position: tuple[object, ...]) -> Log:
        """What comes after an event, by time and id; new ones move nothing."""
        if len(position) != 2:
            raise InvalidInput("The paging link does not fit the search.")
        at, id = position
        signs = (">", "<") if self.oldest_first else ("<", ">")
        # The time stands by itself first: so it bounds what is read of the index.
        beyond = Where(
            f"happened.at {signs[0]}= :last_at"
            f" AND (happened.at {signs[0]} :last_at OR happened.id {signs[1]} :last_id)",
            {"last_at": at, "last_id": UUID(str(id))},
        )
        return replace(self, match=self.match & beyond)

    def most(self, wanted: int) -> int:
        """How many of the wanted events this request may still open."""
        return self.call.opening.most(wanted, self._cost)

    @property
    def _cost(self) -> int:
        return 1 + _values(self.asked) // MATCHED

    async def opened(self, limit: int) -> AsyncIterator[Happened]:
        """Up to so many events, in order; between two of them others have their turn."""
        read, rest, cost = 0, self, self._cost
        opened = reading.Opener(self.call.services.keyring)
        while read < limit:
            wanted = min(limit - read, AT_ONCE)
            found = await reading.sealed_events_of(
                self.call.services.db,
                reach=rest.allowed,
                match=rest.match,
                limit=wanted,
                oldest_first=self.oldest_first,
            )
            for row in found:
                self.call.opening.left -= cost
                yield opened(row)
                await asyncio.sleep(0)
            read += len(found)
            if len(found) < wanted:
                return
            rest = self.after((found[-1]["at"], str(found[-1]["id"])))

    def shown(self, one: Happened) -> Event | None:
        """The event where it meets all that is asked."""
        json = render(one, self.call.base)
        seen = Seen(json, self.call.base, values=self.values)
        return Event(one, json) if all(met(each, seen) for each in self.asked) else None

    async def count(self) -> int | None:
        """How many there are; None where too many would have to be opened for that."""
        there = await reading.count_events_of(self.call.services.db, reach=self.allowed, match=self.match)
        if not self.asked:
            return there
        if self.most(there) < there:
            return None
        counted = 0
        async for one in self.opened(there):
            counted += self.shown(one) is not None
        return counted


def _values(conditions: Iterable[Condition]) -> int:
    """How many values the conditions ask for."""
    found = 0
    for one in conditions:
        match one:
            case Criterion():
                found += len(one.values)
            case Group():
                found += _values(one.conditions)
            case Negated():
                found += _values([one.inner])
    return found
