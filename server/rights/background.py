"""What goes on for people's rights besides requests."""

from __future__ import annotations

from server.access.services import Services
from server.audit import heads
from server.jobs.queue import Kit, Periodic

from . import disclosures, erasure_steps, export, policy, research_planning, retention, watch


async def _export_heads(services: Services) -> None:
    await heads.export(services)


KITS = (
    erasure_steps.KIT,
    disclosures.KIT,
    policy.KIT,
    watch.KIT,
    export.KIT,
    retention.KIT,
    research_planning.KIT,
    Kit(periodic=(Periodic("audit: signed heads", heads.EVERY, _export_heads),)),
)
