"""The profiles somebody holds, and what there is in each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.core import clock
from server.sharing.holding import name_of
from server.storage.sql import load

from .holds import Hold, holds_of

QUERIES = load(__package__)


@dataclass(frozen=True)
class Profile:
    """A profile somebody holds, and what its deletion would take away."""

    patient_id: str
    state: str
    as_what: str
    held_by_others: bool
    restricted_at: datetime | None
    restricted_by: str
    studies: int
    images: int
    reports: int
    shares: int
    apps: int
    name: str  # to tell several apart
    holds: tuple[Hold, ...]


async def profiles(services: Services, *, actor: Actor, reach: Reach) -> list[Profile]:
    """What the account behind the actor holds, with what there is in it."""
    values = {"account": actor.account_id, "now": clock.now()}
    held = reach.of_holder().patients()
    found = []
    for row in await services.db.fetch_all(QUERIES["profiles_of_account"], values, reach=held):
        one = {"patient": row["patient_id"]}
        counts = await services.db.fetch_one(QUERIES["counts_of_patient"], one, reach=held)
        if counts is None:
            continue
        facts = {
            name: row[name] for name in ("patient_id", "state", "as_what", "restricted_at", "restricted_by")
        }
        holds = tuple(await holds_of(services, row["patient_id"]))
        facts |= {"held_by_others": row["shared_holding"], "name": name_of(row["profile"])}
        found.append(Profile(**facts, **dict(counts), holds=holds))
    return found
