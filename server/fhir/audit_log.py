"""A part of the log as AuditEvents: read in order, each event opened and asked what no column knows.

FHIR R4, AuditEvent. How an event looks: `audit_render.py`; what a search asks of it: `audit_conditions.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from server.access.reach import Reach
from server.audit import reading
from server.audit.reading import Happened
from server.core.errors import InvalidInput
from server.records.conditions import Condition, Criterion, Group, Negated
from server.records.document import load
from server.records.in_memory import Seen, met
from server.records.search import Found, Query
from server.storage.where import TRUE, Where

from .audit_conditions import followed, parted
from .audit_render import Renderer
from .call import Call

AT_ONCE = 250
MOST_VALUES = 3000  # in one search, those that its chains lead to among them
TURN = 25  # events, and what is asked of them, that are opened at a stretch
MATCHED = 100  # values that are asked of an event for about what it costs to open it


class Event(NamedTuple):
    """An event of the log and how it looks."""

    happened: Happened
    json: bytes

    def found(self) -> Found:
        """As a result of a search; it has no row among the resources."""
        one = self.happened
        return Found(0, one.patient_id, "AuditEvent", str(one.id), 1, one.at, None, self.json)


@dataclass(frozen=True)
class Log:
    """Which part of the log is looked at, and in which order."""

    call: Call
    allowed: Where  # over `patient`
    match: Where = TRUE  # over `happened`; over `patient` too unless they are few
    asked: Sequence[Condition] = ()  # of each event, once it is open
    oldest_first: bool = False
    few: bool = False  # patients that are allowed
    values: dict[Hashable, Any] = field(default_factory=dict)  # of the conditions, as read (in_memory.py)

    @classmethod
    async def of(cls, call: Call, query: Query, *, reach: Reach) -> Log:
        """The part that a search selects. Raises InvalidInput for more values than a search may have."""
        conditions = [await followed(call, one) for one in query.conditions]
        if _values(conditions) > MOST_VALUES:
            raise InvalidInput(
                f"A search of AuditEvents has at most {MOST_VALUES} values, those of chains included."
            )
        allowed, (whose, match, left) = reach.patients(), parted(conditions, call.base)
        if query.compartment is not None:
            allowed = allowed & Where("patient.id = :compartment", {"compartment": query.compartment})
        if whose is not None:
            allowed = allowed & whose
        oldest_first = bool(query.sorts) and not query.sorts[0].descending
        few = whose is not None or query.compartment is not None
        return cls(call, allowed, match, left, oldest_first, few)

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

    @cached_property
    def _rendered(self) -> Renderer:
        return Renderer(self.call.base)

    @property
    def _cost(self) -> int:
        return 1 + _values(self.asked) // MATCHED

    async def opened(self, limit: int) -> AsyncIterator[Happened]:
        """Up to so many events, in order; after some of them others have their turn."""
        read, rest, cost, worked = 0, self, self._cost, 0
        opened = reading.Opener(self.call.services.keyring)
        while read < limit:
            wanted = min(limit - read, AT_ONCE)
            found = await reading.sealed_events_of(
                self.call.services.db,
                reach=rest.allowed,
                match=rest.match,
                limit=wanted,
                oldest_first=self.oldest_first,
                few=self.few,
            )
            for row in found:
                self.call.opening.left -= cost
                yield opened(row)
                worked += cost
                if worked >= TURN:
                    worked = 0
                    await asyncio.sleep(0)
            read += len(found)
            if len(found) < wanted:
                return
            rest = self.after((found[-1]["at"], str(found[-1]["id"])))

    def shown(self, one: Happened) -> Event | None:
        """The event where it meets all that is asked."""
        json = self._rendered(one)
        if self.asked:
            seen = Seen(load(json), self.call.base, values=self.values)
            if not all(met(each, seen) for each in self.asked):
                return None
        return Event(one, json)

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
