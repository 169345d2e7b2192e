"""An operator takes apart what a claim had joined (decision 7): with a reason, in the log, and its person is told.

One operator is enough: nothing is opened to anybody by it, and nothing is lost.
"""

from __future__ import annotations

from uuid import UUID

from server.access.actor import Actor
from server.access.services import Services
from server.audit.events import Event
from server.core.errors import Unprocessable
from server.sharing import merged, parting
from server.sharing.merged import Merger, Sent

from .operators import require_operator, said


async def mergers_of(services: Services, patient_id: str, *, actor: Actor) -> list[Merger]:
    """What was merged into this record, or where it went; ids and numbers only. Raises Forbidden."""
    await require_operator(services, actor)
    return await merged.mergers_of(services, patient_id)


async def sent_meanwhile(services: Services, merger: Merger, *, actor: Actor) -> list[Sent]:
    """What organizations sent before the two were parted: where it belongs is theirs to say. Raises Forbidden."""
    await require_operator(services, actor)
    return await merged.sent_meanwhile(services, merger.id) if merger.undone_at else []


async def undo(services: Services, merger_id: UUID, *, reason: str, actor: Actor) -> Merger:
    """Raises Forbidden, NotFound, Conflict, Unprocessable without a reason."""
    await require_operator(services, actor)
    why = said(reason, "The reason")
    if len(why) > 1000:
        raise Unprocessable("The reason has at most 1000 characters.")
    async with services.db.transaction():
        parted = await parting.part(services, merger_id, reason=why, actor=actor)
        detail = {"record": parted.patient_id, "source": parted.source_id, "act": "took a record apart again"}
        await services.audit.record(Event.OPERATOR_ACTED, who=actor.who(), patient_id=None, detail=detail)
    return parted
