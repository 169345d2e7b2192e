"""A share: one patient's record lent to one practitioner or organization, and the states it goes through.

requested ── declined                      a doctor asked
    └─> active ── ended                    accepted, and taken back (or its chosen end came)
invited ──┘ ├─ declined                    by the doctor
            ├─ withdrawn                   by the patient
            └─ expired                     336 hours after the mail
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from server.access.action import Right
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, Unprocessable
from server.core.ids import new_id
from server.core.texts import N_
from server.storage.db import Record

WAITS = timedelta(hours=336)  # fourteen days; in hours, for days differ when clocks are put back
MOST_MESSAGE = 2000
MOST_STUDIES = 1000


class State(StrEnum):
    """Where a share stands; the words of product row 4."""

    REQUESTED = "requested"
    INVITED = "invited"
    ACTIVE = "active"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    ENDED = "ended"


WAITING = (State.REQUESTED, State.INVITED)
LIVING = (*WAITING, State.ACTIVE)


_TAKEN_BACK = {
    State.INVITED: (State.WITHDRAWN, Event.SHARE_WITHDRAWN),
    State.REQUESTED: (State.DECLINED, Event.SHARE_DECLINED),
    State.ACTIVE: (State.ENDED, Event.SHARE_ENDED),
}


@dataclass(frozen=True)
class Share:
    """One share, as the row has it."""

    id: str
    patient_id: str
    practitioner_id: str | None
    organization_id: str | None
    name: str
    email: str
    stored_state: State
    rights: frozenset[Right]
    studies: tuple[str, ...] | None  # Study Instance UIDs; None: the whole record, later studies too
    message: str
    created_at: datetime
    waits_until: datetime | None
    accepted_at: datetime | None
    until: datetime | None
    ended_at: datetime | None
    last_looked_at: datetime | None
    parent_id: str | None  # the share it was passed on from; it ends with that

    @property
    def state(self) -> State:
        """Where it stands this moment, also before the hourly job has written it down."""
        now = clock.now()
        if self.stored_state in WAITING and self.waits_until is not None and self.waits_until <= now:
            return State.EXPIRED
        if self.stored_state is State.ACTIVE and self.until is not None and self.until <= now:
            return State.ENDED
        return self.stored_state

    @property
    def changed_at(self) -> datetime:
        """The date that goes with the state's word."""
        match self.state:
            case State.ACTIVE:
                return self.accepted_at or self.created_at
            case State.EXPIRED:
                return self.waits_until or self.created_at
            case State.ENDED:
                return self.ended_at or self.until or self.created_at
        return self.ended_at or self.created_at

    def gives(self, right: Right) -> bool:
        return right in self.rights


def given_now(
    patient_id: str,
    practitioner_id: str | None,
    *,
    name: str,
    email: str,
    rights: Iterable[Right],
    studies: tuple[str, ...] | None = None,
    until: datetime | None = None,
    message: str = "",
) -> Share:
    """A new share that holds at once: nobody has to accept it first."""
    now = clock.now()
    return Share(
        id=new_id(),
        patient_id=patient_id,
        practitioner_id=practitioner_id,
        organization_id=None,
        name=name,
        email=email,
        stored_state=State.ACTIVE,
        rights=frozenset(rights),
        studies=studies,
        message=message,
        created_at=now,
        waits_until=None,
        accepted_at=now,
        until=until,
        ended_at=None,
        last_looked_at=None,
        parent_id=None,
    )


def taken_back(share: Share, now: datetime) -> tuple[Share, Event | None]:
    """The share withdrawn, refused or ended, by where it stood; what is over already stays as it is."""
    if share.stored_state not in _TAKEN_BACK:
        return share, None
    state, event = _TAKEN_BACK[share.stored_state]
    return replace(share, stored_state=state, ended_at=now, waits_until=None), event


def under(child: Share, parent: Share, now: datetime) -> tuple[Share, Event | None]:
    """What is left of a share that was passed on, as its parent stands: never more than the parent gives."""
    rights = child.rights & parent.rights
    studies = _both(child.studies, parent.studies)
    if parent.state is not State.ACTIVE or Right.PASS_ON not in parent.rights or not rights or studies == ():
        return taken_back(child, now)
    until = min((each for each in (child.until, parent.until) if each is not None), default=None)
    narrowed = replace(child, rights=rights, studies=studies, until=until)
    return narrowed, Event.SHARE_CHANGED if narrowed != child else None


def _both(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if one is None or other is None:
        return other if one is None else one
    return tuple(uid for uid in one if uid in other)


def share_of(row: Record) -> Share:
    """The share in a row of the table."""
    same = {name: row[name] for name in Share.__dataclass_fields__ if name in row}
    return Share(
        **same
        | {
            "stored_state": State(row["state"]),
            "rights": frozenset(Right(right) for right in row["rights"]),
            "studies": tuple(row["studies"]) if row["studies"] is not None else None,
        }
    )


def require_own(share: Share) -> None:
    """Raises Conflict for a share that a doctor passed on: its terms and its life are those of its parent."""
    if share.parent_id is not None:
        raise Conflict(N_("A doctor passed this on: end it, or invite this colleague yourself."))


def right_set(rights: Iterable[str]) -> list[str]:
    """The rights as kept, in one order; raises Unprocessable for none or an unknown one."""
    try:
        chosen = {Right(right) for right in rights}
    except ValueError as exc:
        raise Unprocessable(f"A share gives some of: {', '.join(Right)}.") from exc
    if not chosen:
        raise Unprocessable(N_("A share has to give something: choose images, reports or both."))
    return [str(right) for right in Right if right in chosen]


def require_future(until: datetime | None) -> datetime | None:
    """A chosen end; raises Unprocessable when it has come already."""
    if until is not None and until <= clock.now():
        raise Unprocessable(N_("The end of a share lies in the future."))
    return until
