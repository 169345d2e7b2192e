"""A guest link as a value: what it gives, to whom, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from server.access.action import Right
from server.audit.who import Who
from server.core import clock
from server.storage.db import Record

MOST_TRIES = 5


class LinkState(StrEnum):
    """Where a link stands."""

    LIVING = "living"
    EXPIRED = "expired"
    REVOKED = "revoked"
    SPENT = "spent"  # too many wrong answers


@dataclass(frozen=True)
class Link:
    """One guest link, as the row has it."""

    id: str
    patient_id: str
    name: str
    email: str
    rights: frozenset[Right]
    studies: tuple[str, ...] | None
    created_at: datetime
    until: datetime
    tries: int
    last_looked_at: datetime | None
    ended_at: datetime | None
    ended_why: str

    @property
    def state(self) -> LinkState:
        """Where it stands this moment."""
        if self.ended_at is not None:
            return LinkState.SPENT if self.ended_why == "tries" else LinkState.REVOKED
        return LinkState.LIVING if self.until > clock.now() else LinkState.EXPIRED

    @property
    def over_since(self) -> datetime | None:
        """When it came to its end, whatever that was."""
        return None if self.state is LinkState.LIVING else self.ended_at or self.until

    @property
    def tries_left(self) -> int:
        return max(0, MOST_TRIES - self.tries)

    def gives(self, right: Right) -> bool:
        return right in self.rights

    @property
    def who(self) -> Who:
        """The guest, for the log."""
        return Who(name=self.name, role="guest", link_id=self.id)


def link_of(row: Record) -> Link:
    """A row of the table."""
    same = {name: row[name] for name in Link.__dataclass_fields__ if name in row}
    rights = frozenset(Right(right) for right in row["rights"])
    chosen = tuple(row["studies"]) if row["studies"] is not None else None
    return Link(**same | {"rights": rights, "studies": chosen})
