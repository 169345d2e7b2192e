"""Disclosures to authorities: what was given to whom and why, and that the patient is told (HIPAA 164.528).

The patient is told by mail at once, unless an authority suspends the notice until a date: then nothing shows it
before, neither a mail nor the page nor the log of the record, and the mail goes out when the date has come.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Unprocessable
from server.jobs.queue import Kit, Periodic
from server.storage.db import Record
from server.storage.sql import load

from . import letters
from .operators import require_operator, require_patient, said

QUERIES = load(__package__)
MOST = 500


@dataclass(frozen=True)
class Disclosure:
    """One disclosure."""

    id: UUID
    patient_id: str
    disclosed_at: datetime
    recipient: str
    description: str
    purpose: str
    legal_basis: str
    recorded_at: datetime
    suspended_until: datetime | None
    suspended_by: str
    notified_at: datetime | None
    notified_to: int  # addresses the mail went to


async def add(
    services: Services,
    patient_id: str,
    *,
    disclosed_at: datetime,
    recipient: str,
    description: str,
    purpose: str,
    legal_basis: str,
    suspended_until: datetime | None = None,
    suspended_by: str = "",
    actor: Actor,
) -> UUID:
    """Write a disclosure down and tell the patient, unless an authority suspends that.

    Raises Forbidden, NotFound, Unprocessable.
    """
    await require_operator(services, actor)
    await require_patient(services, patient_id)
    if disclosed_at > clock.now():
        raise Unprocessable("A disclosure is written down when it has happened.")
    if (suspended_until is None) != (not suspended_by.strip()):
        raise Unprocessable("A suspended notice needs both the authority that demands it and a date.")
    values = {
        "id": uuid4(),
        "patient": patient_id,
        "disclosed_at": disclosed_at,
        "recipient": said(recipient, "The recipient"),
        "description": said(description, "What was given"),
        "purpose": said(purpose, "The purpose"),
        "legal_basis": said(legal_basis, "The legal basis"),
        "now": clock.now(),
        "account": actor.account_id,
        "suspended_until": suspended_until,
        "suspended_by": suspended_by.strip(),
    }
    async with services.db.transaction():
        await services.db.execute(QUERIES["add_disclosure"], values)
        # The patient reads the chain of the record: while the notice is suspended it goes into the system's.
        silent = suspended_until is not None and suspended_until > clock.now()
        await services.audit.record(
            Event.DISCLOSED,
            who=actor.who(),
            patient_id=None if silent else patient_id,
            detail={"disclosure": str(values["id"]), "recipient": values["recipient"]},
        )
        await tell_due(services)
    return UUID(str(values["id"]))


async def tell_due(services: Services) -> int:
    """Tell patients of what nobody was told yet and nothing forbids any more; how many disclosures."""
    now = clock.now()
    async with services.db.transaction():
        rows = await services.db.fetch_all(QUERIES["disclosures_due"], {"now": now})
        for row in rows:
            holders = await services.db.fetch_all(
                QUERIES["holders_of"], {"patient": row["patient_id"], "now": now}
            )
            for each in holders:
                await letters.post(
                    services,
                    "disclosed",
                    each["email"],
                    each["language"],
                    path="/account/data",
                    name=each["name"],
                )
            values = {"id": row["id"], "now": now, "count": len(holders)}
            await services.db.execute(QUERIES["disclosure_told"], values)
            await services.audit.record(
                Event.DISCLOSURE_TOLD,
                who=None,
                patient_id=row["patient_id"],
                detail={"disclosure": str(row["id"]), "mails": len(holders)},
            )
    return len(rows)


async def listed(services: Services, *, actor: Actor) -> list[Disclosure]:
    """The latest disclosures, for operators."""
    await require_operator(services, actor)
    return _all(await services.db.fetch_all(QUERIES["disclosures_to_operator"], {"limit": MOST}))


async def of_patient(services: Services, *, reach: Reach) -> list[Disclosure]:
    """What the patients in reach may know of."""
    return _all(
        await services.db.fetch_all(QUERIES["disclosures_of"], {}, reach=reach.of_holder().patients())
    )


def _all(rows: list[Record]) -> list[Disclosure]:
    return [Disclosure(**dict(row)) for row in rows]


async def _tell(services: Services) -> None:
    await tell_due(services)


KIT = Kit(periodic=(Periodic("rights: disclosures to tell of", timedelta(hours=1), _tell),))
