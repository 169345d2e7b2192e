"""Passes for viewers on somebody's own computer (Weasis, 3D Slicer): one study, for reading, an hour long.

The one key that stands in a link (decision 19): those programs take it no other way. It opens what its person may
see at that moment and nothing else; it is listed, and can be ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from server.access.actor import Actor
from server.access.gate import PASS_PREFIX
from server.access.reach import Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import NotFound
from server.core.ids import digest, new_secret
from server.storage.sql import load

from .acts import living

QUERIES = load(__package__, "viewer_pass.sql")
LIVES = timedelta(hours=1)


class Viewer(StrEnum):
    """The programs we know the links of."""

    WEASIS = "Weasis"
    SLICER = "3D Slicer"


@dataclass(frozen=True)
class Pass:
    """One pass, without its secret."""

    id: UUID
    patient_id: str
    study_uid: str
    viewer: str
    holder: str  # the name of whose it is
    created_at: datetime
    until: datetime


async def create(
    services: Services, patient_id: str, study_uid: str, viewer: Viewer, *, actor: Actor, reach: Reach
) -> str:
    """The key of a new pass. `reach` is for reading studies with the right to download: a viewer takes the files.

    Raises NotFound when the study is not within it.
    """
    secret, now = PASS_PREFIX + new_secret(), clock.now()
    values = {"id": uuid4(), "patient": patient_id, "study": study_uid, "viewer": viewer, "now": now}
    values |= {"account": actor.account_id, "secret_hash": digest(secret), "until": now + LIVES}
    async with services.db.transaction():
        if await services.db.fetch_val(QUERIES["add_pass"], values, reach=reach.studies()) is None:
            raise NotFound()
        await services.audit.record(
            Event.PASS_CREATED,
            who=actor.who(),
            patient_id=patient_id,
            detail={"study": study_uid, "viewer": viewer},
        )
    return secret


async def of_patient(services: Services, patient_id: str, *, reach: Reach) -> list[Pass]:
    """The living passes to a record, of whomever; for who holds it."""
    values = {"patient": patient_id, "now": clock.now()}
    rows = await services.db.fetch_all(
        QUERIES["passes_of_patient"], values, reach=reach.of_holder().patients()
    )
    return [Pass(**dict(row)) for row in rows]


async def of_account(services: Services, patient_id: str, study_uid: str, *, actor: Actor) -> list[Pass]:
    """The caller's own living passes to a study."""
    values = {"account": actor.account_id, "patient": patient_id, "study": study_uid, "now": clock.now()}
    rows = await services.db.fetch_all(QUERIES["passes_of_account"], values, alive=living(actor))
    return [Pass(**dict(row)) for row in rows]


async def end(services: Services, pass_id: UUID, *, actor: Actor, reach: Reach) -> None:
    """End a pass: one's own, or any to a record one holds (`reach` of Consent). Raises NotFound."""
    values = {"id": pass_id, "account": actor.account_id, "now": clock.now()}
    async with services.db.transaction():
        parts = {"reach": reach.of_holder().patients(), "alive": living(actor)}
        row = await services.db.fetch_one(QUERIES["end_pass"], values, **parts)
        if row is None:
            raise NotFound()
        detail = {"study": row["study_uid"], "viewer": row["viewer"]}
        await services.audit.record(
            Event.PASS_ENDED, who=actor.who(), patient_id=row["patient_id"], detail=detail
        )
