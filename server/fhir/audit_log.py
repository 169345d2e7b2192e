"""A part of the log as AuditEvents: read in order, each event opened and asked what no column knows.

FHIR R4, AuditEvent. How an event looks: `audit_render.py`; what a search asks of it: `audit_conditions.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from server.audit import reading
from server.audit.reading import Happened
from server.core.errors import InvalidInput
from server.records.conditions import Condition
from server.records.document import Json, dump
from server.records.in_memory import Seen, met
from server.records.search import Found
from server.storage.where import TRUE, Where

from .audit_conditions import followed, left, narrowed
from .audit_render import render
from .call import Call

MOST_COUNTED = 50_000  # events that are opened for a total that was asked for
AT_ONCE = 250


@dataclass(frozen=True)
class Event:
    """An event of the log and how it looks."""

    happened: Happened
    json: Json

    def found(self) -> Found:
        """As a result of a search; it has no row among the resources."""
        one = self.happened
        return Found(0, "AuditEvent", str(one.id), 1, one.at, one.patient_id, None, dump(self.json))


@dataclass(frozen=True)
class Log:
    """Which part of the log is looked at, and in which order."""

    call: Call
    allowed: Where  # over `patient`
    match: Where = TRUE  # over `happened`, `patient`
    asked: Sequence[Condition] = ()  # of each event, once it is open
    oldest_first: bool = False

    @classmethod
    async def of(cls, call: Call, allowed: Where, asked: Sequence[Condition], oldest_first: bool) -> Log:
        """The part that the conditions select."""
        conditions = [await followed(call, one) for one in asked]
        return cls(call, allowed, narrowed(conditions, call.base), left(conditions), oldest_first)

    def after(self, position: tuple[object, ...]) -> Log:
        """What comes after an event, by time and id; new ones move nothing."""
        if len(position) != 2:
            raise InvalidInput("The paging link does not fit the search.")
        at, id = position
        signs = (">", "<") if self.oldest_first else ("<", ">")
        beyond = Where(
            f"happened.at {signs[0]} :last_at OR (happened.at = :last_at AND happened.id {signs[1]} :last_id)",
            {"last_at": at, "last_id": UUID(str(id))},
        )
        return Log(self.call, self.allowed, self.match & beyond, self.asked, self.oldest_first)

    async def opened(self, limit: int) -> AsyncIterator[Happened]:
        """Up to so many events, in order."""
        read, rest = 0, self
        while read < limit:
            wanted = min(limit - read, AT_ONCE)
            found = await reading.events_of(
                self.call.services.db,
                self.call.services.keyring,
                reach=rest.allowed,
                match=rest.match,
                limit=wanted,
                oldest_first=self.oldest_first,
            )
            for one in found:
                yield one
            read += len(found)
            if len(found) < wanted:
                return
            rest = self.after((found[-1].at, str(found[-1].id)))

    def shown(self, one: Happened) -> Event | None:
        """The event where it meets all that is asked."""
        json = render(one, self.call.base)
        seen = Seen(json, self.call.base)
        return Event(one, json) if all(met(each, seen) for each in self.asked) else None

    async def count(self) -> int | None:
        """How many there are; None where too many would have to be opened for that."""
        if not self.asked:
            db = self.call.services.db
            return await reading.count_events_of(db, reach=self.allowed, match=self.match)
        opened = counted = 0
        async for one in self.opened(MOST_COUNTED + 1):
            opened += 1
            counted += self.shown(one) is not None
        return counted if opened <= MOST_COUNTED else None
