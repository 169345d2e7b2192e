"""Every consent somebody has given, in one place, and all of them taken back at once (GDPR, art. 7(3); row 57)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from server.access.action import Action, Verb
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.sharing import share
from server.storage.sql import load

QUERIES = load(__package__)
RESEARCH = load(__package__, "research.sql")
CONSENT_UPDATE = Action("Consent", Verb.UPDATE)


@dataclass(frozen=True)
class Given:
    """One consent that holds: a share, an app, a project of research."""

    kind: str  # share | app | project
    id: str
    name: str
    since: datetime
    waits: bool = False  # an invitation nobody has accepted


async def given(services: Services, *, actor: Actor, reach: Reach) -> list[Given]:
    """Shares of the profiles in reach, projects and apps of the account."""
    shares = await services.db.fetch_all(QUERIES["living_shares"], {}, reach=reach.of_holder().patients())
    grants = await services.db.fetch_all(
        QUERIES["living_grants"], {"account": actor.account_id, "now": clock.now()}
    )
    found = [
        Given(
            "share",
            row["id"],
            row["name"],
            row["accepted_at"] or row["created_at"],
            row["state"] == "invited",
        )
        for row in shares
    ]
    projects = await services.db.fetch_all(RESEARCH["memberships"], {"account": actor.account_id})
    found += [Given("project", str(row["id"]), row["name"], row["joined_at"]) for row in projects]
    return found + [Given("app", str(row["id"]), row["name"], row["created_at"]) for row in grants]


async def withdraw_all(services: Services, *, actor: Actor, reach: Reach) -> int:
    """End every share, invitation, request and app at once; how many there were."""
    count, mine = 0, reach.of_holder()
    async with services.db.transaction():
        for row in await services.db.fetch_all(QUERIES["living_shares"], {}, reach=mine.patients()):
            act = share.withdraw if row["state"] == "invited" else share.end
            await act(services, row["id"], actor=actor, reach=mine)
            count += 1
        for row in await services.db.fetch_all(QUERIES["living_requests"], {}, reach=mine.patients()):
            await share.refuse(services, row["id"], actor=actor, reach=mine)
            count += 1
        assert actor.account_id is not None  # a person's page
        count += await _end_apps(services, actor.account_id, actor)
    return count


async def _end_apps(services: Services, account_id: UUID, actor: Actor) -> int:
    values = {"account": account_id, "now": clock.now()}
    ended = await services.db.fetch_all(QUERIES["end_grants_of_account"], values)
    for row in ended:
        await services.audit.record(
            Event.APP_REVOKED,
            who=actor.who(),
            patient_id=row["patient_id"],
            detail={"client": row["client_id"]},
        )
    return len(ended)
