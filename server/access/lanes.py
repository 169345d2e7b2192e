"""Lanes: on which ground a patient's data is open to a caller, and what narrows it; plain data, no SQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from server.core import clock

from .action import Action, Right
from .actor import NO_CREDENTIAL, Credential
from .scopes import Filter


class Ground(StrEnum):
    """Why data is open."""

    OWN = "own"  # holder is an account that holds the profile
    SHARE = "share"  # holder is a practitioner with a living share
    SHARE_ORGANIZATION = "share-organization"  # holder is an organization with a living share
    BROUGHT = "brought"  # holder is the organization that brought it
    REGISTER = "register"  # of no patient: practitioners, organizations
    AUTHORED = "authored"  # of no patient: holder is the author
    LINK = "link"  # holder is a guest link
    EMERGENCY = "emergency"  # holder is an operator's account, in a record opened with a reason for a while
    RESEARCH = "research"  # holder is a project of research, and its patient takes part
    SERVER = "server"  # a client the operator trusts with everything


@dataclass(frozen=True)
class Lane:
    """One ground, and what narrows it."""

    ground: Ground
    holder: str = ""
    rights: tuple[Right, ...] = ()  # of the share, all of them
    patient: str | None = None
    resource: str | None = None  # the FHIR resource with this id only
    study: str | None = None  # this one only
    filters: tuple[Filter, ...] = ()
    scoped: str = ""  # the type that the filters are asked of, as the scope names it


@dataclass(frozen=True)
class Asked:
    """What a condition is made of: the action, its lanes, and the credential that must still live."""

    action: Action
    lanes: tuple[Lane, ...] = ()
    credential: Credential = NO_CREDENTIAL
    root: str | None = None  # the patient whose root the request came to
    now: datetime = field(default_factory=clock.now)
    # `root` stands in an address that somebody kept: that record may be merged by now.
    by_address: bool = False


def widest(lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
    """Less those that another one holds whole: they open nothing more, and each is asked of every row."""
    kept: list[Lane] = []
    for lane in lanes:
        if not any(_holds(other, lane) for other in kept):
            kept = [*(other for other in kept if not _holds(lane, other)), lane]
    return tuple(kept)


def _holds(wide: Lane, lane: Lane) -> bool:
    """Whether every row of `lane` is one of `wide`: on the same ground or on one above it, and narrowed no further."""
    same = (wide.ground, wide.holder) == (lane.ground, lane.holder) and set(wide.rights) <= set(lane.rights)
    above = wide.ground is Ground.SERVER and lane.ground in _BELOW_SERVER
    open_to = (
        (wide.patient, lane.patient),
        (wide.resource, lane.resource),
        (wide.study, lane.study),
    )
    narrowed = wide.filters and (wide.filters, wide.scoped) != (lane.filters, lane.scoped)
    return (same or above) and not narrowed and all(one in (None, other) for one, other in open_to)


_BELOW_SERVER = frozenset({Ground.BROUGHT, Ground.SHARE, Ground.SHARE_ORGANIZATION})
