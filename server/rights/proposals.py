"""Four eyes: what weighs most, one operator proposes and another one does.

A proposal is sealed until it is decided, dies after a week, and cannot be done by who made it: that is part of the
one statement that decides it. It is done in the same transaction, by the same functions as everything else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from server.access.actor import Actor, ActorKind
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound
from server.core.texts import N_
from server.storage.db import Record
from server.storage.sql import load

from . import export, holds
from .operators import require_operator, require_patient, said

QUERIES = load(__package__, "operating.sql")
WAIT = timedelta(days=7)

KINDS = {
    "hold": N_("Put a hold on a record"),
    "release": N_("Lift a hold"),
    "export": N_("Have a copy of everything made for its person"),
}


@dataclass(frozen=True)
class Proposal:
    """What somebody proposed."""

    id: UUID
    kind: str
    patient_id: str | None
    what: Mapping[str, Any]
    proposed_at: datetime
    proposed_by: UUID
    proposer: str
    expires_at: datetime


async def propose_hold(
    services: Services,
    patient_id: str,
    *,
    authority: str,
    scope: str,
    reason: str,
    review_at: datetime,
    actor: Actor,
) -> UUID:
    """Raises Forbidden, NotFound, Unprocessable."""
    await require_operator(services, actor)
    await require_patient(services, patient_id)
    what = holds.said_of(authority, scope, reason, review_at) | {"review_at": review_at.isoformat()}
    return await _propose(services, "hold", patient_id, what, actor)


async def propose_release(services: Services, hold_id: UUID, *, reason: str, actor: Actor) -> UUID:
    """Raises Forbidden, NotFound, Unprocessable."""
    found = next((each for each in await holds.listed(services, actor=actor) if each.id == hold_id), None)
    if found is None:
        raise NotFound()
    what = {"hold": str(hold_id), "authority": found.authority, "reason": said(reason, "The reason")}
    return await _propose(services, "release", found.patient_id, what, actor)


async def propose_export(services: Services, patient_id: str, *, reason: str, actor: Actor) -> UUID:
    """A copy that somebody asked for by letter. It appears in their own account; no operator can fetch it.

    Raises Forbidden, NotFound, Unprocessable.
    """
    await require_operator(services, actor)
    await require_patient(services, patient_id)
    return await _propose(services, "export", patient_id, {"reason": said(reason, "The reason")}, actor)


async def listed(services: Services, *, actor: Actor) -> list[Proposal]:
    """What waits for a decision, the oldest first. Raises Forbidden."""
    await require_operator(services, actor)
    rows = await services.db.fetch_all(QUERIES["proposals"], {"now": clock.now(), "id": None})
    return [_proposal(services, row) for row in rows]


async def decide(services: Services, proposal_id: UUID, *, do: bool, actor: Actor) -> None:
    """Do it, or refuse it. Raises Forbidden, Conflict when it is one's own, late, or was decided."""
    await require_operator(services, actor)
    decision = "done" if do else "refused"
    values = {"id": proposal_id, "by": actor.account_id, "decision": decision, "now": clock.now()}
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["decide_proposal"], values)
        if row is None:
            raise Conflict("Another operator has to decide this, while it waits.")
        detail = {"proposal": str(proposal_id), "kind": row["kind"], "decision": decision}
        await services.audit.record(
            Event.PROPOSAL_DECIDED, who=actor.who(), patient_id=row["patient_id"], detail=detail
        )
        if do:
            what = orjson.loads(services.keyring.open(None, row["sealed"], proposal_id.bytes))
            await DOING[row["kind"]](services, row["patient_id"], what, actor)


async def _place(services: Services, patient_id: str, what: Mapping[str, Any], actor: Actor) -> None:
    review_at = datetime.fromisoformat(what["review_at"])
    given = {name: str(what[name]) for name in ("authority", "scope", "reason")}
    await holds.place(services, patient_id, review_at=review_at, actor=actor, **given)


async def _release(services: Services, patient_id: str, what: Mapping[str, Any], actor: Actor) -> None:
    await holds.release(services, UUID(what["hold"]), actor=actor)


async def _export(services: Services, patient_id: str, what: Mapping[str, Any], actor: Actor) -> None:
    """In the name of its owner, with the owner's reach."""
    values = {"patient": patient_id, "now": clock.now()}
    row = await services.db.fetch_one(QUERIES["owner_of"], values)
    if row is None:
        raise Conflict("Nobody has an account for this record: there is nobody to make a copy for.")
    owner = Actor(ActorKind.PATIENT, account_id=row["id"], name=row["name"])
    reach = await services.gate.reach_for_actor(owner, export.PATIENT_READ, patient_id=patient_id)
    await export.ask(services, patient_id, reach=reach, actor=owner)


DOING: dict[str, Callable[[Services, str, Mapping[str, Any], Actor], Awaitable[None]]] = {
    "hold": _place,
    "release": _release,
    "export": _export,
}


async def _propose(
    services: Services, kind: str, patient_id: str, what: Mapping[str, Any], actor: Actor
) -> UUID:
    proposal_id, now = uuid4(), clock.now()
    sealed = services.keyring.seal(None, orjson.dumps(dict(what)), proposal_id.bytes)
    values = {"id": proposal_id, "kind": kind, "patient": patient_id, "sealed": sealed, "now": now}
    async with services.db.transaction():
        await services.db.execute(
            QUERIES["propose"], values | {"by": actor.account_id, "expires_at": now + WAIT}
        )
        detail = {"proposal": str(proposal_id), "kind": kind}
        await services.audit.record(Event.PROPOSED, who=actor.who(), patient_id=patient_id, detail=detail)
    return proposal_id


def _proposal(services: Services, row: Record) -> Proposal:
    what = orjson.loads(services.keyring.open(None, row["sealed"], row["id"].bytes))
    return Proposal(what=what, **{name: value for name, value in dict(row).items() if name != "sealed"})
