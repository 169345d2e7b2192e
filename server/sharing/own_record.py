"""A doctor is a patient too: a record of their own, held by the same account (issue 6, the edge stories)."""

from __future__ import annotations

from datetime import date

from server.access.actor import Actor, ActorKind
from server.access.services import Services
from server.core import clock
from server.core.errors import Conflict, Forbidden, NotFound
from server.core.texts import N_
from server.records.people import register_patient
from server.storage.sql import load

QUERIES = load(__package__, "own_record.sql")


async def open_own(services: Services, *, birth_date: date, actor: Actor) -> str:
    """A doctor's own record, held by the same account; its id. Raises Forbidden, Conflict when there is one."""
    if actor.kind is not ActorKind.DOCTOR or actor.account_id is None:
        raise Forbidden(N_("A patient has a record already."))
    async with services.db.transaction():
        if not await services.gate.lives(actor.credential):
            raise NotFound()
        values = {"account": actor.account_id, "now": clock.now()}
        await services.db.fetch_val(QUERIES["lock_account"], values)
        if await services.db.fetch_val(QUERIES["holds_own"], values):
            raise Conflict(N_("You have a record of your own already."))
        return await register_patient(
            services, who=actor.who(), name=actor.name, birth_date=birth_date, account_id=actor.account_id
        )
