"""Lanes: on which ground a patient's data is open to a caller, and what narrows it; plain data, no SQL."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    """Less those that another holds whole: beside all that a trusted client reaches, what its organization brought
    or was lent, narrowed alike, adds nothing but work."""
    wide = {
        replace(lane, ground=Ground.SERVER, holder="", rights=()) for lane in lanes if lane.ground in _WITHIN
    }
    held = wide.intersection(lanes)
    return tuple(
        lane
        for lane in lanes
        if lane.ground not in _WITHIN or replace(lane, ground=Ground.SERVER, holder="", rights=()) not in held
    )


_WITHIN = frozenset({Ground.BROUGHT, Ground.SHARE, Ground.SHARE_ORGANIZATION})
